"""Several programs decide at once, or are killed while they do: every order of their calls, on a
registry in memory, which is held to the real one here too."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.deployment import releases
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import (
    APPROVE,
    APPROVED_BY,
    BY_HAND,
    FROZEN_UNTIL,
    MOVED_BY_HAND,
)
from mlops_assets.gateways.model_registry import CHAMPION, AbsentError, ModelRegistry, RegistryError
from mlops_assets.registry.looking import MOST_LOOKS, Look
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.fakes.registry import MemoryRegistry
from mlops_assets_tests.fakes.target import KilledError
from mlops_assets_tests.registry.deciding import NOW, YEAR_END, HookedMemory, World, experiment


@pytest.fixture
def world() -> World:
    return World(HookedMemory(), experiment())


def look_that_ends(world: World, after: int, *, writes: int) -> None:
    """A look that is killed after so many writes, of all that it makes."""
    world.registry.ends_after = len(world.registry.written) + after
    if after < writes:
        with pytest.raises(KilledError):
            world.look()
    else:
        world.look()
    world.registry.ends_after = None


@pytest.mark.parametrize("kind", ["memory", "real"])
def test_the_registry_in_memory_is_as_the_real_one(
    kind: str, model_registry: ModelRegistry
) -> None:
    registry: Any = MemoryRegistry({}) if kind == "memory" else model_registry
    assert registry.model("churn") is None
    for _ in range(2):
        registry.register("churn", source="runs:/r/model", run_id="", tags={"a": "1"})
    registry.tag_version("churn", 1, {"b": ""})
    registry.tag_model("churn", {"mlops.champion": "1"})
    registry.set_alias("churn", CHAMPION, 1)
    for model in (registry.model("churn"), registry.models()["churn"]):
        assert (model.aliases, model.tags) == ({CHAMPION: 1}, {"mlops.champion": "1"})
        assert model.latest.version == 2
    assert [one.version for one in registry.versions_tagged("b", most=5)] == [1]
    assert len(registry.versions_tagged("a", most=1)) == 1
    registry.untag_version("churn", 1, ["b", "never there"])
    assert registry.version("churn", 1).tags == {"a": "1"}
    registry.remove_alias("churn", CHAMPION)
    assert registry.aliases("churn") == {}
    with pytest.raises(AbsentError, match="holds no version 3 of churn"):
        registry.version("churn", 3)


@pytest.mark.parametrize("after", range(11))
def test_whatever_ends_a_decision_the_next_look_finishes_it(world: World, after: int) -> None:
    """Ended after so many writes; there are ten."""
    world.experiment = experiment(freeze=[YEAR_END])
    champion = world.crowned()
    number = world.version("waiting", compared=str(champion), **{FROZEN_UNTIL: "x"})
    world.look()
    world.now = datetime(2027, 1, 4, 9, tzinfo=UTC)
    look_that_ends(world, after, writes=10)
    world.look()
    world.now += champions.UNDER_WAY
    world.look()
    assert (world.alias, world.by_decision) == (number, number)
    assert world.decision(number).outcome == "promoted"
    assert FROZEN_UNTIL not in world.tags(number)


@pytest.mark.parametrize("after", range(15))
def test_whatever_ends_an_approval_the_next_look_finishes_it(world: World, after: int) -> None:
    """Ended after so many writes; there are fourteen."""
    world.experiment = experiment(approval="manual")
    number = world.version("waiting")
    world.person(number, by="ann", approve="good")
    look_that_ends(world, after, writes=14)
    world.look()
    assert (world.alias, world.by_decision) == (number, number)
    assert (world.decision(number).outcome, world.decision(number).by) == ("promoted", "ann")
    assert not {APPROVE, APPROVED_BY} & world.tags(number).keys()


@pytest.mark.parametrize("mode", ["accept", "report", "put_back"])
def test_an_alias_moved_back_before_anybody_looked_was_moved_by_hand(
    world: World, mode: str
) -> None:
    """The first one is champion and seen; the second is decided for and gets the alias; a person
    moves it back. The decision was carried out: it is not to be finished."""
    world.experiment = experiment(by_hand=mode)
    first, second = world.crowned(), world.version("promoted")
    assert world.look().champions == {"churn": first}
    champions.crown(world.registry, "churn", second, now=world.now)
    world.registry.set_alias("churn", CHAMPION, first)
    world.now += champions.UNDER_WAY
    look = world.look()
    rightful = second if mode == "put_back" else first
    assert (world.alias, world.by_decision) == (rightful, rightful)
    assert look.champions == {"churn": rightful}
    assert bool(look.moves) == (mode != "accept")


@pytest.mark.parametrize("mode", ["accept", "report", "put_back"])
@pytest.mark.parametrize("outcome", ["promoted", "waiting", "refused"])
def test_an_alias_moved_by_hand(world: World, mode: str, outcome: str) -> None:
    world.experiment = experiment(by_hand=mode)
    other, champion = world.version(outcome), world.crowned()
    assert world.look().champions == {"churn": champion}
    world.registry.set_alias("churn", CHAMPION, other)
    look = world.look()
    if mode == "put_back":
        assert (world.alias, look.champions) == (champion, {"churn": champion})
        assert "moved here by hand, and put back to version 2" in world.tags(other)[MOVED_BY_HAND]
        assert world.decision(other).outcome == outcome
    elif outcome == "refused":
        assert (world.alias, look.champions) == (other, {})
        assert world.decision(other).outcome == "refused"
        assert (MOVED_BY_HAND in world.tags(other)) == (mode == "report")
    else:
        assert (world.by_decision, look.champions) == (other, {"churn": other})
        decision = world.decision(other)
        assert (decision.outcome, decision.by) == ("promoted", BY_HAND)
        assert (MOVED_BY_HAND in world.tags(other)) == (mode == "report")
    assert bool(look.moves) == (mode != "accept")
    before = len(world.registry.written)
    assert world.look().moves == {}
    assert len(world.registry.written) == before, "told once"


@pytest.mark.parametrize("mode", ["report", "put_back"])
@pytest.mark.parametrize("call", range(1, 12))
def test_a_promotion_while_the_sensor_acts_on_a_move_wins(
    world: World, mode: str, call: int
) -> None:
    """At whichever call of the look it happens, the last decision has the alias in the end."""
    world.experiment = experiment(by_hand=mode)
    other, champion = world.version("promoted"), world.crowned()
    world.look()
    new = world.version("promoted", compared=str(champion))
    world.registry.set_alias("churn", CHAMPION, other)
    at = world.now

    def promoted() -> None:
        champions.crown(world.registry, "churn", new, now=at)

    world.registry.between[world.registry.calls + call] = promoted
    moves = world.look().moves
    if call == 1:
        assert moves == {}, "what the look began with was looked up again before it was acted on"
        assert (world.alias, world.by_decision) == (new, new)
    if world.registry.between:
        promoted()
    if mode == "put_back":
        assert (world.alias, world.by_decision) == (new, new), "at once, and not a minute later"
    for _ in range(3):
        world.look()
        world.now += champions.UNDER_WAY
    assert world.alias == world.by_decision
    assert world.alias in ((new,) if mode == "put_back" else (new, other))


@pytest.mark.parametrize("mode", ["accept", "report", "put_back"])
def test_a_promotion_that_nobody_repeats_is_finished_after_a_minute(
    world: World, mode: str
) -> None:
    """Decided, and killed before the alias followed: that is no move by hand."""
    world.experiment = experiment(by_hand=mode)
    champion = world.crowned()
    world.look()
    new = world.version("promoted", compared=str(champion))
    world.registry.ends_after = len(world.registry.written) + 1
    with pytest.raises(KilledError):
        champions.crown(world.registry, "churn", new, now=world.now)
    world.registry.ends_after = None
    world.decided.clear()  # the sensor has forgotten what it saw
    assert world.look().notes == ["churn: the alias champion is being moved"]
    assert (world.alias, world.by_decision) == (champion, new)
    world.decided = {"churn": champion}
    world.now += champions.UNDER_WAY
    look = world.look()
    assert look.notes == [f"churn {new} got the alias champion, as was decided"]
    assert (world.alias, look.champions, look.moves) == (new, {"churn": new}, {})


@pytest.mark.parametrize(
    ("mode", "served"), [("accept", "other"), ("report", "other"), ("put_back", "champion")]
)
def test_what_endpoints_may_serve_before_the_sensor_has_looked(
    world: World, mode: Any, served: str
) -> None:
    known = {"other": world.version("promoted"), "champion": world.crowned()}
    world.registry.set_alias("churn", CHAMPION, known["other"])
    assert champions.current(world.registry, "churn", by_hand=mode) == known[served]


def test_what_was_refused_is_fetched_for_no_endpoint(world: World, tmp_path: Path) -> None:
    number = world.version("refused")
    world.registry.set_alias("churn", CHAMPION, number)
    with pytest.raises(RegistryError, match="version 1 of churn was refused: passed"):
        releases.fetch(world.registry, "churn", number, tmp_path)


def test_a_registry_of_an_older_program_is_learnt_bit_by_bit() -> None:
    """A first look at very many models writes no more than others, and all may be deployed."""
    many = [make_experiment(name=f"model{n}") for n in range(MOST_LOOKS + 5)]
    registry = HookedMemory()
    for each in many:
        number = registry.register(each.name, source="s", run_id="", tags={"mlops.bundle_uri": "b"})
        registry.set_alias(each.name, CHAMPION, number)
    decided: dict[str, int] = {}
    for learnt in (MOST_LOOKS, 5, 0):
        registry.written.clear()
        look = Look(
            registry,
            decided=decided,
            watched={},
            attempt=lambda *_: None,
            has_rows=lambda _: True,
            now=NOW,
            dagster_url="",
        )
        look.take(many)
        decided = dict(look.champions)
        assert decided == {each.name: 1 for each in many}
        assert len(registry.written) == learnt


@pytest.mark.parametrize("call", range(1, 5))
def test_of_two_decisions_at_once_one_has_the_alias(world: World, call: int) -> None:
    for _ in range(2):
        world.version("promoted")

    def second() -> None:
        champions.crown(world.registry, "churn", 2, now=world.now)

    world.registry.between[world.registry.calls + call] = second
    champions.crown(world.registry, "churn", 1, now=world.now)
    if world.registry.between:
        second()
    assert world.alias == world.by_decision


@pytest.mark.parametrize("mode", ["report", "put_back"])
@pytest.mark.parametrize("call", range(1, 6))
def test_a_look_while_a_version_is_promoted_sees_no_move(
    world: World, mode: str, call: int
) -> None:
    world.experiment = experiment(by_hand=mode)
    champion = world.crowned()
    world.look()
    new = world.version("promoted", compared=str(champion))
    seen: list[str] = []
    world.registry.between[world.registry.calls + call] = lambda: seen.extend(world.look().moves)
    champions.crown(world.registry, "churn", new, now=world.now)
    seen.extend(world.look().moves)
    assert seen == []
    assert (world.alias, world.by_decision) == (new, new)
    assert world.decided == {"churn": new}


acts = st.sampled_from(["promote", "move", "remove", "look", "look", "wait"])


@given(
    mode=st.sampled_from(["accept", "report", "put_back"]),
    history=st.lists(
        st.tuples(acts, st.integers(1, 3), st.integers(1, 14), acts, st.integers(1, 3)),
        max_size=12,
    ),
)
@settings(deadline=None, max_examples=80)
def test_whatever_happens_the_alias_and_the_decision_agree_in_the_end(
    mode: str, history: list[tuple[str, int, int, str, int]]
) -> None:
    """Acts that begin while others are under way, and moves by hand between them."""
    world = World(HookedMemory(), experiment(by_hand=mode))
    world.crowned()
    for _ in range(2):
        world.version("promoted", compared="1")
    decided = [1]

    def act(what: str, number: int) -> None:
        if what == "promote":
            decided.append(number)
            champions.crown(world.registry, "churn", number, now=world.now)
        elif what == "move":
            MemoryRegistry.set_alias(world.registry, "churn", CHAMPION, number)  # type: ignore[arg-type]
        elif what == "remove":
            MemoryRegistry.remove_alias(world.registry, "churn", CHAMPION)  # type: ignore[arg-type]
        elif what == "wait":
            world.now += champions.UNDER_WAY
        else:
            world.look()

    for what, number, call, other, another in history:
        world.registry.between[world.registry.calls + call] = lambda w=other, n=another: act(w, n)
        act(what, number)
        world.registry.between.clear()
    for _ in range(4):
        world.look()
        world.now += champions.UNDER_WAY
    if mode == "put_back":
        assert world.alias == world.by_decision
        assert world.by_decision in decided, "nothing but a decision makes a champion"
    else:
        assert world.alias in (world.by_decision, None)
    written = len(world.registry.written)
    world.look()
    assert len(world.registry.written) == written, "it comes to rest"
