"""What Dagster's stores say of checks, runs and sensors, asked for many experiments at once: the
number of calls does not grow with that of experiments."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._core.storage.tags import WILL_RETRY_TAG

from mlops_assets import vocabulary as names
from mlops_assets.monitoring.resources import Reached, changed_since, in_seconds
from mlops_assets.monitoring.tickets.advice import RUNS, SCHEDULES, SENSORS, advice_of
from mlops_assets.monitoring.tickets.book import Book
from mlops_assets.monitoring.tickets.findings import Finding, Observation, Passed, Severity, weight
from mlops_assets.monitoring.tickets.shelf import PLATFORM

MOST_RUNS = 200
MOST_FAILURES = 10
"""Failed runs whose events are read in one tick; the next one goes on there."""
FIRST_LOOK_S = 86_400.0
"""How far back the first look at runs reaches."""
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
EVENTS = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
Found = dict[str, dict[str, Observation]]
"""By experiment and cause."""


def cause_of(key: dg.AssetCheckKey) -> str:
    return "/".join((*key.asset_key.path[1:], key.name))


def of_checks(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]) -> Found:
    """What these checks said last. One that is being evaluated says nothing."""
    store, found, asked = instance.event_log_storage, Found(), frozenset(keys)
    for key, record in store.get_latest_asset_check_execution_by_key([*asked]).items():
        said = record.event.asset_check_evaluation if record.event is not None else None
        # Dagster also answers for other pairs of the assets and names that are asked for.
        if said is None or record.event is None or key not in asked:
            continue
        experiment, cause = key.asset_key.path[0], cause_of(key)
        # The record's own time is in whole seconds.
        at = record.event.timestamp
        observation: Observation = Passed(at)
        if not said.passed:
            observation = _failing(key, said, at)
        found.setdefault(experiment, {})[cause] = observation
    return found


def _failing(key: dg.AssetCheckKey, said: Any, at: float) -> Finding:
    """With what was measured and what is allowed, where its metadata says so as `value` and
    `threshold`."""
    cause, asset = cause_of(key), "/".join(key.asset_key.path)
    shown = {name: value.value for name, value in said.metadata.items()}
    return Finding(
        cause=cause,
        severity=_severity(cause, said.severity),
        words=said.description or "without a reason",
        at=at,
        since=at,
        value=_shown(shown.get("value")),
        threshold=_shown(shown.get("threshold")),
        asset=asset,
        page=f"/assets/{asset}?view=checks&checkDetail={key.name}",
    )


def _severity(cause: str, said: dg.AssetCheckSeverity) -> Severity:
    """That of the cause, unless the check itself only warns: it knows what it found."""
    usual = advice_of(cause).severity
    warns = said == dg.AssetCheckSeverity.WARN
    return min(usual, "warning", key=weight) if warns else usual


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:100]


def of_runs(
    instance: dg.DagsterInstance,
    books: Mapping[str, Book],
    assets: Mapping[str, frozenset[str]],
    *,
    reached: Reached,
    now: float,
) -> tuple[Found, Reached]:
    """How the runs of our jobs ended since, and where to go on.

    Args:
        books: of the experiments whose runs count.
        assets: paths of the assets of each.
        reached: before; at 0 at first.
        now: seconds since 1970.
    """
    first = reached = reached if reached.at else Reached(now - FIRST_LOOK_S)
    records = changed_since(instance, reached, ENDED, most=MOST_RUNS)
    found, read = Found(), 0
    for record in records:
        for name, cause, finding in _recovered(record, books, found):
            found.setdefault(name, {})[cause] = Passed(max(ended_at(record), finding.at))
        if (whom := _failed(record, books)) is not None:
            if read == MOST_FAILURES:
                return found, reached
            read += 1
            name, cause = whom
            owned = assets.get(name, frozenset())
            if failure := _failure(instance, record, name, cause, owned):
                found.setdefault(name, {})[cause] = failure
        reached = reached.after(record)
    return found, reached if len(records) == MOST_RUNS else first.overlapping(now)


def _failed(record: dg.RunRecord, books: Mapping[str, Book]) -> tuple[str, str] | None:
    """Experiment and cause of a run that failed and of which that is not known yet."""
    run = record.dagster_run
    name, cause = whose(run)
    if name not in books or run.is_success or run.tags.get(WILL_RETRY_TAG) == "true":
        return None
    before = books[name].findings.get(cause)
    return None if before is not None and before.at >= ended_at(record) else (name, cause)


def ended_at(record: dg.RunRecord) -> float:
    """When a run ended, in seconds since 1970."""
    return record.end_time or in_seconds(record.update_timestamp)


def whose(run: dg.DagsterRun) -> tuple[str, str]:
    """Experiment and cause of a run; that of retention is everybody's."""
    if run.job_name == names.RETENTION_JOB:
        return PLATFORM, f"{RUNS}/{names.RETENTION_JOB}"
    experiment = run.tags.get(names.EXPERIMENT_TAG, "")
    part = run.job_name.removeprefix(names.retrain_job(experiment).removesuffix("retrain"))
    part = "monitor" if part.startswith(names.monitor_job("")) else part
    return experiment, f"{RUNS}/{part}"


def _recovered(
    record: dg.RunRecord, books: Mapping[str, Book], found: Found
) -> Iterable[tuple[str, str, Finding]]:
    """What a run that succeeded put right: runs that failed at an asset which it made, or of the
    same job as a whole."""
    run = record.dagster_run
    if not run.is_success:
        return
    name, same = whose(run)
    made = {"/".join(key.path) for key in run.asset_selection or ()}
    for owner in {name, *(path.partition("/")[0] for path in made)} & books.keys():
        holding = {**books[owner].findings, **found.get(owner, {})}
        for cause, finding in holding.items():
            if not isinstance(finding, Finding) or not cause.startswith(f"{RUNS}/"):
                continue
            whole = owner == name and cause == same and not (made and finding.asset)
            if finding.at <= ended_at(record) and (whole or finding.asset in made):
                yield owner, cause, finding


def _failure(
    instance: dg.DagsterInstance,
    record: dg.RunRecord,
    experiment: str,
    cause: str,
    assets: frozenset[str],
) -> Finding | None:
    """Why a run failed; None when checks ended it, which have tickets of their own."""
    run_id, words, asset, steps = record.dagster_run.run_id, "", "", 0
    for entry in instance.all_logs(run_id, of_type=EVENTS):
        event = entry.get_dagster_event()
        data: Any = event.event_specific_data
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            steps += 1
            if words or (data.error and data.error.cls_name == "DagsterAssetCheckFailedError"):
                continue
            path = str(event.step_key).replace("__", "/")
            asset = path if path in assets else ""
            words = f"{asset or event.step_key}: {message_of(data)}"
        elif not steps:
            error = getattr(data, "error", None)
            words = str(error.message if error else event.message).strip()
    if not words:
        return None
    at = ended_at(record)
    return Finding(
        cause=cause,
        severity=advice_of(cause).severity,
        words=f"run {run_id[:8]} failed: {words}",
        at=at,
        since=at,
        asset=asset,
        page=f"/runs/{run_id}",
    )


def message_of(data: Any) -> str:
    """Why a step failed: the description of a `dg.Failure`; of anything else its own message, below
    what Dagster wrapped around it."""
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error.cause is not None and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    text = str(error.message).strip()
    name, _, rest = text.partition(": ")
    ours = name.startswith("mlops_assets.")
    return rest if ours and rest else text


def of_ticks(
    instance: dg.DagsterInstance, watched: Callable[[str], bool]
) -> tuple[dict[str, Observation], frozenset[str]]:
    """Whether sensors and schedules fail, and the causes of those that are switched on.

    A sensor looks again within a minute, so it fails when it did twice in a row; a schedule when it
    did once.

    Args:
        instance: whose daemon ticks them.
        watched: whether a sensor or schedule is ours, by its name.
    """
    states = {
        state.selector_id: state
        for state in instance.all_instigator_state()
        if watched(state.instigator_name) and state.status != InstigatorStatus.STOPPED
    }
    if not states or instance.schedule_storage is None:
        return {}, frozenset()
    # One more than is needed: the newest may be under way. Dagster 1.13 fails when it is asked for
    # ticks of some statuses only.
    ticks = instance.schedule_storage.get_batch_ticks([*states], limit=3)
    found: dict[str, Observation] = {}
    for selector, state in states.items():
        sensor = state.instigator_type == InstigatorType.SENSOR
        cause = f"{SENSORS if sensor else SCHEDULES}/{state.instigator_name}"
        if observation := _of_ticks(cause, ticks.get(selector, ()), needed=2 if sensor else 1):
            found[cause] = observation
    causes = frozenset(
        f"{head}/{state.instigator_name}" for state in states.values() for head in
        (SENSORS, SCHEDULES)
    )  # fmt: skip
    return found, causes


def _of_ticks(cause: str, ticks: Sequence[Any], *, needed: int) -> Observation | None:
    ended = [tick for tick in ticks if tick.status != TickStatus.STARTED]
    newest = sorted(ended, key=lambda tick: tick.timestamp, reverse=True)[:needed]
    if not newest:
        return None
    at = newest[0].timestamp
    if newest[0].status != TickStatus.FAILURE:
        return Passed(at)
    if len(newest) < needed or any(tick.status != TickStatus.FAILURE for tick in newest):
        return None
    error = newest[0].error
    words = str(error.message).strip() if error else "without a reason"
    return Finding(cause, advice_of(cause).severity, words, at, at, page="/automation")
