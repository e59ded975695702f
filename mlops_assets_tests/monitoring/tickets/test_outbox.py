"""What waits for a sink arrives in order, and a sink that is down holds up no other."""

import pytest

from mlops_assets.monitoring.tickets.outbox import LONGEST_PAUSE_S, pause
from mlops_assets_tests.monitoring.tickets.world import (
    DRIFT,
    PROBE,
    RETRAIN,
    Ear,
    World,
    finding,
)


def test_a_dead_sink_holds_up_no_other_and_loses_nothing() -> None:
    world = World(ears={"a": Ear(down=True), "b": Ear()})
    for holds in (True, False, True):
        world.tick({DRIFT: holds, RETRAIN: holds})
        world.now += 10
    assert len(world.told("b")) == 6
    assert world.ears["a"].asked == 1, "after one failure it is left alone for a while"
    world.ears["a"].down = False
    world.now += 30
    world.tick()
    assert world.told("a") == world.told("b")


def test_pauses_grow_to_an_hour() -> None:
    assert [pause(n) for n in (1, 2, 3, 8, 9, 1000)] == [30, 60, 120, 3600, 3600, 3600]
    world = World(ears={"a": Ear(down=True)})
    world.tick({DRIFT: True})
    for _ in range(12 * 60 * 2):
        world.now += 30
        world.tick()
    asked = world.ears["a"].asked
    assert 12 <= asked <= 12 + 8


@pytest.mark.parametrize(("asked_for", "waits"), [(5, 30), (300, 300), (10**6, LONGEST_PAUSE_S)])
def test_a_sink_may_ask_for_a_longer_pause(asked_for: float, waits: float) -> None:
    world = World(ears={"a": Ear(down=True, retry_after=asked_for)})
    world.tick({DRIFT: True})
    for later, asked in ((waits - 1, 1), (1, 2)):
        world.now += later
        world.tick()
        assert world.ears["a"].asked == asked


def test_what_a_sink_refuses_holds_up_only_its_own_ticket() -> None:
    world = World(ears={"a": Ear(refuses=PROBE)})
    world.tick({PROBE: True, RETRAIN: True})
    world.tick({PROBE: False, RETRAIN: False})
    assert world.told() == ["opened churn#2 retrain", "closed churn#2 retrain"]
    (refused, _) = world.book.outbox
    assert refused.error == "a answered 400: no"
    world.ears["a"].refuses = ""
    world.now += 30
    world.tick()
    assert world.told()[2:] == ["opened churn#1 answers_probe", "closed churn#1 answers_probe"]


def test_an_update_that_waits_gives_way_to_a_newer_one() -> None:
    world = World(ears={"a": Ear(down=True)})
    for word in ("one", "two", "three", "four"):
        world.tick({DRIFT: finding(DRIFT, world.now, word)})
        world.now += 601
    world.ears["a"].down = False
    world.now += 3600
    world.tick()
    assert [n.words for n in world.ears["a"].heard] == ["one", "four"]
