"""Approvals by tag, freezes that end, and aliases moved by hand, on a real MLflow store."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import (
    ANSWER,
    APPROVE,
    APPROVED_BY,
    FROZEN_UNTIL,
    MOVED_BY_HAND,
    ROLLED_BACK,
)
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry, RefusedError
from mlops_assets_tests.registry.deciding import NOW, YEAR_END, World, experiment, stored


@pytest.fixture
def world(model_registry: ModelRegistry) -> World:
    return stored(model_registry, experiment(approval="manual"))


def text(world: World, number: int) -> str:
    """What `decision.md` of the version's run says."""
    run_id = world.registry.version("churn", number).run_id
    with TemporaryDirectory() as folder:
        path = world.registry.download(f"runs:/{run_id}/decision.md", Path(folder))
        return path.read_text(encoding="utf-8")


def test_an_approval_by_tag_makes_the_champion_once(world: World) -> None:
    number = world.version("waiting")
    assert world.look().champions == {}
    world.person(number, by="ann", approve="the board agreed")
    look = world.look()
    assert look.champions == {"churn": number}
    assert look.notes == ["churn 1: approved by ann: the board agreed"]
    assert (world.alias, world.by_decision) == (number, number)
    decision = world.decision(number)
    assert (decision.outcome, decision.by) == ("promoted", "ann")
    assert decision.reason == "the board agreed"
    assert "approved by ann" in world.tags(number)[ANSWER]
    assert not {APPROVE, APPROVED_BY} & world.tags(number).keys()
    written = len(world.registry.written)
    assert world.look().notes == []
    assert len(world.registry.written) == written, "nothing is left to answer"
    said = text(world, number)
    assert "- Outcome: **promoted**\n- Why: the board agreed\n- Decided by: ann" in said
    assert "- Made by: bob" in said
    assert "## Intended use\n\nLetters to customers." in said


def test_a_request_without_a_name_waits_for_one_and_says_so_once(world: World) -> None:
    number = world.version("waiting")
    world.person(number, approve="good")
    world.look()
    assert (
        "Nobody is named who approves: set the tag mlops.approved_by" in world.tags(number)[ANSWER]
    )
    written = len(world.registry.written)
    world.look()
    assert len(world.registry.written) == written
    assert world.alias is None
    world.person(number, by="ann")
    assert world.look().champions == {"churn": number}


def test_a_refusal_is_written_once_and_the_request_is_gone(world: World) -> None:
    number = world.version("waiting")
    world.person(number, by="Bob", approve="mine is best")
    look = world.look()
    assert look.champions == {}
    assert "refused: Bob made this version, and nobody approves their own" in look.notes[0]
    assert "nobody approves their own" in world.tags(number)[ANSWER]
    assert world.decision(number).outcome == "waiting"
    written = len(world.registry.written)
    world.look()
    assert len(world.registry.written) == written


def test_late_repeated_and_strange_tags_change_nothing(world: World) -> None:
    old, champion = world.version("promoted"), world.crowned()
    refused = world.version("refused")
    undecided = world.registry.register("churn", source="runs:/r/model", run_id="", tags={})
    theirs = world.registry.register("other", source="runs:/r/model", run_id="", tags={})
    world.registry.client.set_model_version_tag("other", str(theirs), APPROVE, "x")
    for number in (old, champion, refused, undecided):
        world.person(number, by="ann", approve="again")
    # Somebody wants an old version back through the door of freezes.
    world.registry.tag_version("churn", old, {FROZEN_UNTIL: "2020-01-01", ROLLED_BACK: "to 2"})
    before = {n: world.decision(n) for n in (old, champion, refused)}
    world.look()
    assert (world.alias, world.by_decision) == (champion, champion)
    assert {n: world.decision(n) for n in before} == before
    answers = {n: world.tags(n)[ANSWER] for n in (old, champion, refused, undecided)}
    assert "it is the champion already" in answers[champion]
    assert "compared version 1 with champion none, and it is 2 now" in answers[old]
    assert "was refused by the gates" in answers[refused]
    assert "has no serving bundle" in answers[undecided]
    assert FROZEN_UNTIL not in world.tags(old)
    assert ANSWER not in world.registry.version("other", theirs).tags


def test_a_rejected_version_is_refused_for_good(world: World) -> None:
    number = world.version("waiting")
    world.person(number, by="ann", approve="good", reject="unfair to tenants")
    assert world.look().champions == {}
    decision = world.decision(number)
    assert (decision.outcome, decision.by) == ("refused", "ann")
    assert decision.reason == "rejected: unfair to tenants"
    world.person(number, by="eve", approve="never mind")
    world.look()
    assert world.alias is None
    assert "was refused by ann (rejected: unfair to tenants)" in world.tags(number)[ANSWER]
    champion = world.crowned()
    world.person(champion, by="ann", reject="no")
    world.look()
    assert "bring back another version with mlops rollback" in world.tags(champion)[ANSWER]
    assert world.decision(champion).outcome == "promoted"


def test_what_a_freeze_held_up_becomes_champion_after_it_the_newest_first(world: World) -> None:
    world.experiment = experiment(freeze=[YEAR_END])
    champion = world.crowned()
    older, newer = (world.version("waiting", compared="1", **{FROZEN_UNTIL: "x"}) for _ in "12")
    look = world.look()
    assert look.champions == {"churn": champion}
    assert any("churn 3 waits: frozen until 2027-01-04T08:00+00:00 (end" in n for n in look.notes)
    world.now = datetime(2027, 1, 4, 7, 59, 44, tzinfo=UTC)
    assert world.look().champions == {"churn": champion}
    assert world.look().champions == {"churn": newer}
    assert (world.alias, world.by_decision) == (newer, newer)
    assert world.decision(newer).reason == "it passed the gates, and the freeze is over"
    superseded = world.decision(older)
    assert superseded.outcome == "refused"
    assert superseded.reason.startswith("superseded: it was not compared with version 3")
    assert not [n for n in (older, newer) if FROZEN_UNTIL in world.tags(n)]


def test_an_approval_in_a_freeze_is_refused_and_may_be_repeated_after_it(world: World) -> None:
    world.experiment = experiment(approval="manual", freeze=[YEAR_END])
    number = world.version("waiting")
    for now, outcome in ((NOW, "waiting"), (datetime(2027, 1, 5, tzinfo=UTC), "promoted")):
        world.now = now
        world.person(number, by="ann", approve="good")
        world.look()
        assert world.decision(number).outcome == outcome


def test_an_alias_moved_by_hand_is_reported_and_put_back(world: World) -> None:
    world.experiment = experiment(by_hand="put_back")
    other, champion = world.version("waiting"), world.crowned()
    assert world.look().champions == {"churn": champion}
    world.registry.set_alias("churn", CHAMPION, other)
    look = world.look()
    assert (world.alias, look.champions) == (champion, {"churn": champion})
    said = "the alias champion was moved here by hand, and put back to version 2"
    assert look.moves == {"churn": f"churn 1: {said}"}
    assert said in world.tags(other)[MOVED_BY_HAND]


def test_an_alias_is_not_put_back_to_a_version_that_is_gone(world: World) -> None:
    world.experiment = experiment(by_hand="put_back")
    other, champion = world.version("promoted"), world.crowned()
    world.look()
    world.registry.client.delete_model_version("churn", str(champion))
    assert "was deleted" in world.look().notes[0]
    world.registry.set_alias("churn", CHAMPION, other)
    assert world.look().champions == {"churn": other}
    assert champions.current(world.registry, "churn", by_hand="put_back") == other


def test_an_alias_that_was_taken_away_is_put_back(world: World) -> None:
    champion = world.crowned()
    world.look()
    world.registry.remove_alias("churn", CHAMPION)
    assert world.look().notes == ["churn: the alias champion was taken away by hand"]
    assert world.alias is None
    world.experiment = experiment(by_hand="put_back")
    assert world.look().champions == {"churn": champion}
    assert world.alias == champion


def test_an_alias_on_what_nobody_decided_about_is_taken_away(world: World) -> None:
    world.experiment = experiment(by_hand="put_back")
    waiting = world.version("waiting")
    world.registry.set_alias("churn", CHAMPION, waiting)
    assert world.look().champions == {}
    assert world.alias is None


def test_a_registry_without_decisions_is_taken_as_it_is(world: World) -> None:
    """As an older program left it; from then on moves are seen."""
    world.experiment = experiment(by_hand="put_back")
    first, second = world.version("promoted"), world.version("promoted")
    world.registry.set_alias("churn", CHAMPION, first)
    assert world.look().champions == {"churn": first}
    world.registry.set_alias("churn", CHAMPION, second)
    assert world.look().champions == {"churn": first}
    world.registry.tag_model("churn", {champions.CHAMPION_TAG: "somebody's words"})
    assert world.look().champions == {"churn": first}


def test_a_version_that_may_not_be_tagged_holds_up_nobody(world: World) -> None:
    """As MLflow answers for a model that is somebody else's, by its own permissions."""
    refused = world.version("waiting")
    world.person(refused, by="ann", approve="the board agreed")
    champion = world.crowned()

    class Theirs(ModelRegistry):
        def tag_version(self, name: str, version: int, tags: Mapping[str, str]) -> None:
            if version == refused:
                raise RefusedError(f"MLflow cannot tag version {version} of {name}: no permission")
            super().tag_version(name, version, tags)

    world.registry = Theirs(world.registry.tracking_uri, "", "")
    look = world.look()
    assert look.champions == {"churn": champion}
    assert look.notes[-1] == "churn 1: MLflow cannot tag version 1 of churn: no permission"


def test_what_mlflow_refuses_to_write_is_told_from_what_it_does_not_answer(world: World) -> None:
    with pytest.raises(RefusedError, match="MLflow cannot tag version 9 of churn"):
        world.registry.tag_version("churn", 9, {"a": "b"})
    with pytest.raises(RefusedError, match="cannot give the alias champion to version 9 of churn"):
        world.registry.set_alias("churn", CHAMPION, 9)
