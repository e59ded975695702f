"""Where the documents of tickets are kept: among the cursors of Dagster's instance, in its
database, where a reset of the sensor's own cursor does not reach. Each is whole, or as it was.

The sensor alone writes books and desk, `mlops mute` alone the mutes: neither overwrites the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from mlops_assets.gateways.cursors import Storage
from mlops_assets.monitoring.tickets.book import Book
from mlops_assets.monitoring.tickets.muting import Mutes
from mlops_assets.monitoring.tickets.outbox import SinkState

PLATFORM = "all"
"""Whose tickets are those that concern every experiment; no experiment may have that name."""
BOOK, MUTES, DESK = "mlops/tickets/{}", "mlops/mutes/{}", "mlops/tickets"


@dataclass(frozen=True)
class Desk:
    """What one tick leaves for the next, apart from the books."""

    looked: float = 0.0
    """When, in seconds since 1970."""
    runs_after: float = 0.0
    """Runs that changed last before were looked at."""
    runs_alike: tuple[str, ...] = ()
    """Ids of those that were looked at of the ones that changed just then."""
    turn: int = 0
    """Where to go on reading checks."""
    sinks: dict[str, SinkState] = field(default_factory=dict)

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Desk":
        return msgspec.json.decode(text, type=cls)


class Shelf:
    """The documents."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self, experiments: Iterable[str]) -> tuple[Desk, dict[str, Book], dict[str, Mutes]]:
        """All of them, in one call."""
        wanted = [*experiments]
        keys = {DESK, *(pattern.format(n) for n in wanted for pattern in (BOOK, MUTES))}
        texts = self._storage.get_cursor_values(keys)
        desk = Desk.from_json(texts[DESK]) if DESK in texts else Desk()
        books, mutes = {}, {}
        for name in wanted:
            book, mute = texts.get(BOOK.format(name)), texts.get(MUTES.format(name))
            books[name] = Book.from_json(book) if book else Book()
            mutes[name] = Mutes.from_json(mute) if mute else Mutes()
        return desk, books, mutes

    def save(self, experiment: str, book: Book) -> None:
        self._storage.set_cursor_values({BOOK.format(experiment): book.to_json()})

    def save_desk(self, desk: Desk) -> None:
        self._storage.set_cursor_values({DESK: desk.to_json()})

    def save_mutes(self, experiment: str, mutes: Mutes) -> None:
        self._storage.set_cursor_values({MUTES.format(experiment): mutes.to_json()})
