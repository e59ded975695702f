"""Keeps the tickets of all experiments: one sensor. What becomes of them is decided in `tickets`;
here Dagster is asked what failed, and sinks are told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.monitoring.counting import counted
from mlops_assets.monitoring.resources import Reached
from mlops_assets.monitoring.sinks.base import Sink, SinkContext
from mlops_assets.monitoring.tickets import resources as found
from mlops_assets.monitoring.tickets.advice import RUNS
from mlops_assets.monitoring.tickets.book import Book, Delivery
from mlops_assets.monitoring.tickets.course import Listener, Surroundings, step
from mlops_assets.monitoring.tickets.findings import moment
from mlops_assets.monitoring.tickets.muting import Mutes, muted
from mlops_assets.monitoring.tickets.outbox import SinkState, deliver
from mlops_assets.monitoring.tickets.shelf import PLATFORM, Desk, Shelf
from mlops_assets.monitoring.tickets.spec import TicketsSpec

INTERVAL_SECONDS = 30
MOST_CHECKED = 50
"""Experiments whose checks are read in one tick; the next tick goes on behind them."""
SENDING_SECONDS = 20.0
"""For all sinks together in one tick; Dagster ends a tick after 60."""
MOST_LINES = 10


def build(
    experiments: Iterable[Experiment],
    made: Mapping[str, Sequence[Any]],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dg.Definitions:
    """One sensor for all experiments.

    Args:
        experiments: that are looked after.
        made: the assets and checks of each, by its name.
        clock: aware.
    """
    by_name = {each.name: each for each in experiments}
    if not by_name:
        return dg.Definitions()
    office = _Office(by_name, made)

    @dg.sensor(
        name=names.TICKETS_SENSOR,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Opens a ticket for every check that fails, run that breaks and sensor that "
        "does not work, tells the sinks of `monitoring.tickets`, and closes it by itself. "
        "`mlops tickets` lists them.",
    )
    def tickets(
        context: dg.SensorEvaluationContext, sink_context: dg.ResourceParam[SinkContext]
    ) -> dg.SkipReason:
        now = clock().timestamp()
        shelf = Shelf(context.instance.daemon_cursor_storage)
        desk, books, mutes = shelf.read([*by_name, PLATFORM])
        seen, running, desk = office.look(context.instance, desk, books, now)
        for name, before in books.items():
            after = office.after(name, before, seen.get(name, {}), sink_context, now,
                                 mutes=mutes[name], running=running)  # fmt: skip
            if after != before:
                books[name] = after
                shelf.save(name, after)
        states = office.of_sinks(desk.sinks)
        sent = deliver(
            books,
            states,
            send=lambda name, delivery: office.send(name, books[name], delivery, sink_context),
            save=shelf.save,
            now=lambda: clock().timestamp(),
            seconds=SENDING_SECONDS,
        )
        desk = replace(desk, sinks=states)
        shelf.save_desk(desk)
        return dg.SkipReason(_words(desk, books, sent))

    return dg.Definitions(sensors=[tickets])


class _Office:
    """What does not change between ticks: the experiments, their checks and sinks."""

    def __init__(
        self, experiments: Mapping[str, Experiment], made: Mapping[str, Sequence[Any]]
    ) -> None:
        self._experiments = experiments
        self._checks = {
            name: tuple(dict.fromkeys(key for each in parts for key in each.check_keys))
            for name, parts in made.items()
        }
        self._causes = {
            name: frozenset(map(found.cause_of, keys)) for name, keys in self._checks.items()
        }
        self._assets = {
            name: frozenset("/".join(key.path) for each in parts for key in each.keys)
            for name, parts in made.items()
        }
        everybody = {s.name: s for e in experiments.values() for s in _spec(e).sinks}
        self._sinks: dict[str, dict[str, Sink]] = {
            **{name: {s.name: s for s in _spec(e).sinks} for name, e in experiments.items()},
            PLATFORM: everybody,
        }
        self._listeners = {
            name: [Listener(s.name, s.at_least, s.renews) for s in own.values()]
            for name, own in self._sinks.items()
        }

    def look(
        self, instance: dg.DagsterInstance, desk: Desk, books: Mapping[str, Book], now: float
    ) -> tuple[found.Found, frozenset[str], Desk]:
        """What is found, which sensors and schedules are on, and where to go on."""
        every = [*self._experiments]
        first, count = desk.turn % len(every), min(MOST_CHECKED, len(every))
        turn = [every[(first + i) % len(every)] for i in range(count)]
        keys = [key for name in turn for key in self._checks.get(name, ())]
        seen = found.of_checks(instance, keys) if keys else {}
        reached = Reached(desk.runs_after, desk.runs_alike)
        ended, reached = found.of_runs(instance, books, self._assets, reached=reached, now=now)
        for name, observations in ended.items():
            seen.setdefault(name, {}).update(observations)
        ticks, running = found.of_ticks(instance, names.is_ours)
        seen.setdefault(PLATFORM, {}).update(ticks)
        following = (first + count) % len(every)
        after = replace(desk, runs_after=reached.at, runs_alike=reached.runs)
        return seen, running, replace(after, looked=now, turn=following)

    def after(
        self,
        name: str,
        book: Book,
        seen: Mapping[str, Any],
        context: SinkContext,
        now: float,
        *,
        mutes: Mutes,
        running: frozenset[str],
    ) -> Book:
        """The book of an experiment after the look."""
        if not (seen or book.tickets or book.findings or book.outbox):
            return book
        spec = _spec(self._experiments[name]) if name != PLATFORM else TicketsSpec()
        causes = running if name == PLATFORM else self._causes.get(name, frozenset())
        around = Surroundings(
            experiment=name,
            listeners=self._listeners[name],
            reopened_within_s=spec.reopen_hours * 3600,
            dagster_url=context.dagster_url,
            runbook_url=context.runbook_url,
        )
        return step(
            book,
            seen,
            around,
            known=lambda cause: cause in causes or cause.startswith(f"{RUNS}/"),
            muted=lambda cause: bool(muted(cause, spec.mute, mutes, now)),
            now=now,
        )

    def of_sinks(self, states: Mapping[str, SinkState]) -> dict[str, SinkState]:
        """Those of sinks that some YAML still names."""
        return {name: each for name, each in states.items() if name in self._sinks[PLATFORM]}

    def send(self, name: str, book: Book, delivery: Delivery, context: SinkContext) -> str:
        """Tell one sink."""
        cause = book.numbered(delivery.number)
        known = book.tickets[cause].references.get(delivery.sink, "") if cause else ""
        sink = self._sinks[name][delivery.sink]
        return sink.send(delivery.notice, context, reference=known)


def _spec(experiment: Experiment) -> TicketsSpec:
    return experiment.monitoring.tickets


def _words(desk: Desk, books: Mapping[str, Book], sent: int) -> str:
    """What is open and what waits, for the page of the sensor."""
    lines = [
        f"{name}#{ticket.number} {cause} ({ticket.finding.severity}) since "
        f"{moment(ticket.finding.since)}"
        for name, book in sorted(books.items())
        for cause, ticket in sorted(book.tickets.items())
        if ticket.is_open
    ]
    waiting = [each for book in books.values() for each in book.outbox]
    troubles = [state.error for state in desk.sinks.values()]
    troubles += sorted({each.error for each in waiting if each.error})
    more = len(lines) - MOST_LINES
    head = f"{counted(len(lines), 'ticket')} open; {sent} sent, {len(waiting)} wait for their sinks"
    shown = [*lines[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join([head, *shown, *troubles[:MOST_LINES]])
