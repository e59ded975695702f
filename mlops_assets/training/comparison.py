"""The new model beside the champion on the same rows: what the promotion rules ask for."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.records import Comparison, Measured, Metric
from mlops_assets.modeling.metrics import paired_differences, point, stratified
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import Opened, fetched
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.modeling.threads import threads_for
from mlops_assets.registry.spec import PromotionSpec
from mlops_assets.serving.bundle import BundleError, Manifest, Task
from mlops_assets.serving.scorer import ScoringError
from mlops_assets.training.evaluation import divided, says_nothing
from mlops_assets.training.footprint import footprint

if TYPE_CHECKING:
    import pandas as pd

FURTHER = 0.1
"""How far a value of a regression must move to count as changed, in standard deviations of the
labels."""
_IN_TAIL = 10
"""Resamples that must lie beyond the end of an interval, for the end to be worth reading."""


def beside_champion(
    experiment: Experiment,
    registry: ModelRegistry,
    test: "pd.DataFrame",
    outcome: Outcome,
    manifest: Manifest,
) -> tuple[tuple[Measured, ...], Comparison | None]:
    """What the promotion rules ask for, and the champion; None when there is none.

    Args:
        experiment: whose champion and rules.
        registry: where the champion is.
        test: held-out rows with labels, in their canonical order.
        outcome: what the new model says of them.
        manifest: of the new model: its task and classes must be the champion's.
    """
    champion, comparison = _champion(experiment, registry, test, manifest)
    if comparison is not None and champion is not None:
        changed = changed_predictions(experiment.task, outcome, champion)
        comparison = replace(comparison, changed_predictions=changed)
    training = experiment.training
    with threads_for(len(test)):
        measured = measure(
            experiment.promotion,
            test,
            training.slices,
            candidate=outcome,
            champion=champion,
            resampling=Resampling(experiment.task, training.bootstrap, experiment.tuning.seed),
        )
    return measured, comparison


def _champion(
    experiment: Experiment, registry: ModelRegistry, test: "pd.DataFrame", candidate: Manifest
) -> tuple[Outcome | None, Comparison | None]:
    """What the champion says of the test rows, asked with its own columns of them; None, with a
    note that says why, where it says nothing."""
    version = champions.current(
        registry, experiment.model_name, by_hand=experiment.promotion.by_hand
    )
    if version is None:
        return None, None
    comparison = Comparison(version, None, None, note="")
    uri = registry.version(experiment.model_name, version).tags.get("mlops.bundle_uri")
    if uri is None:
        return None, replace(comparison, note="it has no serving bundle")
    try:
        with fetched(registry, uri) as model:
            if note := _incomparable(model.scorer.manifest, candidate, test):
                return None, replace(comparison, note=note)
            outcome = _scored(model, test)
            return outcome, replace(comparison, footprint=footprint(model, test))
    except (BundleError, RegistryError) as error:
        return None, replace(comparison, note=f"it cannot be loaded: {error}")
    except ScoringError as error:
        return None, replace(comparison, note=f"it cannot score these rows: {error}")


def _incomparable(champion: Manifest, candidate: Manifest, test: "pd.DataFrame") -> str:
    if absent := sorted(set(champion.schema.names) - set(test.columns)):
        return (
            f"it needs {', '.join(absent)}, which the training set holds no more (a column named "
            "in training.slices stays in it)"
        )
    if champion.task != candidate.task or champion.classes != candidate.classes:
        return "it predicts other classes"
    return ""


def _scored(model: Opened, test: "pd.DataFrame") -> Outcome:
    try:
        return model.outcome(test)
    except (TypeError, ValueError) as error:
        # Rows of another type than the champion was trained on.
        raise ScoringError(str(error)) from error


def changed_predictions(task: Task, first: Outcome, second: Outcome) -> float:
    """Share of the rows that two models answer differently (the churn of Milani Fard et al. 2016):
    with another label or, in a regression, a value further away than `FURTHER` standard deviations
    of the labels."""
    import numpy as np

    if task != "regression":
        return float(np.mean(first.predicted != second.predicted))
    moved = np.abs(first.predicted - second.predicted)
    return float(np.mean(moved > FURTHER * np.std(first.truth)))


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    task: Task
    """Of both models."""
    resamples: int
    """Behind each interval; more are taken where its end lies far out."""
    seed: int


def measure(
    policy: PromotionSpec,
    rows: "pd.DataFrame",
    columns: tuple[str, ...],
    *,
    candidate: Outcome,
    champion: Outcome | None,
    resampling: Resampling,
) -> tuple[Measured, ...]:
    """What the rules of `policy` ask for, on all rows and on the slices by `columns`.

    The interval of a difference is as wide as the rule needs it: its end is the bound of a
    one-sided test at `policy.level`. Rules that must all hold need no correction (the
    intersection-union test, Berger 1982). But one slice of many that is shown to be worse is
    enough to refuse, so that there the level is divided by their number (Bonferroni).

    Args:
        policy: with its defaults filled in.
        rows: held-out rows in their canonical order, which the resamples follow.
        columns: of the slices.
        candidate: what the new model says of the rows.
        champion: what the champion says of them.
        resampling: how intervals are made.
    """
    whole = tuple(name for name, rule in policy.metrics.items() if rule.rule and champion)
    found = _measured(whole, ("", ""), candidate, champion, policy.level, resampling)
    parts = [
        (slice_[:2], slice_[2], candidate.take(slice_[2])) for slice_ in divided(rows, columns)
    ]
    notes = [
        says_nothing(part, candidate, task=resampling.task, smallest=policy.slices.smallest)
        for *_, part in parts
    ]
    rules = policy.slices.metrics
    unless_worse = tuple(n for n, rule in rules.items() if rule.rule == "not_proven_worse")
    proven = tuple(n for n, rule in rules.items() if rule.rule and n not in unless_worse)
    floors_only = tuple(n for n, rule in rules.items() if rule.rule is None)
    corrected = policy.level / max(1, notes.count("") * len(unless_worse))
    for (where, inside, part), note in zip(parts, notes, strict=True):
        if note:
            found += [
                Measured(name, *where, len(part), None, None, None, 0.0, note) for name in rules
            ]
            continue
        other = None if champion is None else champion.take(inside)
        found += _measured(unless_worse, where, part, other, corrected, resampling)
        found += _measured(proven, where, part, other, policy.level, resampling)
        found += _measured(floors_only, where, part, None, policy.level, resampling)
    return tuple(found)


def _measured(
    names: tuple[MetricName, ...],
    where: tuple[str, str],
    candidate: Outcome,
    champion: Outcome | None,
    level: float,
    resampling: Resampling,
) -> list[Measured]:
    confidence = 1 - 2 * level
    differences: dict[str, Metric] = {}
    if champion is not None and names:
        differences = paired_differences(
            names,
            candidate,
            champion,
            stratify=stratified(resampling.task),
            resamples=max(resampling.resamples, math.ceil(_IN_TAIL / level)),
            confidence=confidence,
            seed=resampling.seed,
        )
    return [
        Measured(
            metric=name,
            column=where[0],
            value=where[1],
            rows=len(candidate),
            candidate=point(name, candidate),
            champion=None if champion is None else point(name, champion),
            difference=differences.get(name),
            confidence=confidence,
            note="",
        )
        for name in names
    ]
