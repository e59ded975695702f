"""What is known of the tickets of one experiment: a small document, written whole. Pure."""

from dataclasses import dataclass, field, replace

import msgspec

from mlops_assets.monitoring.tickets.findings import Event, Finding, Notice

MOST_WAITING = 200
"""Tellings that wait for sinks. Beyond, a ticket that was closed and re-opened while its sink was
down is told as never closed."""


@dataclass(frozen=True)
class Ticket:
    """One ticket: of a cause, for as long as it is re-opened soon enough after it was closed."""

    number: int
    opened: float
    """First, in seconds since 1970."""
    finding: Finding
    """As it was told last."""
    told_at: float
    """When something was told of it last, in seconds since 1970."""
    followers: tuple[str, ...] = ()
    closed: float = 0.0
    """In seconds since 1970; 0 while it is open."""
    told: dict[str, float] = field(default_factory=dict)
    """When each sink was last told that it is open; 0 at one that was told it is closed."""
    references: dict[str, str] = field(default_factory=dict)
    """What a sink calls it, where it said so."""

    @property
    def is_open(self) -> bool:
        return not self.closed

    def key(self, experiment: str) -> str:
        """For sinks that tell tickets apart; another one also after all state was lost."""
        return f"mlops/{experiment}/{self.number}/{int(self.opened)}"


@dataclass(frozen=True)
class Delivery:
    """A telling that waits for its sink."""

    sink: str
    number: int
    """Of the ticket."""
    notice: Notice
    attempts: int = 0
    retry_at: float = 0.0
    error: str = ""
    """Why the sink did not take it, without secrets."""


@dataclass(frozen=True)
class Book:
    """All of one experiment."""

    number: int = 0
    """The last one given to a ticket."""
    told: int = 0
    """The last one given to a telling."""
    findings: dict[str, Finding] = field(default_factory=dict)
    """What holds, by cause, whether there is a ticket or not."""
    passed: dict[str, float] = field(default_factory=dict)
    """When a cause that had held was found to hold no more: what is older does not count."""
    tickets: dict[str, Ticket] = field(default_factory=dict)
    """The newest one of each cause."""
    outbox: tuple[Delivery, ...] = ()
    """In the order they were made."""

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Book":
        return msgspec.json.decode(text, type=cls)

    def numbered(self, number: int) -> str | None:
        """The cause of the ticket of that number; None when it is forgotten."""
        return next((c for c, each in self.tickets.items() if each.number == number), None)

    def queued(self, sink: str, ticket: Ticket, notice: Notice) -> "Book":
        """With one more telling. An update that waits gives way to a newer one."""
        waiting = list(self.outbox)
        own = [
            i for i, one in enumerate(waiting) if (one.sink, one.number) == (sink, ticket.number)
        ]
        if own and notice.event == waiting[own[-1]].notice.event == "updated":
            del waiting[own[-1]]
        waiting.append(Delivery(sink, ticket.number, notice))
        if len(waiting) > MOST_WAITING:
            waiting = _shortened(waiting)
        return replace(self, outbox=tuple(waiting))

    def delivered(self, delivery: Delivery, reference: str) -> "Book":
        """After the sink took it."""
        left = tuple(one for one in self.outbox if one is not delivery)
        cause = self.numbered(delivery.number)
        if cause is None or not reference:
            return replace(self, outbox=left)
        ticket = self.tickets[cause]
        known = replace(ticket, references={**ticket.references, delivery.sink: reference})
        return replace(self, outbox=left, tickets={**self.tickets, cause: known})

    def delayed(self, delivery: Delivery, retry_at: float, error: str) -> "Book":
        """After the sink refused it."""
        later = replace(delivery, attempts=delivery.attempts + 1, retry_at=retry_at, error=error)
        left = tuple(later if one is delivery else one for one in self.outbox)
        return replace(self, outbox=left)


def _shortened(waiting: list[Delivery]) -> list[Delivery]:
    """Without the oldest closing that waits right before the re-opening of the same ticket."""
    last: dict[tuple[str, int], int] = {}
    for index, one in enumerate(waiting):
        pair: tuple[Event, Event] = ("closed", "reopened")
        before = last.get((one.sink, one.number))
        if before is not None and (waiting[before].notice.event, one.notice.event) == pair:
            return [each for i, each in enumerate(waiting) if i not in (before, index)]
        last[one.sink, one.number] = index
    return waiting
