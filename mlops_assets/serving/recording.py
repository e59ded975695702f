"""What an endpoint keeps of its traffic, and where. Standard library only."""

from dataclasses import dataclass
from typing import Any


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
