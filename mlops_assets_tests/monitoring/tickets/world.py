"""An experiment whose checks say what a test wants, sinks that may be down, and a daemon that may
be killed at any write: everything goes through the documents, as it does in Dagster."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlops_assets.monitoring.sinks.base import RefusedError, SinkDownError
from mlops_assets.monitoring.tickets.advice import advice_of
from mlops_assets.monitoring.tickets.book import Book, Delivery
from mlops_assets.monitoring.tickets.course import Listener, Surroundings, step
from mlops_assets.monitoring.tickets.findings import Finding, Notice, Observation, Passed
from mlops_assets.monitoring.tickets.outbox import deliver
from mlops_assets.monitoring.tickets.shelf import Shelf

PROBE = "endpoints/local/answers_probe"
SERVES = "endpoints/local/serves_the_champion"
FRESH = "serving_profile/profile_is_fresh"
DRIFT = "serving_profile/has_not_drifted"
RETRAIN = "runs/retrain"
CAUSES = (PROBE, SERVES, FRESH, DRIFT, RETRAIN)
START = 1_750_000_000.0


class KilledError(BaseException):
    """The daemon is gone; nothing in it can catch this."""


@dataclass
class Documents:
    """Dagster's storage of cursors."""

    texts: dict[str, str] = field(default_factory=dict)
    writes_left: int | None = None
    """After so many writes the daemon is killed, before the next one takes effect."""

    def get_cursor_values(self, keys: set[str]) -> Mapping[str, str]:
        return {key: self.texts[key] for key in keys if key in self.texts}

    def set_cursor_values(self, pairs: Mapping[str, str]) -> None:
        if self.writes_left == 0:
            raise KilledError
        if self.writes_left is not None:
            self.writes_left -= 1
        self.texts.update(pairs)


@dataclass
class Ear:
    """A sink that remembers what it was told."""

    down: bool = False
    refuses: str = ""
    """A cause of which it takes nothing."""
    retry_after: float = 0.0
    heard: list[Notice] = field(default_factory=list)
    asked: int = 0

    def take(self, delivery: Delivery) -> str:
        self.asked += 1
        if self.down:
            raise SinkDownError(f"{delivery.sink} answered 503: busy", retry_after=self.retry_after)
        if self.refuses == delivery.notice.cause:
            raise RefusedError(f"{delivery.sink} answered 400: no")
        self.heard.append(delivery.notice)
        return ""

    def once(self) -> list[Notice]:
        """Without what was told again."""
        return list({notice.id: notice for notice in self.heard}.values())


@dataclass
class World:
    """Time, sinks, and the documents; whatever else there is, is read from them."""

    ears: dict[str, Ear] = field(default_factory=lambda: {"a": Ear()})
    documents: Documents = field(default_factory=Documents)
    listeners: tuple[Listener, ...] = ()
    known: tuple[str, ...] = CAUSES
    muted: set[str] = field(default_factory=set)
    now: float = START

    def __post_init__(self) -> None:
        self.listeners = self.listeners or tuple(Listener(n, "info", None) for n in self.ears)

    @property
    def book(self) -> Book:
        return Shelf(self.documents).read(["churn"])[1]["churn"]

    def tick(self, seen: Mapping[str, bool | Observation] | None = None) -> None:
        """One tick of the daemon.

        Args:
            seen: whether causes hold, as of now.
        """
        shelf = Shelf(self.documents)
        desk, books, _ = shelf.read(["churn"])
        found = {cause: self._observed(cause, holds) for cause, holds in (seen or {}).items()}
        around = Surroundings("churn", self.listeners, 3600.0, "http://dagster", "RUNBOOK.md")
        after = step(
            books["churn"],
            found,
            around,
            known=self.known.__contains__,
            muted=self.muted.__contains__,
            now=self.now,
        )
        if after != books["churn"]:
            shelf.save("churn", after)
        books, states = {"churn": after}, dict(desk.sinks)
        deliver(
            books,
            states,
            send=lambda _, delivery: self.ears[delivery.sink].take(delivery),
            save=shelf.save,
            now=lambda: self.now,
            seconds=1.0,
        )
        shelf.save_desk(replace(desk, looked=self.now, sinks=states))

    def _observed(self, cause: str, holds: bool | Observation) -> Observation:
        if not isinstance(holds, bool):
            return holds
        if not holds:
            return Passed(self.now)
        return finding(cause, self.now)

    def told(self, sink: str = "a") -> list[str]:
        return [f"{n.event} {n.ticket} {n.cause.rpartition('/')[2]}" for n in self.ears[sink].heard]


def finding(cause: str, at: float, words: str = "it is so") -> Finding:
    return Finding(cause, advice_of(cause).severity, words, at, at, asset=cause.rpartition("/")[0])
