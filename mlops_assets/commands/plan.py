"""`mlops plan`: what a run would find out of date, and what it would deploy. Touches nothing."""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.commands.console import table
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.training.staleness import Known, Verdict


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    experiment: str
    data: str
    """Where it is read from, its size, and whether it changed."""
    assets: "tuple[Verdict, ...]"
    study: str
    trials_kept: int
    trials_left: int
    deployment: str
    retraining: str
    """Whether one would be started without being asked, and what became of the last."""


@click.command()
@click.argument("experiment", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def plan(experiment: str | None, *, as_json: bool) -> None:
    """Show what a run of EXPERIMENT would find out of date, search and deploy.

    Reads the source; writes and starts nothing.
    """
    import warnings

    from mlops_assets import settings
    from mlops_assets.commands.choice import check_estimator, choose
    from mlops_assets.features.sources.base import SourceError
    from mlops_assets.gateways.data_store import DataStoreError
    from mlops_assets.gateways.study_locks import StudyStoreError

    warnings.simplefilter("ignore")
    current = settings.load()
    chosen = choose(current, experiment)
    check_estimator(chosen)
    try:
        made = _plan(current, chosen)
    except (SourceError, StudyStoreError, DataStoreError) as error:
        raise click.ClickException(f"{chosen.name}: {error}") from error
    click.echo(json.dumps(asdict(made), indent=2) if as_json else render(made))


def render(plan: Plan) -> str:
    """The plan as text."""
    kept, left = plan.trials_kept, plan.trials_left
    trials = f"{left} to run" + (f", {kept} finished ones are kept" if kept else "")
    rows = [("change" if one.stale else "same", one.name, one.why) for one in plan.assets]
    stale = any(one.stale for one in plan.assets)
    footer = (
        f"mlops run {plan.experiment} does it."
        if stale
        else "Nothing changed. A run would fit the same model again and register it anew."
    )
    said = [("data", plan.data), ("trials", trials), ("deploys", plan.deployment)]
    if plan.retraining:
        said.append(("retraining", plan.retraining))
    facts = table(said, indent="  ")
    return f"{plan.experiment}\n{facts}\n\n{table(rows, indent='  ')}\n\n{footer}"


def _plan(settings: Settings, experiment: "Experiment") -> Plan:
    from mlops_assets import vocabulary as names
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.commands.retraining import standing as retraining_standing
    from mlops_assets.commands.trials import study_standing
    from mlops_assets.graph import build_experiment
    from mlops_assets.training.staleness import judge

    digest, rows, location = _source(settings, experiment)
    with ExitStack() as stack:
        instance = existing_instance(settings)
        if instance is not None:
            stack.enter_context(instance)
        assets = [*(build_experiment(experiment).assets or ())]
        known = _known(experiment, assets, instance, source_version=digest[:16])
        refreshed = not any(verdict.stale for verdict in judge(known)[:3])
        retraining = retraining_standing(experiment, assets, instance, refreshed=refreshed)
    before = known[0].made_version
    change = "new" if not before else "unchanged" if before == digest[:16] else "changed"
    standing = study_standing(settings, experiment)
    # Other rows are another study; whether a changed YAML makes other rows is seen by making them.
    resumed = standing is not None and refreshed
    if standing and resumed and standing.left:
        tuning = names.TUNED_HYPERPARAMETERS
        words = f"{standing.left} trials to run"
        known = [replace(one, unfinished=words) if one.name == tuning else one for one in known]
    return Plan(
        experiment=experiment.name,
        data=f"{rows:,} rows of {location}: {change}",
        assets=judge(known),
        study=standing.study if standing and resumed else "",
        trials_kept=standing.finished if standing and resumed else 0,
        trials_left=standing.left if standing and resumed else _asked(experiment),
        deployment=_deployment(settings, experiment),
        retraining=retraining,
    )


def _asked(experiment: "Experiment") -> int:
    from mlops_assets.tuning.space import grid_size

    spec = experiment.tuning
    return min(spec.n_trials, grid_size(spec.search_space) or spec.n_trials)


def _source(settings: Settings, experiment: "Experiment") -> tuple[str, int, str]:
    """Digest, rows and location of the data as it is now."""
    from mlops_assets import resources
    from mlops_assets.features.assets import storable
    from mlops_assets.gateways.data_store import frame_digest

    here = replace(resources.source_context(settings), directory=experiment.path.parent)
    spec = experiment.features.source
    frame = storable(spec.read(here))
    return frame_digest(frame), len(frame), spec.location(here)


def _known(
    experiment: "Experiment",
    assets: list[Any],
    instance: "dg.DagsterInstance | None",
    *,
    source_version: str,
) -> "list[Known]":
    """The assets of the retraining job, in the order of the graph."""
    from mlops_assets import vocabulary as names
    from mlops_assets.training.retraining.assets import known, stages

    found = []
    for stage in stages(assets):
        tags = _tags(instance, names.asset_key(experiment.name, stage.name))
        now = source_version if stage.name == names.SOURCE else None
        found.append(replace(known(stage, tags), version_now=now))
    return found


def _tags(instance: "dg.DagsterInstance | None", key: "dg.AssetKey") -> dict[str, str]:
    event = None if instance is None else instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return {}
    return dict(event.asset_materialization.tags or {})


def _deployment(settings: Settings, experiment: "Experiment") -> str:
    from mlops_assets.commands.live import observe, state_in_words
    from mlops_assets.commands.status import existing_registry
    from mlops_assets.gateways.model_registry import CHAMPION

    registry, trouble = existing_registry(settings)
    if trouble:
        return trouble
    champion = registry.aliases(experiment.model_name).get(CHAMPION) if registry else None
    seen: list[Any] = [
        f"{one.kind}: {state_in_words(one)}"
        + (f", version {one.endpoint.version}" if one.endpoint else "")
        for one in observe(settings, experiment)
    ]
    now = f"now {'; '.join(seen)}"
    if experiment.registry.promotion.approval == "automatic":
        old = f", otherwise version {champion} stays" if champion else ""
        return f"the new version if it passes the gates{old} ({now})"
    if champion is None:
        return f"nothing: promotion is manual and there is no champion ({now})"
    return f"version {champion}, the champion: promotion is manual ({now})"
