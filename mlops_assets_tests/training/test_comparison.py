"""Candidate and champion on the same rows: a real registry, real bundles, real resamples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Comparison, Measured, Metric
from mlops_assets.modeling.folds import LABEL, ROW, SPLIT, TEST, held_out_rows
from mlops_assets.modeling.metrics import point
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.scoring import opened
from mlops_assets.registry.spec import PromotionSpec
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets.training.comparison import (
    Resampling,
    beside_champion,
    changed_predictions,
    measure,
)
from mlops_assets_tests.builders import SCHEMA, make_bundle, make_columns, make_experiment

RESAMPLING = Resampling("binary_classification", resamples=200, seed=0)


def held_out(rows: int = 300) -> pd.DataFrame:
    frame = runtime.frame(SCHEMA, make_columns(rows, seed=5))
    noise = np.random.default_rng(5).random(rows)
    frame[LABEL] = (frame["tenure"] / 72 + frame["senior"] + noise > 1.1).astype(float)
    return frame


@pytest.fixture
def candidate(tmp_path: Path) -> Any:
    return make_bundle(tmp_path / "candidate", seed=0, rows=100)


def crown(registry: ModelRegistry, folder: Path, **tags: str) -> int:
    """The bundle as the next version of churn, and its champion."""
    run = registry.run_for("churn", "t", str(folder), name="r")
    uri = registry.log_folder(run, folder, "bundle")
    tags = {"mlops.bundle_uri": uri, **tags}
    version = registry.register("churn", source=uri, run_id=run, tags=tags)
    registry.set_alias("churn", CHAMPION, version)
    return version


def beside(
    registry: ModelRegistry,
    candidate: Any,
    test: pd.DataFrame | None = None,
    experiment: Experiment | None = None,
) -> tuple[tuple[Measured, ...], Comparison | None]:
    rows = held_out() if test is None else test
    model = opened(candidate.folder)
    asked = experiment or make_experiment()
    return beside_champion(asked, registry, rows, model.outcome(rows), model.scorer.manifest)


def test_without_a_champion_nothing_is_compared(
    model_registry: ModelRegistry, candidate: Any
) -> None:
    assert beside(model_registry, candidate) == ((), None)


def test_both_are_scored_on_the_same_rows(
    model_registry: ModelRegistry, candidate: Any, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "other", seed=3, rows=60)
    version = crown(model_registry, other.folder)
    (measured,), comparison = beside(model_registry, candidate)
    ours, theirs = (opened(b.folder).outcome(held_out()) for b in (candidate, other))
    assert comparison is not None
    assert (comparison.version, comparison.note) == (version, "")
    assert (measured.metric, measured.column, measured.rows) == ("roc_auc", "", 300)
    assert measured.candidate == point("roc_auc", ours)
    assert measured.champion == point("roc_auc", theirs)
    assert measured.difference is not None
    assert measured.difference.low < measured.difference.value < measured.difference.high
    assert measured.confidence == pytest.approx(0.95)
    assert comparison.changed_predictions == np.mean(ours.predicted != theirs.predicted) > 0
    assert comparison.footprint is not None
    assert 0 < comparison.footprint.latency_ms < 1000
    size = sum(path.stat().st_size for path in other.folder.iterdir())
    assert comparison.footprint.bundle_mb == size / 1e6


def test_a_champion_is_asked_with_its_own_columns(
    model_registry: ModelRegistry, candidate: Any
) -> None:
    crown(model_registry, candidate.folder)
    more = held_out().assign(brand_new=1.0)
    _, comparison = beside(model_registry, candidate, more)
    assert comparison is not None
    assert comparison.note == ""


def test_a_champion_whose_columns_are_gone_says_which_and_what_helps(
    model_registry: ModelRegistry, candidate: Any, tmp_path: Path
) -> None:
    version = crown(model_registry, candidate.folder)
    rows = held_out()
    model = opened(candidate.folder)
    measured, comparison = beside_champion(
        make_experiment(),
        model_registry,
        rows.drop(columns=["tenure", "senior"]),
        model.outcome(rows),
        model.scorer.manifest,
    )
    assert measured == ()
    assert comparison is not None
    assert comparison.version == version
    assert comparison.note.startswith("it needs senior, tenure, which the training set holds no")
    assert "training.slices" in comparison.note


def test_a_champion_of_another_task_or_without_a_bundle_is_not_comparable(
    model_registry: ModelRegistry, candidate: Any, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "other", task="multiclass_classification")
    crown(model_registry, other.folder)
    _, comparison = beside(model_registry, candidate)
    assert comparison is not None
    assert comparison.note == "it predicts other classes"
    version = model_registry.register("churn", source="runs:/r/model", run_id="", tags={})
    model_registry.set_alias("churn", CHAMPION, version)
    _, comparison = beside(model_registry, candidate)
    assert comparison is not None
    assert comparison.note == "it has no serving bundle"


def test_a_champion_that_cannot_be_loaded_says_why(
    model_registry: ModelRegistry, candidate: Any, tmp_path: Path
) -> None:
    broken = make_bundle(tmp_path / "broken", seed=2)
    (broken.folder / "golden.json").write_text("{}")
    crown(model_registry, broken.folder)
    measured, comparison = beside(model_registry, candidate)
    assert measured == ()
    assert comparison is not None
    assert comparison.note.startswith("it cannot be loaded: ")
    assert "golden.json" in comparison.note
    crown(model_registry, candidate.folder, **{"mlops.bundle_uri": "runs:/0000/bundle"})
    _, comparison = beside(model_registry, candidate)
    assert comparison is not None
    assert "runs:/0000/bundle cannot be fetched" in comparison.note


def test_a_champion_that_cannot_score_the_rows_says_why(
    model_registry: ModelRegistry, candidate: Any
) -> None:
    crown(model_registry, candidate.folder)
    rows, model = held_out(), opened(candidate.folder)
    texts = rows.assign(tenure="many")
    _, comparison = beside_champion(
        make_experiment(), model_registry, texts, model.outcome(rows), model.scorer.manifest
    )
    assert comparison is not None
    assert comparison.note.startswith("it cannot score these rows: ")


def simulated(rows: int = 900) -> pd.DataFrame:
    """Rows in random order of their ids; `plan` bad is where the candidate is worse."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({ROW: [f"{k:04d}" for k in rng.permutation(rows)], SPLIT: TEST})
    frame["plan"] = rng.choice(["bad", "good", "rare"], rows, p=[0.4, 0.57, 0.03])
    frame[LABEL] = rng.integers(0, 2, rows).astype(float)
    frame["champion"] = frame[LABEL] + rng.normal(0, 1, rows)
    noise = np.where(frame["plan"] == "bad", 3.0, 0.2)
    frame["candidate"] = frame["champion"] + noise * rng.normal(0, 1, rows)
    return frame


def outcome(rows: pd.DataFrame, score: str) -> Outcome:
    p = 1 / (1 + np.exp(0.5 - rows[score].to_numpy()))
    return Outcome(rows[LABEL].to_numpy(), (p >= 0.5).astype(float), np.c_[1 - p, p])


def measured_on(frame: pd.DataFrame, **section: Any) -> tuple[Measured, ...]:
    rows = held_out_rows(frame)
    return measure(
        PromotionSpec.model_validate(section).resolved("roc_auc"),
        rows,
        ("plan",),
        candidate=outcome(rows, "candidate"),
        champion=outcome(rows, "champion"),
        resampling=RESAMPLING,
    )


def test_the_order_of_the_rows_changes_nothing() -> None:
    frame = simulated()
    first = measured_on(frame)
    for seed in range(3):
        assert measured_on(frame.sample(frac=1, random_state=seed)) == first


def test_slices_too_small_are_not_measured_and_many_slices_widen_the_interval() -> None:
    whole, *parts = measured_on(simulated(), slices={"smallest": 100})
    assert whole.confidence == pytest.approx(0.95)
    by_value = {each.value: each for each in parts}
    assert by_value["rare"].note == "fewer than 100 rows"
    assert by_value["rare"].candidate is None
    assert by_value["bad"].confidence == pytest.approx(1 - 0.05 / 2)
    assert by_value["bad"].difference is not None
    assert by_value["bad"].difference.high < 0
    assert by_value["good"].difference is not None
    assert by_value["good"].difference.high > 0
    asked = {"rule": "non_inferior", "margin": 0.1}
    proven = measured_on(simulated(), slices={"smallest": 100, "metrics": {"f1": asked}})
    # All of them must hold: nothing to correct.
    assert {each.confidence for each in proven if each.difference} == {0.95}
    assert {each.metric for each in proven if each.column} == {"f1"}


def test_a_slice_with_a_floor_alone_is_not_compared() -> None:
    found = measured_on(simulated(), slices={"metrics": {"accuracy": {"floor": 0.5}}})
    alone = [each for each in found if each.metric == "accuracy" and not each.note]
    assert len(alone) == 2
    assert all(each.candidate is not None and each.difference is None for each in alone)


def test_changed_predictions_are_other_labels_or_values_far_away() -> None:
    truth = np.array([0.0, 1.0, 1.0, 0.0])
    first = Outcome(truth, truth, None)
    second = Outcome(truth, np.array([0.0, 0.0, 1.0, 0.0]), None)
    assert changed_predictions("binary_classification", first, second) == 0.25
    near = Outcome(truth, truth + np.array([0.0, 0.04, 0.06, -0.06]), None)
    assert changed_predictions("regression", first, near) == 0.5


def test_a_model_that_was_trained_again_on_the_same_rows_is_no_better(
    model_registry: ModelRegistry, candidate: Any
) -> None:
    crown(model_registry, candidate.folder)
    (measured,), comparison = beside(model_registry, candidate)
    assert measured.difference == Metric(0.0, 0.0, 0.0)
    assert comparison is not None
    assert comparison.changed_predictions == 0.0
