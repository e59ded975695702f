"""Looks at the MLflow registry for all experiments: deploys the champion when it changes, whoever
changed it, and has versions evaluated that others registered."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.registry import waking
from mlops_assets.registry.arrivals import Watched
from mlops_assets.registry.events import (
    NOTHING,
    Decided,
    Live,
    Read,
    Seen,
    decide,
    read_now,
    to_ask,
)
from mlops_assets.registry.looking import Attempt, Look
from mlops_assets.registry.waking import Looked

INTERVAL_SECONDS = 15
"""After which a change is seen at the latest."""
PAUSE_SECONDS = INTERVAL_SECONDS - 6
"""Between two looks at least. Dagster's daemon sees every 5 s, and a little more, which sensors are
due; of one that is due a moment later it thinks again 5 s on."""
FROM_THE_MODEL_ON = (
    names.TRAINED_MODEL,
    names.EVALUATION,
    names.REGISTERED_VERSION,
    names.REFERENCE_PROFILE,
)
"""What is made of a version that somebody else registered."""


def build(
    experiments: Iterable[Experiment], jobs: Sequence[Any], *, webhooks: bool = False
) -> dg.Definitions:
    """One sensor for all experiments: a tick costs one sweep of the registry, and a bounded number
    of looks at single versions.

    Args:
        experiments: that are watched.
        jobs: `<experiment>__deploy` and `<experiment>__retrain` of each.
        webhooks: whether MLflow's may wake it. It then ticks as often as the daemon can, and looks
            only when it was woken, or the usual time has passed.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    if not by_name:
        return dg.Definitions()

    @dg.sensor(
        name=names.REGISTRY_SENSOR,
        jobs=list(jobs),
        minimum_interval_seconds=waking.TICK_SECONDS if webhooks else PAUSE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts `<experiment>__deploy` when the alias `champion` points at another "
        "version than the one last deployed; has versions that were registered outside Dagster "
        "evaluated as if they had been trained here, by a part of `<experiment>__retrain`; answers "
        "approvals by tag, promotes what a freeze held up, and sees to aliases moved by hand.",
    )
    def registry_changed(
        context: dg.SensorEvaluationContext,
        model_registry: dg.ResourceParam[ModelRegistry],
        dagster_url: dg.ResourceParam[str],
    ) -> dg.SensorResult | dg.SkipReason:
        content = json.loads(context.cursor or "{}")
        seen, watched = _remembered(content)
        before = Read(**content.get("read", {}))
        now = datetime.now(UTC)
        # Read before the look: a mark that is left during it is for the next one.
        mark = _mark(context.instance) if webhooks else ""
        if webhooks and not waking.is_due(_looked(content), mark, now=now, interval=PAUSE_SECONDS):
            return dg.SkipReason("no webhook came, and the last look was a moment ago")
        try:
            look = Look(
                model_registry,
                decided={name: each.version for name, each in seen.items()},
                watched=watched,
                attempt=lambda name, version: _attempt(context.instance, name, version),
                has_rows=lambda name: _has_rows(context.instance, name),
                now=now,
                dagster_url=dagster_url,
            )
            look.take(by_name.values())
        except RegistryError as error:
            return dg.SkipReason(str(error))
        for words in look.moves.values():
            context.log.warning(words)
        # Read before what is live: an event that comes meanwhile is for the next look.
        newest = context.instance.event_log_storage.get_maximum_record_id() or 0
        asked = to_ask(look.champions, seen=seen, read=before, newest=newest)
        live = _live(context.instance, [by_name[name] for name in sorted(asked)])
        # Milliseconds are ahead of any count of changes.
        first = int(now.timestamp() * 1000)
        decided = decide(look.champions, seen=seen, live=live, first=first)
        read = read_now(
            before,
            newest=newest,
            whole=asked <= live.keys(),
            without=decided.seen.keys() & by_name.keys() - look.champions.keys(),
        )
        cursor = {
            "champions": {name: vars(each) for name, each in decided.seen.items()},
            "read": asdict(read),
            "arrivals": {name: asdict(each) for name, each in look.watched.items()},
        }
        if webhooks:
            cursor["looked"] = asdict(Looked(mark, now.isoformat()))
        requests = [*_adoptions(look, by_name), *_deployments(decided, by_name)]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _as_deployed(look),
            asset_events=[*_arrived(look, by_name, model_registry), *_observed(look)],
            cursor=json.dumps(cursor, sort_keys=True),
        )

    return dg.Definitions(sensors=[registry_changed])


def _remembered(content: Mapping[str, Any]) -> tuple[dict[str, Seen], dict[str, Watched]]:
    arrivals = {
        name: Watched(
            born_ms=each["born_ms"],
            newest=each["newest"],
            waiting={int(number): times for number, times in each["waiting"].items()},
        )
        for name, each in content.get("arrivals", {}).items()
    }
    return {k: Seen(**v) for k, v in content.get("champions", {}).items()}, arrivals


def _looked(content: Mapping[str, Any]) -> Looked | None:
    last = content.get("looked")
    return Looked(**last) if last else None


def _mark(instance: dg.DagsterInstance) -> str:
    return instance.daemon_cursor_storage.get_cursor_values({waking.KEY}).get(waking.KEY, "")


def _adoptions(look: Look, by_name: Mapping[str, Experiment]) -> list[dg.RunRequest]:
    return [
        dg.RunRequest(
            run_key=each.key,
            job_name=names.retrain_job(each.experiment),
            asset_selection=[names.asset_key(each.experiment, part) for part in FROM_THE_MODEL_ON],
            run_config=names.adopt_config(by_name[each.experiment], each.version),
            tags={
                names.EXPERIMENT_TAG: each.experiment,
                names.VERSION_TAG: str(each.version),
                names.ADOPTS_TAG: f"{each.experiment}:{each.version}",
            },
        )
        for each in look.adoptions
    ]


def _attempt(instance: dg.DagsterInstance, experiment: str, version: int) -> Attempt | None:
    tags = {names.ADOPTS_TAG: f"{experiment}:{version}"}
    for run in instance.get_runs(dg.RunsFilter(tags=tags), limit=1):
        if not run.is_finished:
            return Attempt(run.run_id, unfinished=True, refusal="")
        return Attempt(run.run_id, unfinished=False, refusal=_refusal(instance, run.run_id))
    return None


def _refusal(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the gates that failed said, or the step that refused the model; empty when the run ended
    in another way."""
    wanted = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_FAILURE}
    checks, failures = [], []
    for entry in instance.all_logs(run_id, of_type=wanted):
        data: Any = entry.get_dagster_event().event_specific_data
        if entry.dagster_event_type == dg.DagsterEventType.STEP_FAILURE:
            if data.user_failure_data is not None and data.user_failure_data.description:
                failures.append(str(data.user_failure_data.description))
        elif data.blocking and not data.passed:
            checks.append(f"{data.check_name}: {data.description}")
    return "; ".join(checks or failures)


def _has_rows(instance: dg.DagsterInstance, experiment: str) -> bool:
    key = names.asset_key(experiment, names.TRAINING_SET)
    return instance.get_latest_materialization_event(key) is not None


def _deployments(decided: Decided, by_name: Mapping[str, Experiment]) -> list[dg.RunRequest]:
    return [
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


def _arrived(
    look: Look, by_name: Mapping[str, Experiment], registry: ModelRegistry
) -> Iterator[dg.AssetMaterialization]:
    """What others made, as it stands in the graph."""
    for experiment, versions in look.arrived.items():
        for version in versions:
            url = registry.version_url(by_name[experiment].model_name, version)
            yield dg.AssetMaterialization(
                names.asset_key(experiment, names.REGISTERED_ELSEWHERE),
                description=f"Version {version} was registered outside Dagster.",
                metadata={"version": version, "registry": dg.MetadataValue.url(url)},
            )


def _observed(look: Look) -> Iterator[dg.AssetObservation]:
    """On the pages of registered versions: what no run did."""
    for kind, found in (("moved_by_hand", look.moves), ("decided", look.decided)):
        for experiment, words in found.items():
            key = names.asset_key(experiment, names.REGISTERED_VERSION)
            yield dg.AssetObservation(key, description=words, metadata={kind: words})


def _as_deployed(look: Look) -> str:
    shown = ", ".join(f"{n} {v}" for n, v in sorted(look.champions.items())[:10])
    return "; ".join([f"champions are as deployed: {shown or 'none yet'}", *look.notes])


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
    versions: set[int] = set()
    deployed: dict[int, int] = {}
    for record in records:
        if record is None or record.asset_materialization is None:
            return NOTHING
        said = {k: v.value for k, v in record.asset_materialization.metadata.items()}
        # People can report a materialization in the UI, without any metadata. What somebody stopped
        # is to be deployed for another champion alone.
        stopped = names.STOPPED_BY in said
        if not (stopped or said.get("state") == "live") or "version" not in said:
            return NOTHING
        versions.add(version := int(str(said["version"])))
        if not stopped:
            deployed[record.storage_id] = version
    newest = max(deployed, default=0)
    return Live(frozenset(versions), deployed.get(newest), newest)


def _endpoints(experiment: Experiment) -> list[dg.AssetKey]:
    targets = experiment.deployment.targets
    return [names.endpoint_key(experiment.name, kind_of(type(target))) for target in targets]
