"""Brings what waits to the sinks: in order for each ticket, again after growing pauses, and one
sink that is down holds up no other. Pure: who sends is a parameter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlops_assets.monitoring.sinks.base import RefusedError, SinkDownError
from mlops_assets.monitoring.tickets.book import Book, Delivery

FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 3600.0
MOST_SENT = 100
"""In one round; the next one goes on."""


@dataclass(frozen=True)
class SinkState:
    """How a sink answered last."""

    failures: int = 0
    """In a row."""
    retry_at: float = 0.0
    """When to try again, in seconds since 1970."""
    error: str = ""


Send = Callable[[str, Delivery], str]
"""Given experiment and delivery, tells the sink; what the sink calls the ticket, or nothing.
Raises SinkDownError or RefusedError."""


def deliver(
    books: dict[str, Book],
    states: dict[str, SinkState],
    *,
    send: Send,
    save: Callable[[str, Book], None],
    now: Callable[[], float],
    seconds: float,
) -> int:
    """Send what is due; how many tellings the sinks took.

    Args:
        books: by experiment; replaced there after each telling.
        states: by sink; the same.
        send: to one sink.
        save: called with each new book, before anything else is sent.
        now: seconds since 1970.
        seconds: after which no further telling is begun.
    """
    end, taken = now() + seconds, 0
    for _ in range(MOST_SENT):
        at = now()
        found = _next(books, states, at) if at < end else None
        if found is None:
            break
        name, delivery = found
        try:
            reference = send(name, delivery)
        except SinkDownError as error:
            states[delivery.sink] = _down(states.get(delivery.sink, SinkState()), error, now())
            continue
        except RefusedError as error:
            later = now() + pause(delivery.attempts + 1)
            books[name] = books[name].delayed(delivery, later, str(error))
        else:
            taken += 1
            books[name] = books[name].delivered(delivery, reference)
        states.pop(delivery.sink, None)
        save(name, books[name])
    return taken


def pause(failures: int) -> float:
    """Seconds after so many failures in a row."""
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_S)


def _down(before: SinkState, error: SinkDownError, now: float) -> SinkState:
    wait = max(pause(before.failures + 1), min(error.retry_after, LONGEST_PAUSE_S))
    return SinkState(before.failures + 1, now + wait, str(error))


def _next(
    books: Mapping[str, Book], states: Mapping[str, SinkState], now: float
) -> tuple[str, Delivery] | None:
    """The oldest telling that is due, of those that are the first of their ticket at their sink."""
    due = []
    for name, book in books.items():
        begun = set[tuple[str, int]]()
        for place, one in enumerate(book.outbox):
            if (one.sink, one.number) in begun:
                continue
            begun.add((one.sink, one.number))
            state = states.get(one.sink)
            if one.retry_at <= now and (state is None or state.retry_at <= now):
                due.append((one.notice.at, name, place))
    if not due:
        return None
    _, name, place = min(due)
    return name, books[name].outbox[place]
