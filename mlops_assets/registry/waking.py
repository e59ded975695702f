"""When the registry sensor looks, where webhooks may wake it. Knows neither Dagster nor HTTP.

Whoever wakes it leaves a mark, another one each time, and nobody removes it: a look remembers the
mark it found before it began, so that a mark left meanwhile is seen by the next tick.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

KEY = "mlops/registry_woken"
"""Under which the mark stands among the cursors of Dagster's instance."""
TICK_SECONDS = 1
"""Between two ticks: the daemon's own pause of 5 s is what counts then."""


@dataclass(frozen=True)
class Looked:
    """The last look."""

    mark: str
    """That was there before it began; empty when there was none."""
    at: str
    """ISO 8601, UTC."""


def is_due(last: Looked | None, mark: str, *, now: datetime, interval: int) -> bool:
    """Whether to look now.

    Args:
        last: None before the first look.
        mark: that is there now.
        now: aware.
        interval: seconds after which it is time, woken or not.
    """
    if last is None or mark != last.mark:
        return True
    since = now - datetime.fromisoformat(last.at)
    # A clock that was set back must not hold it.
    return since >= timedelta(seconds=interval) or since < timedelta()
