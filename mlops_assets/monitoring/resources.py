"""What Dagster's own store remembers: of earlier evaluations, and of runs since the last look."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.gateways import telemetry
from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.monitoring.freshness import COUNTED_LATE, Past

TOLD = "told"
"""Metadata of a check that holds what the endpoints told, for the next evaluation."""
OVERLAP_S = 60.0
"""Runs are looked at again that long: processes write the ends of runs at the same time."""
LOOKED_BACK = 20
"""Evaluations among which the last one is looked for: runs that were ended early leave some
without a verdict."""


def told_before(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dict[str, Telemetry]:
    """What the endpoints told when the check was last evaluated, by target."""
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=LOOKED_BACK)
    for record in history:
        evaluation = record.evaluation
        # Of one that is only planned, as that of this very run, there is no verdict.
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            found = evaluation.metadata.get(TOLD)
            return {} if found is None else telemetry.from_json(found.value)
    return {}


def past_of(
    instance: dg.DagsterInstance,
    experiment: str,
    told: Iterable[Telemetry],
    before: Mapping[str, Telemetry],
    live_since: str,
) -> dict[str, Past]:
    """What is known of endpoints from before, by target.

    Args:
        instance: which remembers when endpoints were probed.
        experiment: whose endpoints.
        told: now.
        before: what they told the last time.
        live_since: when the version went live.
    """
    past = {}
    for one in told:
        last, probes = before.get(one.target), 0
        endpoint = names.endpoint_key(experiment, one.target)
        if one.counts_probes and last is not None:
            check = dg.AssetCheckKey(endpoint, names.ANSWERS_PROBE)
            since = datetime.fromisoformat(last.at) - COUNTED_LATE
            probes = _begun_since(instance, check, since)
        at = names.stopped_at(instance, endpoint) if one.state == "silent" else None
        meant = at is not None and at > datetime.fromisoformat(live_since).timestamp()
        past[one.target] = Past(last, probes, stopped=meant)
    return past


def _begun_since(instance: dg.DagsterInstance, check: dg.AssetCheckKey, since: datetime) -> int:
    """How often the check was begun after a time, of the last times."""
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=LOOKED_BACK)
    return sum(record.create_timestamp > since.timestamp() for record in history)


def numbers_before(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, name: str
) -> list[tuple[str, float]]:
    """A number that the last evaluations left in their metadata, oldest first, each with when
    (ISO 8601, UTC)."""
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=LOOKED_BACK)
    found = []
    for record in reversed(history):
        evaluation = record.evaluation
        if isinstance(evaluation, dg.AssetCheckEvaluation) and name in evaluation.metadata:
            at = datetime.fromtimestamp(record.create_timestamp, UTC)
            value: Any = evaluation.metadata[name].value
            found.append((at.isoformat(timespec="seconds"), float(value)))
    return found


@dataclass(frozen=True)
class Reached:
    """How far runs were looked at, in the order in which they last changed."""

    at: float
    """When the last one did, in seconds since 1970."""
    runs: tuple[str, ...] = ()
    """Ids of those that were looked at of the ones that changed at that very time."""

    def after(self, record: dg.RunRecord) -> "Reached":
        """Having looked at one more."""
        at = in_seconds(record.update_timestamp)
        alike = self.runs if at == self.at else ()
        return Reached(at, (*alike, record.dagster_run.run_id))

    def overlapping(self, now: float) -> "Reached":
        """Where to go on when there was no more: not at the last one."""
        return Reached(now - OVERLAP_S) if self.at < now - OVERLAP_S else self


def changed_since(
    instance: dg.DagsterInstance,
    reached: Reached,
    statuses: Iterable[dg.DagsterRunStatus],
    *,
    most: int,
) -> Sequence[dg.RunRecord]:
    """The next runs with one of these statuses, in that order; fewer than `most` when there are no
    more. However many changed at the same time, none is left out."""
    known = frozenset(reached.runs)
    records = instance.get_run_records(
        dg.RunsFilter(
            statuses=[*statuses],
            # What changed at that very time, too.
            updated_after=datetime.fromtimestamp(reached.at, UTC) - timedelta(microseconds=1),
        ),
        limit=most + len(known),
        order_by="update_timestamp",
        ascending=True,
    )
    return [
        record
        for record in records
        if record.dagster_run.run_id not in known
        or in_seconds(record.update_timestamp) != reached.at
    ][:most]


def in_seconds(moment: datetime) -> float:
    """Since 1970, of a time that is UTC where it does not say."""
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
