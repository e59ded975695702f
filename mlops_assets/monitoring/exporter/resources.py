"""What Dagster's storage says of the platform, in a number of statements that does not grow with
its history. Loads no code location and asks no endpoint."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast, get_args

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.monitoring.exporter.facts import (
    AssetMade,
    CheckSaid,
    Deployed,
    Ended,
    Facts,
    Job,
    Result,
)
from mlops_assets.monitoring.resources import Reached, changed_since, in_seconds
from mlops_assets.monitoring.tickets.advice import RUNS, advice_of
from mlops_assets.monitoring.tickets.findings import Severity
from mlops_assets.monitoring.tickets.resources import cause_of, ended_at, whose
from mlops_assets.monitoring.tickets.shelf import PLATFORM, Shelf

AT_ONCE = 100
"""Experiments whose checks and assets are read in one statement."""
DAY_S = 86_400.0
PAGE, MOST_PAGES = 500, 10
"""Ended runs of one statement, and statements of one look; the next look goes on there."""
MOST_UNFINISHED = 1000
RESULTS: Mapping[dg.DagsterRunStatus, Result] = {
    dg.DagsterRunStatus.SUCCESS: "success",
    dg.DagsterRunStatus.FAILURE: "failure",
    dg.DagsterRunStatus.CANCELED: "canceled",
}


class Platform:
    """Reads facts. Remembers the verdict of a check while it is evaluated again, and the runs that
    ended in the last day."""

    def __init__(self, made: Mapping[str, Sequence[Any]]) -> None:
        """
        Args:
            made: the assets and checks of each experiment, by its name.
        """
        self._checks = {
            name: [key for each in parts for key in each.check_keys] for name, parts in made.items()
        }
        self._fresh: dict[str, dict[dg.AssetKey, float | None]] = {
            name: {
                spec.key: _fresh_s(spec)
                for each in parts
                if isinstance(each, dg.AssetsDefinition)
                for spec in each.specs
            }
            for name, parts in made.items()
        }
        self._said: dict[dg.AssetCheckKey, CheckSaid] = {}
        self._ended: dict[str, Ended] = {}
        self._reached: Reached | None = None

    def look(self, instance: dg.DagsterInstance, now: float) -> Facts:
        """What is known now, in seconds since 1970. Raises whatever the storage raises."""
        every = tuple(self._fresh)
        records = list(self._materialized(instance))
        self._said = dict(self._verdicts(instance))
        self._follow(instance, now)
        desk, books, _ = Shelf(instance.daemon_cursor_storage).read([*every, PLATFORM])
        tickets: dict[tuple[str, Severity], int] = {}
        for name, book in books.items():
            for ticket in book.tickets.values():
                if ticket.is_open:
                    key = (name, ticket.finding.severity)
                    tickets[key] = tickets.get(key, 0) + 1
        return Facts(
            experiments=every,
            checks=tuple(self._said.values()),
            assets=tuple(self._made(records)),
            endpoints=tuple(_deployed(records)),
            unfinished=_unfinished(instance, {*every, PLATFORM}),
            ended=tuple(each for each in self._ended.values() if each.experiment in books),
            tickets=tickets,
            tickets_looked=desk.looked,
        )

    def _materialized(self, instance: dg.DagsterInstance) -> Iterator[dg.EventLogRecord]:
        for some in _some([*self._fresh]):
            keys = [key for name in some for key in self._fresh[name]]
            for record in instance.get_asset_records(keys) if keys else ():
                if (last := record.asset_entry.last_materialization_record) is not None:
                    yield last

    def _made(self, records: Iterable[dg.EventLogRecord]) -> Iterator[AssetMade]:
        for record in records:
            key = _key(record)
            experiment, *parts = key.path
            fresh = self._fresh[experiment][key]
            yield AssetMade(experiment, "/".join(parts), record.timestamp, fresh)

    def _verdicts(
        self, instance: dg.DagsterInstance
    ) -> Iterator[tuple[dg.AssetCheckKey, CheckSaid]]:
        store = instance.event_log_storage
        for some in _some([*self._checks]):
            keys = [key for name in some for key in self._checks[name]]
            found = store.get_latest_asset_check_execution_by_key(keys) if keys else {}
            for key in keys:
                said = _said(key, found.get(key))
                # Of one that is being evaluated, or broke, the verdict before still holds.
                if said is None and key in found:
                    said = self._said.get(key)
                if said is not None:
                    yield key, said

    def _follow(self, instance: dg.DagsterInstance, now: float) -> None:
        """Read the runs that ended since the last look."""
        reached = first = self._reached or Reached(now - DAY_S)
        for _ in range(MOST_PAGES):
            records = changed_since(instance, reached, RESULTS, most=PAGE)
            for record in records:
                experiment, job = _job(record.dagster_run)
                if job is not None:
                    result = RESULTS[record.dagster_run.status]
                    ended = Ended(experiment, job, result, ended_at(record))
                    self._ended[record.dagster_run.run_id] = ended
                reached = reached.after(record)
            if len(records) < PAGE:
                reached = first.overlapping(now)
                break
            first = reached
        self._reached = reached
        self._ended = {k: each for k, each in self._ended.items() if each.at > now - DAY_S}


def _some(experiments: Sequence[str]) -> Iterator[Sequence[str]]:
    return (experiments[i : i + AT_ONCE] for i in range(0, len(experiments), AT_ONCE))


def _fresh_s(spec: dg.AssetSpec) -> float | None:
    window = getattr(spec.freshness_policy, "fail_window", None)
    return None if window is None else float(window.to_timedelta().total_seconds())


def _key(record: dg.EventLogRecord) -> dg.AssetKey:
    assert record.asset_key is not None  # noqa: S101 it is of an asset
    return record.asset_key


def _said(key: dg.AssetCheckKey, record: Any) -> CheckSaid | None:
    """None of a check without a verdict."""
    event = record.event if record is not None else None
    if event is None or (said := event.asset_check_evaluation) is None:
        return None
    experiment, *parts = key.asset_key.path
    return CheckSaid(
        experiment=experiment,
        asset="/".join(parts),
        check=key.name,
        severity=advice_of(cause_of(key)).severity,
        passed=said.passed,
        at=event.timestamp,
        value=_number(said.metadata.get("value")),
        threshold=_number(said.metadata.get("threshold")),
    )


def _number(entry: Any) -> float | None:
    value = getattr(entry, "value", None)
    return float(value) if isinstance(value, int | float) else None


def _deployed(records: Iterable[dg.EventLogRecord]) -> Iterator[Deployed]:
    """The endpoints among what was materialized. One that says neither what is live nor who stopped
    it is none: people can report a materialization in the UI."""
    for record in records:
        experiment, *parts = _key(record).path
        made = record.asset_materialization
        said = {k: v.value for k, v in made.metadata.items()} if made is not None else {}
        if parts[0] != names.ENDPOINTS or "version" not in said:
            continue
        version = int(str(said["version"]))
        if names.STOPPED_BY in said:
            since = datetime.fromisoformat(str(said["since"])).timestamp()
            yield Deployed(experiment, parts[1], version, since, expected=False)
        elif said.get("state") == "live":
            yield Deployed(experiment, parts[1], version, record.timestamp, expected=True)


def _unfinished(
    instance: dg.DagsterInstance, experiments: set[str]
) -> dict[tuple[str, Job], float]:
    found: dict[tuple[str, Job], float] = {}
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[*names.UNFINISHED]), limit=MOST_UNFINISHED, ascending=True
    )
    for record in records:
        experiment, job = _job(record.dagster_run)
        if job is not None and experiment in experiments:
            asked = in_seconds(record.create_timestamp)
            found[(experiment, job)] = min(asked, found.get((experiment, job), asked))
    return found


def _job(run: dg.DagsterRun) -> tuple[str, Job | None]:
    """Whose run it is and of which of our jobs; None of a run of anything else."""
    experiment, cause = whose(run)
    name = cause.removeprefix(f"{RUNS}/")
    return experiment, cast(Job, name) if name in get_args(Job) else None
