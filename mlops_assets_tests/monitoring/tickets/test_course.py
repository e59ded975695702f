"""One ticket per cause, whatever happens in between."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.monitoring.tickets.advice import root_of
from mlops_assets.monitoring.tickets.book import MOST_WAITING
from mlops_assets.monitoring.tickets.course import Listener
from mlops_assets.monitoring.tickets.findings import MOST_CHARACTERS, Notice
from mlops_assets_tests.monitoring.tickets.world import (
    CAUSES,
    DRIFT,
    FRESH,
    PROBE,
    RETRAIN,
    SERVES,
    Ear,
    KilledError,
    World,
    finding,
)


def test_a_failing_check_is_told_once_and_closed_with_how_long_it_lasted() -> None:
    world = World()
    for holds in (True, True, False, False):
        world.tick({DRIFT: holds})
        world.now += 60
    assert world.told() == ["opened churn#1 has_not_drifted", "closed churn#1 has_not_drifted"]
    opened, closed = world.ears["a"].heard
    assert (opened.severity, opened.lasted_s) == ("warning", 0)
    assert opened.runbook == "RUNBOOK.md#has_not_drifted"
    assert opened.action
    assert (closed.closing, closed.lasted_s) == ("recovered", 120)


def test_what_comes_back_soon_is_the_same_ticket_and_later_a_new_one() -> None:
    world = World()
    for holds, later in ((True, 0), (False, 60), (True, 3600), (False, 60), (True, 3601)):
        world.now += later
        world.tick({DRIFT: holds})
    assert [line.rpartition(" ")[0] for line in world.told()] == [
        "opened churn#1",
        "closed churn#1",
        "reopened churn#1",
        "closed churn#1",
        "opened churn#2",
    ]
    keys = [notice.key for notice in world.ears["a"].heard]
    assert len(set(keys)) == 2


def test_a_root_is_one_ticket_that_names_its_followers() -> None:
    world = World()
    world.tick(dict.fromkeys(CAUSES, True))
    assert sorted(world.told()) == ["opened churn#1 answers_probe", "opened churn#2 retrain"]
    assert world.ears["a"].heard[0].followers == (SERVES, DRIFT, FRESH)


def test_a_follower_that_failed_first_is_taken_in() -> None:
    world = World()
    world.tick({FRESH: True})
    world.now += 60
    world.tick({PROBE: True})
    assert world.told() == [
        "opened churn#1 profile_is_fresh",
        "closed churn#1 profile_is_fresh",
        "opened churn#2 answers_probe",
    ]
    assert world.ears["a"].heard[1].closing == f"follows from {PROBE}"


def test_a_follower_that_fails_after_its_root_recovered_gets_its_own() -> None:
    world = World()
    world.tick({PROBE: True, FRESH: True})
    world.now += 60
    world.tick({PROBE: False})
    world.now += 60
    world.tick()
    assert world.told()[1:] == ["closed churn#1 answers_probe"], "it was not looked at again"
    world.tick({FRESH: True})
    assert world.told()[2:] == ["opened churn#2 profile_is_fresh"]


def test_a_follower_seen_for_the_first_time_with_the_recovery_waits_too() -> None:
    world = World()
    world.tick({PROBE: True})
    world.now += 60
    world.tick({PROBE: False, FRESH: finding(FRESH, world.now - 1)})
    assert len(world.told()) == 2
    world.now += timedelta(hours=24).total_seconds()
    world.tick()
    assert world.told()[2:] == ["opened churn#2 profile_is_fresh"], "nobody looked again"


def test_endpoints_explain_only_themselves() -> None:
    other = "endpoints/kubernetes/serves_the_champion"
    assert root_of(other, [PROBE, other]) == ""
    assert root_of(SERVES, [PROBE, SERVES]) == PROBE
    assert root_of(SERVES, [SERVES, "runs/deploy"]) == "runs/deploy"


def test_what_is_older_than_what_is_known_does_not_count() -> None:
    world = World()
    world.tick({DRIFT: True})
    late = finding(DRIFT, world.now)
    world.now += 60
    world.tick({DRIFT: False})
    world.tick({DRIFT: late})
    assert world.told()[1:] == ["closed churn#1 has_not_drifted"]


def test_updates_are_bounded() -> None:
    """New words after ten minutes, new numbers after six hours, nothing new never."""
    world = World()
    world.tick({DRIFT: finding(DRIFT, world.now, "tenure 0.21")})
    for minute in range(1, 12 * 60):
        world.now += 60
        words = f"tenure 0.{minute + 21}" if minute < 700 else "charges 0.5"
        world.tick({DRIFT: finding(DRIFT, world.now, words)})
    assert [n.words for n in world.ears["a"].heard] == [
        "tenure 0.21",
        "tenure 0.381",
        "charges 0.5",
    ]


def test_words_are_bounded() -> None:
    world = World()
    world.tick({DRIFT: finding(DRIFT, world.now, "x" * 100_000)})
    assert len(world.ears["a"].heard[0].words) == MOST_CHARACTERS
    assert len(world.documents.texts["mlops/tickets/churn"]) < 10 * MOST_CHARACTERS


def test_a_check_that_is_gone_closes_its_ticket() -> None:
    world = World()
    world.tick({PROBE: True})
    world.known = (DRIFT,)
    world.tick()
    assert world.ears["a"].heard[-1].closing == "is no longer checked"


@pytest.mark.parametrize("still", [True, False])
def test_what_was_muted_is_told_when_it_still_holds(*, still: bool) -> None:
    world = World(muted={PROBE})
    world.tick({PROBE: True, FRESH: True})
    assert world.told() == [], "a follower of what is muted is silent, too"
    world.now += 60
    world.tick({PROBE: still, FRESH: still})
    world.muted.clear()
    world.tick()
    assert world.told() == (["opened churn#1 answers_probe"] if still else [])
    if still:
        assert world.ears["a"].heard[0].lasted_s == 60


def test_what_recovers_while_it_is_muted_is_closed() -> None:
    world = World()
    world.tick({DRIFT: True})
    world.muted = {DRIFT}
    world.now += 3600
    world.tick({DRIFT: finding(DRIFT, world.now, "something else")})
    world.tick({DRIFT: False})
    assert [line.partition(" ")[0] for line in world.told()] == ["opened", "closed"]


def test_a_sink_hears_what_is_bad_enough_and_a_new_one_what_is_open() -> None:
    world = World(listeners=(Listener("a", "error", None),))
    world.tick({DRIFT: True, RETRAIN: True})
    assert world.told() == ["opened churn#2 retrain"]
    world.ears["b"] = Ear()
    world.listeners = (*world.listeners, Listener("b", "info", None))
    world.tick()
    assert sorted(world.told("b")) == ["opened churn#1 has_not_drifted", "opened churn#2 retrain"]
    world.listeners = world.listeners[1:]
    world.tick({RETRAIN: False})
    assert world.told("b")[-1] == "closed churn#2 retrain"
    assert len(world.told()) == 1, "it is not in the YAML any more"


def test_a_sink_that_forgets_is_told_again() -> None:
    world = World(listeners=(Listener("a", "info", timedelta(minutes=4)),))
    for _ in range(21):
        world.tick({PROBE: True})
        world.now += 30
    assert [line.partition(" ")[0] for line in world.told()] == ["opened", "updated", "updated"]


def test_what_waits_for_a_sink_is_bounded() -> None:
    world = World(ears={"a": Ear(down=True)})
    for turn in range(2 * MOST_WAITING + 1):
        world.tick({PROBE: turn % 2 == 0})
        world.now += 30
    assert len(world.book.outbox) <= MOST_WAITING
    world.ears["a"].down = False
    for _ in range(20):
        world.now += 3600
        world.tick({PROBE: True})
    assert world.book.outbox == ()
    assert_is_a_story(world.ears["a"].heard)
    assert world.ears["a"].heard[-1].event != "closed"


def assert_is_a_story(heard: list[Notice]) -> None:
    """Of each ticket: opened once, and open and closed in turn."""
    tickets: dict[str, list[Notice]] = {}
    for notice in heard:
        tickets.setdefault(notice.key, []).append(notice)
    for told in tickets.values():
        events = [notice.event for notice in told if notice.event != "updated"]
        assert events == (["opened", *["closed", "reopened"] * len(events)])[: len(events)]
        assert told[0].event == "opened"
        assert [n.at for n in told] == sorted(n.at for n in told)
        closed = [i for i, n in enumerate(told) if n.event == "closed"]
        assert all(told[i + 1].event == "reopened" for i in closed if i + 1 < len(told))


LOOK = st.dictionaries(st.sampled_from(CAUSES), st.booleans())
ACTION = st.one_of(
    st.tuples(st.just("look"), LOOK),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 400, 4000, 90_000])),
    st.tuples(st.just("sink"), st.tuples(st.sampled_from("ab"), st.booleans())),
    st.tuples(st.just("mute"), st.sets(st.sampled_from(CAUSES), max_size=2)),
    st.tuples(st.just("kill"), st.integers(0, 4)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTION, max_size=25))
def test_every_sink_hears_the_whole_story_in_order(actions: list[tuple[str, Any]]) -> None:
    world = World(ears={"a": Ear(), "b": Ear()})
    episodes, holds = dict.fromkeys((PROBE, RETRAIN), 0), set[str]()
    ever_muted = set[str]()
    for what, how in [*actions, ("settle", None)]:
        world.now += 1
        if what == "look":
            for cause in episodes:
                episodes[cause] += bool(how.get(cause)) and cause not in holds
            holds = (holds | {c for c, h in how.items() if h}) - {
                c for c, h in how.items() if not h
            }
            until_whole(world, how)
        elif what == "wait":
            world.now += how
            until_whole(world, {})
        elif what == "sink":
            world.ears[how[0]].down = how[1]
        elif what == "mute":
            world.muted = how
            ever_muted |= how
        elif what == "kill":
            world.documents.writes_left = how
    world.muted = set()
    for ear in world.ears.values():
        ear.down = False
    for _ in range(3):
        world.now += 3601
        until_whole(world, {cause: cause in holds for cause in CAUSES})
    told = {cause for cause in holds if not root_of(cause, holds)}
    assert world.book.outbox == ()
    for ear in world.ears.values():
        heard = ear.once()
        assert_is_a_story(heard)
        last = {notice.cause: notice for notice in heard}
        assert {cause for cause, notice in last.items() if notice.is_open} == told
        for cause, count in episodes.items():
            begun = [n for n in heard if n.cause == cause and n.event in ("opened", "reopened")]
            assert len(begun) <= count, "never twice for one"
            if cause not in ever_muted:
                assert len(begun) == count


def until_whole(world: World, seen: dict[str, bool]) -> None:
    """Tick; a daemon that was killed meanwhile is started again, and looks again."""
    try:
        world.tick(seen)
    except KilledError:
        world.documents.writes_left = None
        world.tick(seen)


def test_state_that_was_written_is_read_as_it_was() -> None:
    world = World(ears={"a": Ear(down=True)})
    world.tick(dict.fromkeys(CAUSES, True))
    world.tick({PROBE: False})
    book = world.book
    assert replace(book) == type(book).from_json(book.to_json())
    assert len(book.outbox) == 3
