"""Freezes are what clocks on the wall show, also in the weeks in which clocks change."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlops_assets.experiment.windows import WEEKDAYS
from mlops_assets.registry.freeze import Frozen, frozen
from mlops_assets.registry.spec import Freeze

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
MINUTE = timedelta(minutes=1)
WEEKEND = Freeze(start="Fri 12:00", end="Mon 00:00", timezone="Europe/Berlin", reason="weekend")
CLOCK = [f"{day} {hour:02}:{minute:02}" for day in WEEKDAYS for hour in (0, 2, 12) for minute in
         (0, 30)]  # fmt: skip


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def when(text: str, zone: str = "UTC", *windows: Freeze) -> Frozen | None:
    return frozen(windows or (WEEKEND,), at(text, zone))


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-27 11:59", False),
        ("2026-11-27 12:00", True),
        ("2026-11-29 23:59", True),
        ("2026-11-30 00:00", False),
        ("2026-03-27 11:59", False),  # clocks go forward on the 29th
        ("2026-03-27 12:00", True),
        ("2026-03-29 23:59", True),
        ("2026-03-30 00:00", False),
        ("2026-10-23 12:00", True),  # and back on the 25th
        ("2026-10-25 23:59", True),
        ("2026-10-26 00:00", False),
    ],
)
def test_from_friday_noon_to_monday_in_every_season(moment: str, holds: bool) -> None:
    assert (when(moment, "Europe/Berlin") is not None) == holds


@pytest.mark.parametrize(
    ("friday", "hours"), [("2026-11-27", 60), ("2026-03-27", 59), ("2026-10-23", 61)]
)
def test_the_weekend_in_which_clocks_change_is_an_hour_shorter_or_longer(
    friday: str, hours: int
) -> None:
    noon = at(f"{friday} 12:00", "Europe/Berlin").astimezone(UTC)
    hold = frozen((WEEKEND,), noon)
    assert hold is not None
    assert hold.until - noon == timedelta(hours=hours)
    assert hold.words() == f"frozen until {hold.until:%Y-%m-%dT%H:%M}+00:00 (weekend)"


def test_a_clock_time_that_comes_twice_or_never_makes_the_window_longer() -> None:
    """In Berlin 02:30 comes twice on 2026-10-25, and never on 2026-03-29."""
    for day, first, last in (
        ("2026-10-25", "00:30", "01:30"),
        ("2026-03-29", "00:30", "01:30"),
    ):
        until = Freeze(
            start="2026-01-01 00:00", end=f"{day} 02:30", timezone="Europe/Berlin", reason="x"
        )
        assert when(f"{day} {last}", "UTC", until) is None
        hold = frozen((until,), at(f"{day} {last}") - MINUTE)
        assert hold is not None
        assert hold.until == at(f"{day} {last}")
        since = Freeze(
            start=f"{day} 02:30", end="2026-12-31 00:00", timezone="Europe/Berlin", reason="x"
        )
        assert frozen((since,), at(f"{day} {first}") - MINUTE) is None
        assert when(f"{day} {first}", "UTC", since) is not None


def test_the_end_of_the_year_runs_into_the_weekend_behind_it() -> None:
    year = Freeze(
        start="2026-12-18 18:00", end="2027-01-01 12:00", timezone="Europe/Berlin", reason="year"
    )
    hold = frozen((WEEKEND, year), at("2026-12-20 09:00", "Europe/Berlin"))
    assert hold == Frozen(at("2027-01-04 00:00", "Europe/Berlin").astimezone(UTC), "year")
    assert frozen((), at("2026-12-20 09:00")) is None


@given(
    start=st.sampled_from(CLOCK),
    end=st.sampled_from(CLOCK),
    zone=st.sampled_from(ZONES),
    minutes=st.integers(0, 60 * 24 * 800),
)
@settings(deadline=None)
def test_a_weekly_window_is_what_the_clock_of_its_zone_shows(
    start: str, end: str, zone: str, minutes: int
) -> None:
    assume(start != end)
    now = datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE
    local, around = now.astimezone(ZoneInfo(zone)), timedelta(hours=3)
    offsets = {
        (now + d).astimezone(ZoneInfo(zone)).utcoffset() for d in (-around, 0 * around, around)
    }
    assume(len(offsets) == 1)
    shown = (local.weekday(), local.hour, local.minute)
    first, last = ((WEEKDAYS.index(t[:3]), int(t[4:6]), int(t[7:])) for t in (start, end))
    inside = first <= shown < last if first < last else shown >= first or shown < last
    window = Freeze(start=start, end=end, timezone=zone, reason="x")
    assert (frozen((window,), now) is not None) == inside


@st.composite
def windows(draw: Any) -> tuple[Freeze, ...]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            start, end = draw(st.permutations(CLOCK))[:2]
        else:
            first = datetime(2026, 1, 1) + timedelta(hours=draw(st.integers(0, 24 * 300)))  # noqa: DTZ001
            last = first + timedelta(hours=draw(st.integers(2, 24 * 40)))
            start, end = (f"{each:%Y-%m-%d %H:%M}" for each in (first, last))
        found.append(
            Freeze(start=start, end=end, timezone=draw(st.sampled_from(ZONES)), reason="x")
        )
    return tuple(found)


@given(windows(), st.integers(0, 60 * 24 * 330), st.floats(0, 1))
@settings(deadline=None)
def test_it_holds_until_it_says_and_no_longer(
    many: tuple[Freeze, ...], minutes: int, share: float
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE
    hold = frozen(many, now)
    if hold is None:
        return
    assert hold.until > now
    assert frozen(many, now + share * (hold.until - now - MINUTE)) is not None
    # Windows that together never end are told for as far as anybody looks.
    assert frozen(many, hold.until) is None or hold.until - now > timedelta(days=60)
    later = frozen(many, hold.until - MINUTE)
    assert later is not None
    assert later.until >= hold.until


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"start": "Friday 12:00"}, "write a day and a time, '2026-12-18 18:00', or of every"),
        ({"start": "Fri 24:00"}, "write a day and a time"),
        ({"end": "2026-13-01 00:00"}, "write a day and a time"),
        ({"end": "2026-12-18 18:00"}, "start and end are both days of the calendar, or both"),
        ({"end": "Fri 12:00"}, "end must be after start"),
        ({"start": "2026-02-02 00:00", "end": "2026-02-01 00:00"}, "end must be after start"),
        ({"timezone": "Berlin"}, "not an IANA time zone"),
        ({"reason": ""}, "at least 1 character"),
    ],
)
def test_a_window_that_is_none_is_refused(said: dict[str, str], words: str) -> None:
    usual = {"start": "Fri 12:00", "end": "Mon 00:00", "reason": "weekend"}
    with pytest.raises(ValidationError, match=words):
        Freeze.model_validate({**usual, **said})
