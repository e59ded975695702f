"""Replicas whose clocks are wrong, by files on a real store and the asset and check over them: rows
count once, and who runs ahead makes nobody fresh."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.gateways.telemetry import ProfileLog, Telemetry
from mlops_assets.monitoring import windows
from mlops_assets_tests.monitoring.traffic import DAY, HOUR, Traffic

AHEAD, BEHIND = 3 * HOUR, -2 * DAY


def replica(traffic, *, fast, first, last, shift=0.0):
    """A replica that flushed 500 rows at the end of each hour; its clock is that much fast."""
    for back in range(first, last - 1, -1):
        start = traffic.now - back * HOUR
        traffic.flush(start + fast, 500, came=start + HOUR, shift=shift)


def looked(traffic, *, flushed=None):
    """The run of asset and check now, and what the check found."""

    def ask(experiment, version, context):
        log = ProfileLog(0, 0, 0, 0, (flushed or traffic.now + HOUR).timestamp())
        at = datetime.now(UTC).isoformat()
        return [Telemetry("local", at, "answers", "", requests=900, rows=900, log=log)]

    with dg.DagsterInstance.ephemeral() as instance:
        done = traffic.job(ask, names.PROFILE_IS_FRESH).execute_in_process(instance=instance)
    (verdict,) = done.get_asset_check_evaluations()
    (made,) = [each.materialization for each in done.get_asset_materialization_events()]
    return made.metadata, verdict


def counts(traffic, *, later=HOUR):
    """Rows by hours before the newest one, as they are merged then."""
    now = traffic.now + later
    found = windows.lately(traffic.store, traffic.experiment, [traffic.endpoint], now=now)
    starts = {datetime.fromisoformat(w.start): w.rows for w in found.windows}
    return {round((traffic.now - start) / HOUR): rows for start, rows in starts.items()}


@pytest.fixture
def traffic(tmp_path):
    return Traffic(tmp_path)


def test_beside_one_in_time_both_are_said_and_all_rows_count_once(traffic):
    replica(traffic, fast=timedelta(0), first=5, last=0)
    replica(traffic, fast=AHEAD, first=5, last=0)
    replica(traffic, fast=BEHIND, first=5, last=0)
    metadata, verdict = looked(traffic)
    assert verdict.passed
    assert verdict.metadata["finding"].value == "fresh"
    # The window that has just ended, not one of those to come.
    assert verdict.metadata["value"].value == traffic.now.isoformat()
    # Four of these windows have begun since.
    assert verdict.metadata["files_ahead_of_time"].value == 6
    assert metadata["files_ahead_of_time"].value == 6
    # Those that came in the last two hours.
    assert verdict.metadata["files_long_after_their_time"].value == 2
    assert "6 files came before their windows began" in verdict.description
    assert "came lately, of windows that were long over" in verdict.description
    behind = {48 + back: 500 for back in range(6)}
    others = {5: 500, 4: 500, 3: 500, 2: 1000, 1: 1000, 0: 1000, -1: 500}
    for _ in range(2):
        assert counts(traffic) == {**behind, **others}
    later = counts(traffic, later=5 * HOUR)
    assert later == {**behind, **others, -2: 500, -3: 500}
    assert sum(later.values()) == 3 * 6 * 500


def test_one_that_runs_ahead_makes_nobody_fresh_when_traffic_has_ended(traffic):
    """Its last files came four hours ago, of the hour that has just ended."""
    replica(traffic, fast=timedelta(0), first=9, last=8)
    replica(traffic, fast=AHEAD, first=9, last=4)
    traffic.flush(traffic.now, 500, came=traffic.now - 3 * HOUR)
    _, verdict = looked(traffic, flushed=traffic.now - 3 * HOUR)
    assert not verdict.passed
    assert verdict.metadata["finding"].value == "no traffic"
    assert verdict.metadata["value"].value == (traffic.now - 8 * HOUR).isoformat()
    assert "came before their windows began" in verdict.description


@pytest.mark.parametrize("fast", [AHEAD, BEHIND], ids=["ahead", "behind"])
def test_without_one_in_time_the_window_is_late_and_the_clock_is_named(traffic, fast):
    replica(traffic, fast=fast, first=5, last=0)
    traffic.flush(traffic.now + HOUR + fast)
    _, verdict = looked(traffic, flushed=datetime.now(UTC))
    assert not verdict.passed
    assert verdict.metadata["finding"].value == "late window"
    assert "First look: the clock of the endpoint" in verdict.description


def test_a_window_to_come_is_not_fresh_for_ever(traffic):
    """Nothing of it counts before it begins, and nothing of it makes anybody fresh after."""
    traffic.flush(traffic.now + 3 * DAY, 500, came=traffic.now)
    for now in (traffic.now + HOUR, traffic.now + 3 * DAY, traffic.now + 4 * DAY):
        found = windows.lately(traffic.store, traffic.experiment, [traffic.endpoint], now=now)
        assert found.rows == (500 if now >= traffic.now + 3 * DAY else 0)
        assert found.arrivals["local"].window is None
        assert len(found.ahead) == 1


def test_drift_of_one_that_is_behind_is_seen_in_the_hours_it_names(traffic):
    """Windows that were judged before are judged anew when its files come."""
    replica(traffic, fast=timedelta(0), first=2, last=0)
    assert traffic.inputs().passed
    replica(traffic, fast=-HOUR, first=1, last=0, shift=4.0)
    verdict = traffic.inputs()
    assert not verdict.passed
    assert "in 2 of 3 windows" in verdict.description
