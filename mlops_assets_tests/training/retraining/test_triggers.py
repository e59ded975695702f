"""When a retraining is asked for: across daylight saving, after a standstill, once per drift."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlops_assets.training.retraining.cases import MOST_SAID, Case, Memory
from mlops_assets.training.retraining.triggers import Evaluation, by_checks, by_the_clock, due
from mlops_assets.training.spec import Retrain

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def times(line: str, zone: str, first: str, last: str, *, tick: timedelta) -> list[str]:
    """Local times at which ticks from `first` until `last` ask, each with its offset from UTC."""
    at, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    found = []
    while at < end:
        after = at + tick
        if due(line, zone, since=at, now=after) is not None:
            when = due(line, zone, since=at, now=after)
            assert when is not None
            found.append(when.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
        at = after
    return found


@pytest.mark.parametrize(
    ("line", "zone", "day", "expected"),
    [
        # 02:30 does not exist: it comes right after the gap, once.
        ("30 2 * * *", BERLIN, "2026-03-29", ["2026-03-29T03:00+02:00"]),
        ("30 2 * * *", NEW_YORK, "2026-03-08", ["2026-03-08T03:00-04:00"]),
        # 02:30 in Berlin, 01:30 in New York exist twice: once is enough.
        ("30 2 * * *", BERLIN, "2026-10-25", ["2026-10-25T02:30+02:00"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01", ["2026-11-01T01:30-04:00"]),
        # Before and after, the same hour on the clock is another one in UTC.
        ("0 3 * * *", BERLIN, "2026-03-28", ["2026-03-28T03:00+01:00"]),
        ("0 3 * * *", BERLIN, "2026-03-30", ["2026-03-30T03:00+02:00"]),
    ],
)
@pytest.mark.parametrize("tick", [timedelta(seconds=30), timedelta(minutes=7)])
def test_across_daylight_saving(
    line: str, zone: str, day: str, expected: list[str], tick: timedelta
) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))
    bounds = (start.astimezone(UTC).isoformat(), end.astimezone(UTC).isoformat())
    assert times(line, zone, *bounds, tick=tick) == expected


@given(
    start=st.dates(date(2026, 1, 1), date(2027, 1, 1)),
    zone=st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "Asia/Kolkata"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_a_daily_line_asks_once_in_every_local_day(
    start: date, zone: str, hour: int, minute: int
) -> None:
    """Also where clocks change: as many times as days, on the days' own dates."""
    midnight = datetime.combine(start, time(), tzinfo=ZoneInfo(zone))
    at = midnight.astimezone(UTC) - timedelta(minutes=1)
    dates = []
    for _ in range(5):
        found = due(f"{minute} {hour} * * *", zone, since=at, now=at + timedelta(days=3))
        assert found is not None
        dates.append(found.astimezone(ZoneInfo(zone)).date())
        at = found.astimezone(UTC)
    assert dates == [start + timedelta(days=day) for day in range(5)]


def test_a_week_without_a_daemon_asks_once() -> None:
    spec = Retrain(cron="0 3 * * *", timezone=BERLIN)
    back = NOON + timedelta(days=7)
    case = by_the_clock(spec, Case(), since=NOON, now=back)
    assert case.asked == {"cron": "cron 0 3 * * * (Europe/Berlin), due 2026-06-02T03:00+02:00"}
    later = by_the_clock(spec, Case(), since=back, now=back + timedelta(hours=1))
    assert not later.is_open


def test_labels_are_looked_for_when_look_says() -> None:
    spec = Retrain(new_labels=100, look="0 * * * *")
    assert not by_the_clock(spec, Case(), since=NOON, now=NOON + timedelta(minutes=59)).is_open
    case = by_the_clock(spec, Case(), since=NOON, now=NOON + timedelta(minutes=60))
    assert [*case.asked] == ["labels"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "nothing starts a retraining"),
        ({"cron": "0 3 * *"}, "write minute, hour"),
        ({"cron": "0 3 * * *", "timezone": "Berlin"}, "IANA"),
        ({"on_drift": True, "look": "hourly"}, "write minute, hour"),
        ({"on_drift": True, "brakes": {"per_day": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_the_yaml_may_not_say(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Retrain.model_validate(keys)


DRIFTING = Retrain(on_drift=True, look="0 5 * * *")


def drift(at: datetime, *, passed: bool = False, version: str = "1") -> Evaluation:
    return Evaluation("has_not_drifted", "drift", passed, at.timestamp(), version, "it drifted")


def heard(case: Case, said: Evaluation, now: datetime, registered: datetime | None = None) -> Case:
    """After a tick; what it remembers was stored and read again, as by a daemon that restarted."""
    before = 0.0 if registered is None else registered.timestamp()
    found = by_checks(DRIFTING, case, [said], registered_at=before, now=now)
    stored = Memory(cases={"churn": found}).to_json()
    return Memory.from_json(stored).cases.get("churn", Case())


def test_a_check_that_goes_on_failing_asks_once_and_then_at_looks() -> None:
    case = heard(Case(), drift(NOON), NOON)
    assert case.asked == {"drift": "it drifted"}
    case = case.closed("refused: no new data", NOON)
    for hour in range(1, 17):
        now = NOON + timedelta(hours=hour)
        case = heard(case, drift(now), now)
        assert not case.is_open, now
    morning = NOON + timedelta(hours=17)  # 05:00 on the next day
    assert heard(case, drift(morning), morning).is_open


def test_after_it_passed_a_check_asks_anew() -> None:
    case = heard(Case(), drift(NOON), NOON).closed("", NOON)
    later = NOON + timedelta(hours=1)
    case = heard(case, drift(later, passed=True), later)
    assert case == Case()
    assert heard(case, drift(later), later + timedelta(hours=1)).is_open


def test_another_version_that_drifts_asks_anew() -> None:
    case = heard(Case(), drift(NOON), NOON).closed("", NOON)
    later = NOON + timedelta(hours=1)
    assert not heard(case, drift(later), later).is_open
    assert heard(case, drift(later, version="2"), later).is_open


def test_what_failed_before_the_newest_version_asks_for_nothing() -> None:
    registered = NOON + timedelta(minutes=30)
    assert heard(Case(), drift(NOON), NOON + timedelta(hours=20), registered) == Case()
    case = heard(Case(), drift(NOON), NOON).closed("registered", NOON)
    assert not heard(case, drift(NOON), NOON + timedelta(days=2), registered).is_open


def test_what_drifts_no_more_is_asked_for_no_more() -> None:
    case = heard(Case(), drift(NOON), NOON).asking("cron", "cron", NOON)
    later = NOON + timedelta(hours=1)
    assert heard(case, drift(later, passed=True), later).asked == {"cron": "cron"}


def test_what_is_remembered_is_bounded() -> None:
    names = [f"e{i}" for i in range(3 * MOST_SAID)]
    cases = {n: Case().closed("x" * 5000, NOON + timedelta(seconds=i)) for i, n in enumerate(names)}
    cases["open"] = Case().asking("cron", "cron", NOON)
    cases["idle"] = Case()
    text = Memory(NOON.isoformat(), 7, cases).to_json()
    read = Memory.from_json(text)
    assert {*read.cases} == {"open", *names[-MOST_SAID:]}
    assert len(text) < 100 * 1000
    assert read.cases["open"] == cases["open"]
    assert (read.at, read.turn) == (NOON.isoformat(), 7)
