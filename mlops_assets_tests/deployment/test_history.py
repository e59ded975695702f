"""What was live when, folded from what deployments reported."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.deployment.history import SHOWN, Reported, page, told
from mlops_assets.gateways.registered import Origin
from mlops_assets.vocabulary import STOPPED_BY

BEGAN = datetime(2026, 5, 1, tzinfo=UTC)
ORIGIN = Origin("d" * 64, 1200, "s" * 64, "c" * 40, "f" * 12)


def report(version: int, hour: int, **said: object) -> Reported:
    at = (BEGAN + timedelta(hours=hour)).isoformat(timespec="seconds")
    live = {"state": "live", "version": version, "since": at, "decided": "the gates"}
    return Reported({**live, **said}, f"run-{hour}", at)


def test_a_version_has_the_traffic_until_the_next_one() -> None:
    first, second = told("local", [report(1, 0), report(2, 5, **ORIGIN.known(), reason="sensor")])
    now = BEGAN + timedelta(hours=8)
    assert (first.version, first.until) == (1, second.since)
    assert (second.until, second.reason, second.origin) == ("", "sensor", ORIGIN)
    assert (first.seconds(now), second.seconds(now)) == (5 * 3600, 3 * 3600)
    assert first.origin == Origin()


def test_reports_that_name_no_live_version_are_no_deployments() -> None:
    by_hand = Reported({}, "", BEGAN.isoformat())
    assert told("local", [by_hand, report(1, 1, state="stopped")]) == []


def test_what_was_stopped_is_not_live_until_it_is_deployed_again() -> None:
    stopped = report(2, 3, state="stopped", **{STOPPED_BY: "ada"})
    (first,) = told("local", [report(2, 1), stopped])
    assert (first.until, first.stopped_by) == (stopped.at, "ada")
    assert (first.seconds(BEGAN + timedelta(days=1)), first.end_in_words()) == (
        2 * 3600,
        f"{stopped.at} (stopped)",
    )
    again = [report(2, 1), stopped, replace(stopped, at="later"), report(2, 7), report(2, 8)]
    assert told("local", again) == [first, *told("local", [report(2, 7)])]


@given(st.lists(st.integers(1, 4), max_size=40))
def test_the_times_follow_one_another_without_a_gap(versions: list[int]) -> None:
    """Whatever is deployed, at every hour exactly one version is live, the last one reported."""
    found = told("local", [report(version, hour) for hour, version in enumerate(versions)])
    assert [one.until for one in found] == [
        *(one.since for one in found[1:]),
        *([""] if found else []),
    ]
    assert all(a.version != b.version for a, b in pairwise(found))
    now = BEGAN + timedelta(hours=len(versions))
    assert sum(one.seconds(now) for one in found) == 3600 * len(versions)
    for hour, version in enumerate(versions):
        at = (BEGAN + timedelta(hours=hour)).isoformat(timespec="seconds")
        (live,) = [one for one in found if one.since <= at and (not one.until or one.until > at)]
        assert live.version == version


def test_the_page_lists_the_newest_first_and_how_many_more_there_are() -> None:
    found = told("local", [report(n, n, reason="a | b\nc") for n in range(1, SHOWN + 4)])
    head, _, newest, *rest, blank, more = page(found, BEGAN + timedelta(hours=30)).splitlines()
    assert newest.startswith(f"| {SHOWN + 3} | 2026-05-01T23:00:00+00:00 | now | 7 h |")
    assert "a \\| b c" in newest
    assert len(rest) == SHOWN - 1
    assert rest[-1].startswith("| 4 |")
    assert (blank, more) == ("", "and 3 before: `mlops history`")
    assert {line.replace("\\|", "").count("|") for line in (head, newest, *rest)} == {11}


def test_the_page_says_data_and_code() -> None:
    (one,) = told("local", [report(1, 0, **ORIGIN.known())])
    last = page([one], BEGAN).splitlines()[-1]
    assert last.endswith(f"| {'d' * 12} | 1,200 | {'c' * 12} | {'f' * 12} |")


def test_an_origin_survives_its_tags() -> None:
    tags = {f"mlops.{name}": str(value) for name, value in ORIGIN.known().items()}
    assert Origin.of(tags) == ORIGIN
    assert Origin.of({"mlops.training_rows": ""}).known() == {}
