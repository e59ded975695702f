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
from mlops_assets.registry.events import NOTHING, Live, Seen, decide

INTERVAL_SECONDS = 15


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
        live = _live(context.instance, [by_name[name] for name in champions])
        # Milliseconds are ahead of any count of changes.
        first = int(datetime.now(UTC).timestamp() * 1000)
        decided = decide(champions, seen=seen, live=live, first=first)
        cursor = json.dumps({name: vars(s) for name, s in decided.seen.items()}, sort_keys=True)
        requests = [
            dg.RunRequest(
                run_key=event.key,
                job_name=names.deploy_job(event.experiment),
                run_config=names.deploy_config(by_name[event.experiment], version=event.version),
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


def _live(instance: dg.DagsterInstance, experiments: list[Experiment]) -> dict[str, Live]:
    """What the newest materializations say, of experiments that no run deploys."""
    # Asked before the materializations: a deployment that ends in between has made its own.
    deploying = names.deploying(instance)
    idle = [experiment for experiment in experiments if experiment.name not in deploying]
    keys = {experiment.name: _endpoints(experiment) for experiment in idle}
    wanted = [key for endpoints in keys.values() for key in endpoints]
    records = {
        record.asset_entry.asset_key: record.asset_entry.last_materialization_record
        for record in (instance.get_asset_records(wanted) if wanted else ())
    }
    return {
        name: _said([records.get(key) for key in endpoints]) for name, endpoints in keys.items()
    }


def _said(records: list[dg.EventLogRecord | None]) -> Live:
    versions: dict[int, int] = {}
    for record in records:
        if record is None or record.asset_materialization is None:
            return NOTHING
        said = {k: v.value for k, v in record.asset_materialization.metadata.items()}
        # People can report a materialization in the UI, without any metadata.
        if said.get("state") != "live" or "version" not in said:
            return NOTHING
        versions[record.storage_id] = int(str(said["version"]))
    newest = max(versions)
    return Live(frozenset(versions.values()), versions[newest], newest)


def _endpoints(experiment: Experiment) -> list[dg.AssetKey]:
    targets = experiment.deployment.targets
    return [names.endpoint_key(experiment.name, kind_of(type(target))) for target in targets]
