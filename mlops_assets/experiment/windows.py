"""Times that a YAML names by the clocks of a zone, once or every week. Pure.

Both ends are what the clocks there show, whatever they were put forward or back in between. A clock
time that comes twice, or never, on the day clocks change is taken so that the window is the longer
one.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from mlops_assets.experiment.spec import Spec, TimeZone

WEEK = timedelta(days=7)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MOST_JOINED = 100
"""Windows that follow each other without a gap; who writes more is told the end of these."""
_WEEKLY = re.compile(rf"({'|'.join(WEEKDAYS)}) ([01]\d|2[0-3]):([0-5]\d)")


class ClockWindow(Spec):
    """A time, once or every week."""

    start: str
    """`2026-12-18 18:00`, or every week `Fri 12:00` (Mon, Tue, Wed, Thu, Fri, Sat, Sun)."""
    end: str
    """The first minute after it, written as `start` is."""
    timezone: TimeZone = "UTC"
    """IANA name of the time zone that `start` and `end` are clock times of."""
    reason: str = Field(min_length=1)
    """Shown to those whom it concerns."""

    @field_validator("start", "end")
    @classmethod
    def _check_time(cls, value: str) -> str:
        if _WEEKLY.fullmatch(value):
            return value
        try:
            datetime.strptime(value, "%Y-%m-%d %H:%M")  # noqa: DTZ007 a clock time, without a zone
        except ValueError as error:
            raise ValueError(
                "write a day and a time, '2026-12-18 18:00', or of every week 'Fri 12:00'"
            ) from error
        return value

    @model_validator(mode="after")
    def _check_order(self) -> "ClockWindow":
        if self.weekly != bool(_WEEKLY.fullmatch(self.end)):
            raise ValueError("start and end are both days of the calendar, or both of the week")
        if self.start == self.end or (not self.weekly and self.start > self.end):
            raise ValueError("end must be after start")
        return self

    @property
    def weekly(self) -> bool:
        return _WEEKLY.fullmatch(self.start) is not None


def holding(windows: Sequence[ClockWindow], now: datetime) -> tuple[datetime, str] | None:
    """The first moment (UTC) at which no window holds any more, and the reason of the one that
    holds now and ends last; None when `now` (aware) lies in none. Windows that touch are one."""
    first = _at(windows, now)
    if first is None:
        return None
    until, reason = first
    for _ in range(MOST_JOINED):
        following = _at(windows, until)
        if following is None:
            break
        until = following[0]
    return until, reason


def _at(windows: Sequence[ClockWindow], moment: datetime) -> tuple[datetime, str] | None:
    """End and reason of the window that holds then, the one that ends last."""
    ends = [
        (end, window.reason)
        for window in windows
        for start, end in _occurrences(window, moment)
        if start <= moment < end
    ]
    return max(ends, default=None)


def _occurrences(window: ClockWindow, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
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
