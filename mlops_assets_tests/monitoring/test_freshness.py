"""Freshness tells apart: nothing yet, nothing at all, a late window."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops_assets.gateways.records import ProfiledWindow, ServingProfile
from mlops_assets.monitoring.freshness import judge
from mlops_assets.monitoring.spec import MonitoringSpec

NOW = datetime(2026, 5, 3, 12, 30, tzinfo=UTC)
SPEC = MonitoringSpec(window="hour", max_age_windows=2)


def live(*starts):
    return ServingProfile(
        version=3,
        windows=tuple(ProfiledWindow(start, 3, 100, "profile.bin") for start in starts),
        before=(),
        live_since="2026-05-02T00:00:00+00:00",
        unreadable=(),
        ahead=(),
    )


LIVE = live("2026-05-03T08:00:00+00:00", "2026-05-03T12:00:00+00:00")


def test_an_open_window_is_fresh():
    verdict = judge(LIVE, SPEC, now=NOW)
    assert verdict.passed
    assert "still open" in verdict.reason


@pytest.mark.parametrize(("ended_hours_ago", "passed"), [(1.0, True), (2.0, True), (2.1, False)])
def test_a_closed_window_ages(ended_hours_ago, passed):
    start = NOW - timedelta(hours=ended_hours_ago + 1)
    verdict = judge(live(start.isoformat()), SPEC, now=NOW)
    assert verdict.passed is passed
    assert "the newest window ended" in verdict.reason


def test_a_young_endpoint_without_traffic_is_not_late_yet():
    young = replace(live(), live_since=(NOW - timedelta(minutes=90)).isoformat())
    verdict = judge(young, SPEC, now=NOW)
    assert verdict.passed
    assert "went live 1.5 h ago" in verdict.reason


def test_an_old_endpoint_without_traffic_is_late():
    old = replace(live(), live_since=(NOW - timedelta(hours=3)).isoformat())
    verdict = judge(old, SPEC, now=NOW)
    assert not verdict.passed
    assert "no traffic, or its profiles do not arrive" in verdict.reason


def test_a_clock_that_runs_ahead_at_the_endpoint_does_not_fail_the_check():
    ahead = live((NOW + timedelta(hours=1)).isoformat())
    assert judge(ahead, SPEC, now=NOW).passed
