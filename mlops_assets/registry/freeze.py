"""Until when nothing may become the champion. Pure.

A window is written in clock times of a zone, and both of its ends are what the clocks there show,
whatever they were put forward or back in between. A clock time that comes twice, or never, on the
day clocks change is taken so that the window is the longer one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from mlops_assets.registry.spec import WEEKDAYS, Freeze

WEEK = timedelta(days=7)
MOST_JOINED = 100
"""Windows that follow each other without a gap; whoever freezes more is told the end of these."""


@dataclass(frozen=True)
class Frozen:
    """Why nothing becomes the champion now."""

    until: datetime
    """Aware, UTC: the first moment at which no window holds any more."""
    reason: str
    """Of the window that holds now and ends last."""

    def words(self) -> str:
        return f"frozen until {self.until.isoformat(timespec='minutes')} ({self.reason})"


def frozen(windows: Sequence[Freeze], now: datetime) -> Frozen | None:
    """Whether `now` (aware) lies in any of the windows; windows that touch are one."""
    holding = _holding(windows, now)
    if holding is None:
        return None
    until, reason = holding
    for _ in range(MOST_JOINED):
        following = _holding(windows, until)
        if following is None:
            break
        until = following[0]
    return Frozen(until, reason)


def _holding(windows: Sequence[Freeze], moment: datetime) -> tuple[datetime, str] | None:
    """End and reason of the window that holds then, the one that ends last."""
    ends = [
        (end, window.reason)
        for window in windows
        for start, end in _occurrences(window, moment)
        if start <= moment < end
    ]
    return max(ends, default=None)


def _occurrences(window: Freeze, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows near a moment, in UTC."""
    zone = ZoneInfo(window.timezone)
    if not window.weekly:
        start, end = (datetime.fromisoformat(text) for text in (window.start, window.end))
        yield _in_utc(start, end, zone)
        return
    local = moment.astimezone(zone)
    monday = datetime(local.year, local.month, local.day) - timedelta(days=local.weekday())  # noqa: DTZ001
    start, end = (monday + _into_the_week(text) for text in (window.start, window.end))
    if end <= start:
        end += WEEK
    for weeks in (-1, 0, 1):
        yield _in_utc(start + weeks * WEEK, end + weeks * WEEK, zone)


def _into_the_week(text: str) -> timedelta:
    """From Monday 00:00 to `Fri 12:00`, by the clock."""
    day, _, time = text.partition(" ")
    hours, _, minutes = time.partition(":")
    return timedelta(days=WEEKDAYS.index(day), hours=int(hours), minutes=int(minutes))


def _in_utc(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Clock times, each with two readings on the day clocks change, as moments."""
    first = min(start.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    last = max(end.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, last
