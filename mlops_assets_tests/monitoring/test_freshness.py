"""Freshness tells apart: nothing yet, no traffic, a dead endpoint, a dead log, a late window."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops_assets.gateways.records import Arrival, ProfiledWindow, ServingProfile
from mlops_assets.gateways.telemetry import ProfileLog, Telemetry, from_json, latest, to_json
from mlops_assets.monitoring.freshness import Past, judge
from mlops_assets.monitoring.spec import MonitoringSpec

NOW = datetime(2026, 5, 3, 12, 30, tzinfo=UTC)
SPEC = MonitoringSpec(window="hour", max_age_windows=2)
HOUR = timedelta(hours=1)


def ago(**span):
    return NOW - timedelta(**span)


def live(*starts, **arrivals):
    return ServingProfile(
        version=3,
        windows=tuple(ProfiledWindow(start, 3, 100, "profile.bin") for start in starts),
        before=(),
        live_since="2026-05-02T00:00:00+00:00",
        unreadable=(),
        ahead=(),
        arrivals=arrivals,
    )


def profiled(start, written, **others):
    """The profile of one target, whose newest window starts and whose last file came then."""
    arrival = Arrival(start.isoformat(), written.isoformat())
    return live(start.isoformat(), local=arrival, **others)


OLD = profiled(ago(hours=6), ago(hours=5))
"""Its newest window ended five hours ago, with its last file."""


def log(*, pending=0, waiting=0, dropped=0, failures=0, flushed=None):
    return ProfileLog(
        pending, waiting, dropped, failures, None if flushed is None else flushed.timestamp()
    )


def told(target="local", *, rows=500, requests=500, kept=None, at=NOW, **counts):
    return Telemetry(
        target, at.isoformat(), "answers", "", requests=requests, rows=rows, log=kept, **counts
    )


def lacking(state, detail):
    return Telemetry("local", NOW.isoformat(), state, detail)


HEALTHY = told(kept=log(flushed=ago(hours=5)))


def judged(profile, *said, before=(), probes=0):
    known = {one.target: Past(one, probes) for one in before}
    return judge(profile, said or (HEALTHY,), SPEC, now=NOW, past=known)


def finding(profile, *said, **known):
    verdict = judged(profile, *said, **known)
    assert verdict.passed == (verdict.standings[0].finding == "fresh")
    return verdict.standings[0].finding, verdict.reason


def test_an_open_window_is_fresh():
    verdict = judged(live("2026-05-03T08:00:00+00:00", "2026-05-03T12:00:00+00:00"))
    assert verdict.passed
    assert "still open" in verdict.reason


@pytest.mark.parametrize(("ended_hours_ago", "passed"), [(1.0, True), (2.0, True), (2.1, False)])
def test_a_closed_window_ages(ended_hours_ago, passed):
    ended = ago(hours=ended_hours_ago)
    verdict = judged(profiled(ended - HOUR, ended))
    assert verdict.passed is passed
    assert "the newest window ended" in verdict.reason


def test_a_young_endpoint_without_traffic_is_not_late_yet():
    young = replace(live(), live_since=ago(minutes=90).isoformat())
    verdict = judged(young, told(rows=0, kept=log()))
    assert verdict.passed
    assert "went live 1.5 h ago" in verdict.reason


def test_an_endpoint_that_nobody_asks_has_no_traffic():
    """And that is no fault of ours."""
    old = replace(live(), live_since=ago(hours=3).isoformat())
    verdict = judged(old, told(rows=0, requests=0, kept=log()))
    assert verdict.standings[0].finding == "no traffic"
    assert not verdict.is_a_fault
    assert verdict.reason == (
        "no traffic: it answers, has scored 0 rows since it started, nothing of which is missing, "
        "and version 3 went live 3.0 h ago and has profiled nothing. First look: whoever calls it"
    )


def test_an_endpoint_whose_callers_went_away_has_no_traffic():
    found, reason = finding(OLD, HEALTHY)
    assert found == "no traffic"
    assert "the newest window ended 5.0 h ago; allowed: 2.0 h" in reason


def test_callers_that_are_all_refused_are_told_of():
    _, reason = finding(OLD, replace(HEALTHY, refused={"wrong_type": 40, "unauthorized": 2}))
    assert "has refused 42 requests" in reason


def test_rows_of_the_last_seconds_are_on_their_way():
    """The endpoint has started anew, and its first rows are not flushed yet."""
    assert finding(OLD, told(rows=3, kept=log()))[0] == "no traffic"


def test_an_endpoint_that_does_not_answer_is_dead():
    found, reason = finding(OLD, lacking("silent", "the supervisor is gone"))
    assert found == "dead endpoint"
    assert "dead endpoint: it does not answer (the supervisor is gone)" in reason
    assert "First look: `answers_probe`" in reason


@pytest.mark.parametrize(
    "kept",
    [
        log(waiting=3200, failures=5, flushed=ago(hours=5)),
        log(pending=400, flushed=ago(hours=5)),
        log(failures=1),
        log(dropped=9),
    ],
)
def test_rows_whose_profile_the_store_has_not_taken_are_a_dead_log(kept):
    verdict = judged(OLD, told(kept=kept))
    assert verdict.standings[0].finding == "dead log"
    assert verdict.is_a_fault
    assert "names the store and its error" in verdict.reason


def test_a_dead_log_comes_with_its_numbers():
    kept = log(pending=40, waiting=3200, dropped=2, failures=5, flushed=ago(hours=5))
    _, reason = finding(OLD, told(kept=kept))
    assert (
        "of 500 rows scored, 40 wait to be profiled and 3.2 kB for the store, 2 were dropped; "
        "5 flushes failed, and the store last took one 5.0 h ago"
    ) in reason


def test_an_outage_that_is_over_is_no_dead_log():
    kept = log(failures=5, dropped=3, flushed=ago(hours=5))
    assert finding(OLD, told(kept=kept))[0] == "no traffic"
    assert finding(OLD, told(kept=kept), before=[told(kept=kept)])[0] == "no traffic"


def test_failures_since_the_last_look_are_a_dead_log():
    kept = log(failures=5, flushed=ago(hours=5))
    before = told(kept=log(failures=4, flushed=ago(hours=5)), at=ago(hours=1))
    assert finding(OLD, told(kept=kept), before=[before])[0] == "dead log"


def test_rows_of_the_last_look_that_were_never_flushed_are_a_dead_log():
    silent = told(rows=500, kept=log())
    before = told(rows=300, kept=log(), at=ago(hours=1))
    assert finding(OLD, silent, before=[before])[0] == "dead log"
    restarted = told(rows=800, kept=log(), at=ago(hours=1))
    assert finding(OLD, silent, before=[restarted])[0] == "no traffic"


def test_an_endpoint_that_keeps_no_profiles_has_a_dead_log():
    assert finding(OLD, told(kept=None))[0] == "dead log"


def test_profiles_that_go_to_another_store_are_a_dead_log():
    found, reason = finding(OLD, told(kept=log(flushed=ago(minutes=10))))
    assert found == "dead log"
    assert "its store took a profile 10.0 min ago" in reason
    assert "MLOPS_DATA_URL" in reason


def test_profiles_of_which_no_file_ever_came_are_a_dead_log():
    nothing = replace(live(), live_since=ago(hours=9).isoformat())
    found, reason = finding(nothing, told(kept=log(flushed=ago(minutes=10))))
    assert found == "dead log"
    assert "of its files none came" in reason
    removed = told(kept=log(flushed=ago(days=90)))
    assert finding(nothing, removed)[0] == "no traffic"


def test_files_that_come_for_old_windows_are_late():
    found, reason = finding(profiled(ago(hours=6), ago(minutes=3)))
    assert found == "late window"
    assert "files arrive, the last one 3.0 min ago" in reason
    assert "First look: the clock of the endpoint" in reason


def test_what_does_not_count_is_told_where_it_explains():
    profile = replace(profiled(ago(hours=6), ago(minutes=3)), ahead=("a",), unreadable=("b", "c"))
    _, reason = finding(profile)
    assert "1 files came before their windows began; 2 files are no profiles" in reason


def test_files_of_windows_to_come_alone_are_late():
    arrival = Arrival(None, ago(minutes=3).isoformat())
    profile = replace(live(local=arrival), live_since=ago(hours=9).isoformat(), ahead=("a",))
    assert finding(profile)[0] == "late window"


def test_the_last_file_of_a_short_window_does_not_make_it_late():
    """It comes seconds after the window's end, which is then two minutes ago."""
    spec = MonitoringSpec(window="minute", max_age_windows=2)
    ended = ago(seconds=125)
    profile = profiled(ended - timedelta(minutes=1), ended + timedelta(seconds=9))
    said = told(kept=log(flushed=ended + timedelta(seconds=9)))
    verdict = judge(profile, [said], spec, now=NOW, past={})
    assert verdict.standings[0].finding == "no traffic"


class TestAnEndpointWhosePlatformCountsRequestsAlone:
    """As Lambda and SageMaker do."""

    def said(self, requests, **at):
        return told(rows=None, requests=requests, **at)

    def test_none_at_all_is_no_traffic(self):
        assert finding(OLD, self.said(0))[0] == "no traffic"

    def test_none_since_the_last_look_is_no_traffic(self):
        assert finding(OLD, self.said(70), before=[self.said(70)])[0] == "no traffic"

    def test_some_since_the_last_look_are_a_dead_log(self):
        found, reason = finding(OLD, self.said(70), before=[self.said(50)])
        assert found == "dead log"
        assert "20 requests since it was last asked" in reason

    def test_some_of_which_nothing_ever_came_are_a_dead_log(self):
        old = replace(live(), live_since=ago(hours=3).isoformat())
        assert finding(old, self.said(70))[0] == "dead log"

    def test_the_first_look_says_that_it_does_not_know(self):
        found, reason = finding(OLD, self.said(70))
        assert found == "late window"
        assert "the next look will tell whether any is new" in reason

    def test_what_its_platform_counts_of_our_own_probes_is_no_traffic(self):
        found, reason = finding(OLD, self.said(52), before=[self.said(50)], probes=2)
        assert found == "no traffic"
        assert "the 2 requests that its platform has counted since are our own probes" in reason
        found, reason = finding(OLD, self.said(53), before=[self.said(50)], probes=2)
        assert found == "dead log"

    def test_the_first_look_may_have_counted_probes_alone(self):
        old = replace(live(), live_since=ago(hours=3).isoformat())
        assert finding(old, self.said(3, counts_probes=True))[0] == "late window"

    def test_requests_that_were_all_refused_leave_nothing_to_profile(self):
        before = replace(self.said(50, refused={"wrong_type": 3}), rows=40, by_platform=True)
        now = replace(before, requests=70, refused={"wrong_type": 20, "too_many": 1})
        found, reason = finding(OLD, now, before=[before])
        assert found == "no traffic"
        assert "it has refused 18 requests and scored no row since it was last asked" in reason
        scored = replace(now, rows=41)
        assert finding(OLD, scored, before=[before])[0] == "dead log"
        unexplained = replace(now, refused=before.refused)
        assert finding(OLD, unexplained, before=[before])[0] == "dead log"
        never = replace(live(), live_since=ago(hours=3).isoformat())
        assert finding(never, replace(now, rows=0))[0] == "no traffic"

    def test_one_that_cannot_be_asked_is_said_to_be(self):
        found, reason = finding(OLD, lacking("unknown", "no credentials"))
        assert found == "late window"
        assert "the platform does not tell (no credentials)" in reason


def test_every_target_is_judged_by_itself():
    fresh = Arrival(ago(minutes=30).isoformat(), ago(minutes=1).isoformat())
    profile = profiled(ago(hours=6), ago(hours=5), kubernetes=fresh)
    verdict = judged(profile, HEALTHY, told("kubernetes", kept=log(flushed=ago(minutes=1))))
    assert not verdict.passed
    assert [each.finding for each in verdict.standings] == ["no traffic", "fresh"]
    assert verdict.finding == "no traffic"
    assert verdict.reason.startswith("local: no traffic")
    assert "kubernetes" not in verdict.reason


def test_what_will_make_a_profile_late_is_told_before_it_is():
    profile = profiled(ago(hours=2), ago(hours=1))
    verdict = judged(profile, lacking("silent", "gone"))
    assert verdict.passed
    assert "the endpoint does not answer: gone" in verdict.reason
    verdict = judged(profile, told(kept=log(waiting=900, flushed=ago(hours=1))))
    assert verdict.passed
    assert "0.9 kB for the store" in verdict.reason


def test_a_clock_that_runs_ahead_at_the_endpoint_does_not_fail_the_check():
    assert judged(live((NOW + HOUR).isoformat())).passed


def test_what_was_told_is_read_again():
    both = [told(kept=log(flushed=NOW), refused={"wrong_type": 3}), lacking("silent", "gone")]
    assert list(from_json(to_json(both[:1])).values()) == both[:1]
    assert from_json([{"target": "local", "color": "red"}]) == {}
    assert from_json("garbage") == {}


def test_an_endpoint_that_tells_nothing_is_remembered_by_what_it_told_last():
    silent = lacking("silent", "gone")
    assert latest([silent], {"local": HEALTHY}) == [HEALTHY]
    assert latest([silent], {}) == [silent]
    assert latest([HEALTHY], {"local": silent}) == [HEALTHY]
