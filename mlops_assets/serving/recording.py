"""What an endpoint keeps of its traffic, where, and within which bounds. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from mlops_assets.serving.scorer import Columns, Scores

STAMP = "%Y%m%dT%H%M%SZ"
"""How windows are named in a store."""

ABOUT = "mlops.log"
"""The key of the metadata in which a file of the prediction log says what it holds."""

_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Recording:
    """Profiles always, the rows themselves when asked for."""

    profiles_url: str
    """fsspec URL of the folder that takes the profiles."""
    window_seconds: int
    """Length of a profile window."""
    flush_seconds: float = 10.0
    """At most this long stands between a scored row and the store."""
    log_url: str | None = None
    """fsspec URL of the folder that takes the prediction log; None keeps no rows."""
    log_sample: float = 1.0
    """Share of the requests whose rows are logged, between 0 and 1."""
    log_columns: tuple[str, ...] | None = None
    """Features the log holds; None for all."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Recording":
        columns = content.get("log_columns")
        return cls(**{**content, "log_columns": None if columns is None else tuple(columns)})


@dataclass(frozen=True)
class Bounds:
    """How much of the endpoint's memory, disk and patience recording may take."""

    batch_seconds: float = 0.05
    """Rows are profiled together when they are at most this old."""
    pending_cells: int = 1_000_000
    """Values handed over and not yet profiled: about 50 MB."""
    log_cells: int = 200_000
    """Values of the prediction log in memory before they become a file."""
    spool_bytes: int = 256_000_000
    """Local disk for files of the prediction log that the store has not taken."""
    outage_seconds: float = 300.0
    """While the store takes nothing, profiles grow this long before they become a file."""
    retry_seconds: tuple[float, float] = (1.0, 60.0)
    """Before the second attempt at sending, doubled up to the second number."""
    last_pauses: tuple[float, ...] = (0.2, 0.4)
    """Seconds between the last attempts, when the process ends."""
    patience_seconds: float = 15.0
    """What those attempts may take in all."""


@dataclass(frozen=True)
class Answered:
    """The rows of one request, and what was said of them."""

    columns: Columns | None
    """None where `scores.asked` tells as much."""
    scores: Scores
    when: float
    """Seconds since the epoch."""
    request_id: str
    entities: list[Any] | None
    """Whom each row is about."""

    @property
    def rows(self) -> int:
        return len(self.scores.predictions)


def combine(batches: list[Answered], names: Sequence[str]) -> tuple[Columns, Scores]:
    """The named columns and the scores of all rows, in their order."""
    lists = [batch.columns or {} for batch in batches]
    if len(batches) == 1:
        return {name: lists[0][name] for name in names}, batches[0].scores
    columns: Columns = {name: [value for each in lists for value in each[name]] for name in names}
    predictions = [value for batch in batches for value in batch.scores.predictions]
    probabilities = [row for batch in batches for row in batch.scores.probabilities]
    return columns, Scores(predictions, probabilities)


def window_start(when: float, seconds: int) -> datetime:
    """The start (UTC) of the window of that many seconds in which `when`, seconds since the epoch,
    lies; weeks begin on Mondays."""
    return _window_of(int(when // 1), seconds)


@lru_cache(maxsize=1024)  # rows that come one by one come in the same second
def _window_of(second: int, seconds: int) -> datetime:
    since = second - int(_MONDAY.timestamp())
    return _MONDAY + timedelta(seconds=since - since % seconds)
