"""Runs a job of one experiment in this process, on the instance the UI shows, and says how it
ended. Knows nothing of what the job makes."""

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.instance import STARTED_BY, STARTED_BY_TAG, free_pools
from mlops_assets.launcher import Worker
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.experiment.model import Experiment

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
VERBOSE = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}


@dataclass(frozen=True)
class Check:
    """What a check said in a run."""

    name: str
    asset: str
    passed: bool
    blocking: bool
    reason: str


@dataclass(frozen=True)
class JobResult:
    """How a run ended."""

    run_id: str
    success: bool
    interrupted: bool
    failures: tuple[str, ...]
    """One message per step that failed, without stack traces."""
    details: tuple[str, ...]
    """The same with stack traces."""
    checks: tuple[Check, ...]
    made: tuple[str, ...]
    """Assets materialized, by the last part of their keys."""


def definitions(settings: Settings, experiment: "Experiment") -> "dg.Definitions":
    """The graph of this experiment alone, wherever its YAML lies."""
    import dagster as dg

    from mlops_assets import resources
    from mlops_assets.graph import build_all

    shared = dg.Definitions(resources=resources.build(settings), executor=dg.in_process_executor)
    return build_all([experiment], shared)


def new_run_id() -> str:
    import uuid

    return str(uuid.uuid4())


def execute(
    instance: "dg.DagsterInstance",
    loaded: "dg.Definitions",
    job: str,
    *,
    run_id: str,
    ops: Mapping[str, Any],
    listen: Callable[["dg.EventLogEntry"], None],
    verbose: bool,
) -> JobResult:
    """Run `job`, telling `listen` every event as it happens.

    Args:
        run_id: of the new run, from `new_run_id`.
        ops: one-off configuration by op name.
        verbose: leave Dagster's log on standard error.
    """
    config = {**(VERBOSE if verbose else QUIET), "ops": dict(ops)}
    instance.add_event_listener(run_id, listen)
    try:
        result = loaded.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=config,
            raise_on_error=False,
            tags={STARTED_BY_TAG: STARTED_BY, **Worker.of(os.getpid()).tag()},
        )
        return _judged(run_id, result.success, result.all_events)
    finally:
        free_pools(instance, run_id)


def _judged(run_id: str, success: bool, events: "Sequence[dg.DagsterEvent]") -> JobResult:
    from mlops_assets.monitoring.tickets.resources import message_of

    checks = tuple(_check(e) for e in events if e.event_type_value == "ASSET_CHECK_EVALUATION")
    failures, details, interrupted = [], [], False
    for event in events:
        if event.event_type_value != "STEP_FAILURE":
            continue
        data: Any = event.event_specific_data
        if data.error_source is not None and data.error_source.value == "INTERRUPT":
            interrupted = True
        elif data.error is None or data.error.cls_name != "DagsterAssetCheckFailedError":
            failures.append(message_of(data))
            details.append("" if data.error is None else data.error.to_string())
    made = [
        e.asset_key.path[-1]
        for e in events
        if e.event_type_value == "ASSET_MATERIALIZATION" and e.asset_key is not None
    ]
    refused = [c for c in checks if c.blocking and not c.passed]
    failed = [f"{c.asset}: {c.name} failed: {c.reason}" for c in refused]
    failures = [*failed, *failures]
    if not success and not failures and not interrupted:
        failures = [_last_words(events)]
    return JobResult(
        run_id, success, interrupted, tuple(failures), tuple(details), checks, tuple(made)
    )


def _check(event: "dg.DagsterEvent") -> Check:
    data: Any = event.event_specific_data
    return Check(
        name=data.check_name,
        asset="/".join(data.asset_key.path),
        passed=data.passed,
        blocking=data.blocking and data.severity.value == "ERROR",
        reason=data.description or "",
    )


def _last_words(events: "Sequence[dg.DagsterEvent]") -> str:
    """Why a run failed in which no step did."""
    for event in reversed(events):
        if event.event_type_value == "PIPELINE_FAILURE":
            data: Any = event.event_specific_data
            error = getattr(data, "error", None)
            return str(error.message).strip() if error is not None else str(event.message)
    return "the run failed without a reason"


def described(error: BaseException) -> str:
    """An error nobody expected, in one line."""
    return "".join(traceback.format_exception_only(error)).strip()
