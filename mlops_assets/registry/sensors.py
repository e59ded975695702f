"""Deploys the champion when it changes in MLflow, whoever changed it."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry, RegistryError
from mlops_assets.registry.events import Seen, decide

INTERVAL_SECONDS = 15
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def build(experiments: Iterable[Experiment], deploy_jobs: Sequence[Any]) -> dg.Definitions:
    """One sensor for all experiments: a tick costs one sweep of the registry.

    Args:
        experiments: that are watched.
        deploy_jobs: the job `<experiment>__deploy` of each.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    if not by_name:
        return dg.Definitions()

    @dg.sensor(
        name=names.REGISTRY_SENSOR,
        jobs=list(deploy_jobs),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts `<experiment>__deploy` when the alias `champion` points at another "
        "version than the one last deployed.",
    )
    def champion_changed(
        context: dg.SensorEvaluationContext, model_registry: dg.ResourceParam[ModelRegistry]
    ) -> dg.SensorResult | dg.SkipReason:
        seen = {k: Seen(**v) for k, v in json.loads(context.cursor or "{}").items()}
        try:
            aliases = model_registry.all_aliases()
        except RegistryError as error:
            return dg.SkipReason(str(error))
        champions = {
            name: aliases[e.model_name][CHAMPION]
            for name, e in by_name.items()
            if CHAMPION in aliases.get(e.model_name, {})
        }
        changed = {n: v for n, v in champions.items() if n not in seen or seen[n].version != v}
        live = {name: _live_versions(context.instance, by_name[name]) for name in changed}
        # Milliseconds are ahead of any count of changes.
        first = int(datetime.now(UTC).timestamp() * 1000)
        decided = decide(champions, seen=seen, live=live, first=first)
        cursor = json.dumps({name: vars(s) for name, s in decided.seen.items()}, sort_keys=True)
        requests = [
            dg.RunRequest(
                run_key=event.key,
                job_name=names.deploy_job(event.experiment),
                run_config=_run_config(by_name[event.experiment], event.version),
                tags={
                    names.EXPERIMENT_TAG: event.experiment,
                    names.VERSION_TAG: str(event.version),
                },
            )
            for event in decided.events
        ]
        if not requests:
            shown = ", ".join(f"{n} {v}" for n, v in sorted(champions.items())[:10])
            reason = f"champions are as deployed: {shown or 'none yet'}"
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return dg.Definitions(sensors=[champion_changed])


def _live_versions(instance: dg.DagsterInstance, experiment: Experiment) -> set[int]:
    """Versions last materialized on the experiment's endpoints: more than one while they differ,
    none where an endpoint was never deployed, is stopped, or is being deployed to."""
    # Asked before the materializations: a deployment that ends in between has made its own.
    deploying = dg.RunsFilter(job_name=names.deploy_job(experiment.name), statuses=[*UNFINISHED])
    if instance.get_runs_count(deploying):
        return set()
    versions: set[int] = set()
    for target in experiment.deployment.targets:
        key = names.endpoint_key(experiment.name, kind_of(type(target)))
        event = instance.get_latest_materialization_event(key)
        if event is None or event.asset_materialization is None:
            return set()
        said = {k: v.value for k, v in event.asset_materialization.metadata.items()}
        # People can report a materialization in the UI, without any metadata.
        if said.get("state") != "live" or "version" not in said:
            return set()
        versions.add(int(str(said["version"])))
    return versions


def _run_config(experiment: Experiment, version: int) -> dg.RunConfig:
    ops = {
        f"{experiment.name}__{names.ENDPOINTS}__{kind_of(type(target))}": {
            "config": {"version": version}
        }
        for target in experiment.deployment.targets
    }
    return dg.RunConfig(ops=ops)
