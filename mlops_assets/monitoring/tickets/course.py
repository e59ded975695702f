"""What becomes of the tickets of an experiment when something was found. Pure.

While a root holds, its followers have no ticket of their own. One that is found again after the
root recovered gets one; what was found before tells nothing of the time since.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from mlops_assets.monitoring.tickets.advice import advice_of, chapter_of, root_of
from mlops_assets.monitoring.tickets.book import Book, Ticket
from mlops_assets.monitoring.tickets.findings import (
    MOST_CHARACTERS,
    Event,
    Finding,
    Notice,
    Observation,
    Severity,
    moment,
    weight,
)

EXCUSED_FOR = timedelta(hours=24)
"""A follower that nobody looks at again gets its ticket after that."""
QUIET = timedelta(minutes=10)
"""Between two updates of a ticket."""
QUIET_FOR_NUMBERS = timedelta(hours=6)
"""Between two updates that would change nothing but numbers."""
RECOVERED, UNCHECKED = "recovered", "is no longer checked"


@dataclass(frozen=True)
class Listener:
    """A sink of the experiment, as far as tickets know it."""

    name: str
    at_least: Severity
    renews: timedelta | None
    """After how long it has to be told again that a ticket is open."""


@dataclass(frozen=True)
class Surroundings:
    """What is the same for every ticket of an experiment."""

    experiment: str
    listeners: Sequence[Listener]
    reopened_within_s: float
    """Seconds in which a cause that comes back re-opens its ticket."""
    dagster_url: str
    runbook_url: str


def step(
    book: Book,
    seen: Mapping[str, Observation],
    surroundings: Surroundings,
    *,
    known: Callable[[str], bool],
    muted: Callable[[str], bool],
    now: float,
) -> Book:
    """The book after a look.

    Args:
        book: before it.
        seen: what was found, by cause; of other causes nothing is known that is new.
        surroundings: of the experiment.
        known: whether a cause may still be found; tickets of others are closed.
        muted: whether nothing new may be told of a cause.
        now: seconds since 1970.
    """
    book = _observed(_remembered(book, surroundings, now), seen, known, now)
    roots = {cause: root_of(cause, book.findings) for cause in book.findings}
    for cause, ticket in book.tickets.items():
        if ticket.is_open and (closing := _closing(cause, book, roots, known)):
            book = _closed(book, cause, closing, surroundings, now)
    for cause, finding in book.findings.items():
        if roots[cause] or muted(cause) or _is_excused(book, finding, now):
            continue
        followers = tuple(sorted(each for each, root in roots.items() if root == cause))
        book = _held(book, cause, followers, surroundings, now)
    return book


def _observed(
    book: Book, seen: Mapping[str, Observation], known: Callable[[str], bool], now: float
) -> Book:
    """What holds after the look, and since when."""
    findings, passed = dict(book.findings), dict(book.passed)
    for cause, observation in seen.items():
        before = findings.get(cause)
        if observation.at < (before.at if before else passed.get(cause, 0.0)):
            continue
        if isinstance(observation, Finding):
            words = observation.words[:MOST_CHARACTERS]
            since = before.since if before else observation.since
            findings[cause] = replace(observation, words=words, since=since)
            passed.pop(cause, None)
        elif before is not None:
            del findings[cause]
            passed[cause] = observation.at
    for cause in [each for each in findings if not known(each)]:
        del findings[cause]
        passed[cause] = now
    recent = {c: at for c, at in passed.items() if known(c) or now - at < _s(EXCUSED_FOR)}
    return replace(book, findings=findings, passed=recent)


def _closing(cause: str, book: Book, roots: Mapping[str, str], known: Callable[[str], bool]) -> str:
    """Why an open ticket is closed; empty when it is not."""
    if cause not in book.findings:
        return RECOVERED if known(cause) else UNCHECKED
    root = roots[cause]
    return f"follows from {root}" if root else ""


def _is_excused(book: Book, finding: Finding, now: float) -> bool:
    """Whether it was found before a root of it recovered, and not again since."""
    over = [at for root, at in book.passed.items() if root_of(finding.cause, [root])]
    return any(finding.at <= at and now - at < _s(EXCUSED_FOR) for at in over)


def _held(
    book: Book, cause: str, followers: tuple[str, ...], around: Surroundings, now: float
) -> Book:
    """A cause that holds and may be told: opened, re-opened or updated."""
    finding, ticket = book.findings[cause], book.tickets.get(cause)
    if ticket is None:
        book = replace(book, number=book.number + 1)
        ticket = Ticket(book.number, now, finding, now, followers)
    elif not ticket.is_open:
        ticket = replace(ticket, closed=0.0, finding=finding, told_at=now, followers=followers)
    elif _is_news(ticket, finding, followers, now):
        ticket = replace(ticket, finding=finding, told_at=now, followers=followers)
        book = _told(book, cause, ticket, "updated", _open_at(ticket, around), around, now)
        ticket = book.tickets[cause]
    book = replace(book, tickets={**book.tickets, cause: ticket})
    for listener in around.listeners:
        last = ticket.told.get(listener.name)
        if last:
            due = listener.renews is not None and now - last >= _s(listener.renews)
            event: Event | None = "updated" if due else None
        elif weight(finding.severity) < weight(listener.at_least):
            event = None
        else:
            event = "opened" if last is None else "reopened"
        if event:
            book = _told(book, cause, book.tickets[cause], event, [listener.name], around, now)
    return book


def _is_news(ticket: Ticket, finding: Finding, followers: tuple[str, ...], now: float) -> bool:
    """Whether people would read something else, and it is time to say so."""
    before, now_read = (_read(each, f) for each, f in (
        (ticket.finding, ticket.followers), (finding, followers)
    ))  # fmt: skip
    if before == now_read:
        return False
    same_but_numbers = re.sub(r"[\d.]+", "0", repr(before)) == re.sub(
        r"[\d.]+", "0", repr(now_read)
    )
    return now - ticket.told_at >= _s(QUIET_FOR_NUMBERS if same_but_numbers else QUIET)


def _read(finding: Finding, followers: tuple[str, ...]) -> tuple[object, ...]:
    return (finding.severity, finding.words, finding.value, finding.threshold, followers)


def _closed(book: Book, cause: str, closing: str, around: Surroundings, now: float) -> Book:
    ticket = replace(book.tickets[cause], closed=now, told_at=now)
    book = _told(book, cause, ticket, "closed", _open_at(ticket, around), around, now, closing)
    told = dict.fromkeys(ticket.told, 0.0)
    closed = replace(book.tickets[cause], told=told)
    return replace(book, tickets={**book.tickets, cause: closed})


def _open_at(ticket: Ticket, around: Surroundings) -> list[str]:
    """The sinks that were told that the ticket is open."""
    return [each.name for each in around.listeners if ticket.told.get(each.name)]


def _told(
    book: Book,
    cause: str,
    ticket: Ticket,
    event: Event,
    sinks: Iterable[str],
    around: Surroundings,
    now: float,
    closing: str = "",
) -> Book:
    """The book with the ticket, and a telling for each of the sinks."""
    for sink in sinks:
        book = replace(book, told=book.told + 1)
        notice = _notice(ticket, event, around, now, id_=book.told, closing=closing)
        book = book.queued(sink, ticket, notice)
        ticket = replace(ticket, told={**ticket.told, sink: now})
    return replace(book, tickets={**book.tickets, cause: ticket})


def _notice(
    ticket: Ticket, event: Event, around: Surroundings, now: float, *, id_: int, closing: str
) -> Notice:
    finding = ticket.finding
    key = ticket.key(around.experiment)
    return Notice(
        id=f"{key}/{id_}",
        key=key,
        ticket=f"{around.experiment}#{ticket.number}",
        event=event,
        at=moment(now),
        experiment=around.experiment,
        cause=finding.cause,
        severity=finding.severity,
        words=finding.words,
        value=finding.value,
        threshold=finding.threshold,
        since=moment(finding.since),
        lasted_s=max(int(now - finding.since), 0),
        closing=closing,
        asset=finding.asset,
        link=f"{around.dagster_url.rstrip('/')}{finding.page}",
        runbook=f"{around.runbook_url}#{chapter_of(finding.cause)}",
        action=advice_of(finding.cause).action,
        followers=ticket.followers,
    )


def _remembered(book: Book, around: Surroundings, now: float) -> Book:
    """Without tickets that are not re-opened any more, and tellings that no sink is there for."""
    names = {each.name for each in around.listeners}
    kept = {
        cause: ticket
        for cause, ticket in book.tickets.items()
        if ticket.is_open or now - ticket.closed <= around.reopened_within_s
    }
    outbox = tuple(each for each in book.outbox if each.sink in names)
    return replace(book, tickets=kept, outbox=outbox)


def _s(span: timedelta) -> float:
    return span.total_seconds()
