"""Where an experiment stands, gathered from the endpoint, MLflow and Dagster's instance. Reads
only; what cannot be reached is said in the answer."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.model_registry import ModelRegistry


@dataclass(frozen=True)
class CheckStanding:
    """The latest verdict of one check."""

    asset: str
    name: str
    verdict: str
    """`passed`, `failed` or `never`."""
    reason: str
    when: str
    """ISO 8601, UTC; empty when it never ran."""


@dataclass(frozen=True)
class RunStanding:
    """A run that has not ended."""

    job: str
    run_id: str
    state: str


@dataclass(frozen=True)
class Standing:
    """One experiment, now."""

    experiment: str
    endpoints: tuple[dict[str, Any], ...]
    """Per target: state (as observed now), version, digest of its bundle, url, since when,
    previous version, share of the traffic by version where two have it, detail; and the run that
    deployed it, by Dagster."""
    champion: int | None
    metric: str
    """Name of what tuning optimises."""
    test: str
    """Its value and interval on the champion's held-out rows."""
    registry_error: str
    """Why the registry could not be asked; empty when it could."""
    checks: tuple[CheckStanding, ...]
    drift: str
    next_retraining: str
    """ISO 8601 with offset; empty without a schedule."""
    running: tuple[RunStanding, ...]
    tickets: tuple[str, ...]
    """What is wrong, the worst first, in words."""


def gather(
    settings: Settings,
    experiment: "Experiment",
    *,
    registry: "ModelRegistry | None",
    registry_error: str,
    instance: "dg.DagsterInstance | None",
    now: datetime,
) -> Standing:
    """Ask everybody about one experiment.

    Args:
        registry: None when it is not there; `registry_error` says why.
        instance: None when nothing was ever run.
        now: aware.
    """
    champion, test, trouble = _champion(experiment, registry)
    checks = _checks(experiment, instance)
    return Standing(
        experiment=experiment.name,
        endpoints=_endpoints(settings, experiment, instance),
        champion=champion,
        metric=experiment.metric,
        test=test,
        registry_error=registry_error or trouble,
        checks=checks,
        drift=_drift(checks),
        next_retraining=next_retraining(experiment, now),
        running=_running(settings, experiment, instance),
        tickets=_tickets(settings, experiment, instance, now),
    )


def _tickets(
    settings: Settings,
    experiment: "Experiment",
    instance: "dg.DagsterInstance | None",
    now: datetime,
) -> tuple[str, ...]:
    from mlops_assets.commands.tickets import held_in

    if instance is None:
        return ()
    found, _ = held_in(settings, instance, (experiment,), now=now.timestamp())
    return tuple(
        f"{one.ticket} {one.severity}: {one.cause} since {one.since}" for one in found if one.ticket
    )


def next_retraining(experiment: "Experiment", now: datetime) -> str:
    """When `training.retrain.cron` asks for a training next; empty when there is none."""
    from mlops_assets.training.retraining.triggers import following

    retrain = experiment.training.retrain
    if retrain is None or retrain.cron is None:
        return ""
    return following(retrain.cron, retrain.timezone, now).isoformat(timespec="minutes")


def _endpoints(
    settings: Settings, experiment: "Experiment", instance: "dg.DagsterInstance | None"
) -> tuple[dict[str, Any], ...]:
    from mlops_assets.commands import deployments
    from mlops_assets.commands.live import observe

    runs = {kind: one.run_id for kind, one in deployments.newest(instance, experiment).items()}
    found = []
    for seen in observe(settings, experiment):
        one = seen.endpoint
        state = one.state if one else ("unknown" if seen.error else "never deployed")
        found.append(
            {
                "target": seen.kind,
                "state": state,
                "version": one.version if one else None,
                "bundle_digest": one.bundle_digest if one else "",
                "url": one.url if one else "",
                "since": one.since if one else "",
                "previous_version": one.previous_version if one else None,
                "traffic": one.traffic if one else {},
                "run": runs.get(seen.kind, ""),
                "detail": one.detail if one else seen.error,
            }
        )
    return tuple(found)


def _champion(
    experiment: "Experiment", registry: "ModelRegistry | None"
) -> tuple[int | None, str, str]:
    from mlops_assets.gateways.model_registry import CHAMPION, RegistryError

    if registry is None:
        return None, "", ""
    try:
        number = registry.aliases(experiment.model_name).get(CHAMPION)
        if number is None:
            return None, "", ""
        tags = registry.version(experiment.model_name, number).tags
    except RegistryError as error:
        return None, "", str(error)
    return number, tags.get(f"mlops.test_{experiment.metric}", ""), ""


def _checks(
    experiment: "Experiment", instance: "dg.DagsterInstance | None"
) -> tuple[CheckStanding, ...]:
    import dagster as dg  # noqa: TID251

    from mlops_assets.graph import build_experiment

    built = build_experiment(experiment)
    keys = [
        spec.key
        for made in (*(built.assets or ()), *(built.asset_checks or ()))
        if isinstance(made, dg.AssetsDefinition)
        for spec in made.check_specs
    ]
    latest: dict[Any, Any] = {}
    if instance is not None:
        latest = {key: _latest(instance, key) for key in keys}
    return tuple(_verdict(key, latest.get(key)) for key in keys)


def _latest(instance: "dg.DagsterInstance", key: "dg.AssetCheckKey") -> Any:
    """The newest record with a verdict: a run that was ended early leaves planned ones behind."""
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    judged = [record for record in history if record.status.value in ("SUCCEEDED", "FAILED")]
    return judged[0] if judged else None


def _verdict(key: "dg.AssetCheckKey", record: Any) -> CheckStanding:
    asset = "/".join(key.asset_key.path)
    if record is None:
        return CheckStanding(asset, key.name, "never", "", "")
    evaluation = record.evaluation
    if evaluation is None:
        return CheckStanding(asset, key.name, "failed", "the check itself failed", "")
    seconds = record.create_timestamp if record.event is None else record.event.timestamp
    when = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    verdict = "passed" if evaluation.passed else "failed"
    return CheckStanding(asset, key.name, verdict, evaluation.description or "", when)


def _drift(checks: tuple[CheckStanding, ...]) -> str:
    from mlops_assets import vocabulary as names

    wanted = (names.HAS_NOT_DRIFTED, names.PREDICTIONS_HAVE_NOT_DRIFTED)
    found = [check for check in checks if check.name in wanted and check.verdict != "never"]
    if not found:
        return "not judged yet"
    if failed := [check.reason for check in found if check.verdict == "failed"]:
        return "; ".join(failed)
    return "; ".join(check.reason for check in found)


def _running(
    settings: Settings, experiment: "Experiment", instance: "dg.DagsterInstance | None"
) -> tuple[RunStanding, ...]:
    import dagster as dg  # noqa: TID251

    from mlops_assets import vocabulary as names
    from mlops_assets.commands.instance import STARTED_BY, STARTED_BY_TAG, is_claimed

    if instance is None:
        return ()
    statuses = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    unfinished = dg.RunsFilter(tags={names.EXPERIMENT_TAG: experiment.name}, statuses=statuses)
    claimed = is_claimed(settings, experiment.name)
    found = []
    for run in instance.get_runs(unfinished):
        lost = run.tags.get(STARTED_BY_TAG) == STARTED_BY and not claimed
        state = "its process was killed" if lost else run.status.value.lower()
        found.append(RunStanding(run.job_name, run.run_id, state))
    return tuple(found)
