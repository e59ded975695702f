"""`mlops promote` and `mlops rollback` as people run them, over a registry with versions."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from mlops_assets import vocabulary as names
from mlops_assets.cli import cli
from mlops_assets.commands.instance import open_instance
from mlops_assets.gateways.decisions import OVERRIDDEN, ROLLED_BACK
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.registry.deciding import World, experiment, stored

MANUAL = """registry:
  card: {intended_use: Letters to customers., limitations: New customers.}
"""
FROZEN = """registry:
  promotion:
    freeze:
      - {start: Mon 00:00, end: Sun 23:59, reason: all week}
      - {start: Sun 23:00, end: Mon 01:00, reason: and the rest of it}
"""
Run = Callable[..., Result]


@pytest.fixture
def world(model_registry: ModelRegistry) -> World:
    return stored(model_registry, experiment())


@pytest.fixture
def project(tmp_path: Path, world: World) -> Project:
    found = Project(tmp_path, (("MLFLOW_TRACKING_URI", world.registry.tracking_uri),))
    found.write(CHURN.replace("registry:\n", MANUAL))
    return found


@pytest.fixture
def mlops(project: Project) -> Run:
    """A command in this process, which spares the start of one per case."""

    def run(*arguments: str, user: str = "ann") -> Result:
        variables = {"MLOPS_ROOT": str(project.root), "MLOPS_USER": user, "DAGSTER_HOME": None}
        chosen: dict[str, str | None] = {**variables, **dict(project.variables)}
        return CliRunner().invoke(cli, [*arguments], env=chosen)

    return run


def test_the_newest_version_is_approved_and_it_says_what_follows(world: World, mlops: Run) -> None:
    world.version("waiting")
    number = world.version("waiting")
    dry = mlops("promote", "churn", "--reason", "good", "--dry-run")
    assert "churn version 2 would become the champion" in dry.output
    assert world.alias is None
    said = mlops("promote", "churn", "--reason", "good")
    assert said.exit_code == 0, said.output
    assert "churn version 2 is the champion" in said.output
    assert "the sensor registry_changed deploys it" in said.output
    assert "mlops status churn" in said.output
    assert (world.alias, world.by_decision) == (number, number)
    assert world.decision(number).by == "ann"
    again = mlops("promote", "churn", "2", "--reason", "good")
    assert "churn version 2 is the champion already" in again.output
    assert world.decision(number).by == "ann"
    assert world.look().champions == {"churn": number}, "the sensor sees no move by hand"


def test_everything_against_it_is_said_at_once_and_nothing_changes(
    world: World, project: Project, mlops: Run
) -> None:
    project.write(CHURN.replace("registry:\n  promotion:\n", FROZEN))
    number = world.version("waiting", compared="9")
    before = world.tags(number)
    said = mlops("promote", "churn", "1", "--reason", "mine", user="bob")
    assert said.exit_code == 1
    for words in (
        "churn version 1 is not promoted",
        "bob made this version, and nobody approves their own: ask somebody else.",
        "The gates compared version 1 with champion 9, and it is none now",
        "The model card lacks registry.card.intended_use, registry.card.limitations",
        "Promotion is frozen until",
    ):
        assert words in said.stderr
    forced = mlops("promote", "churn", "1", "--reason", "mine", "--force", user="bob")
    assert forced.exit_code == 1, "never one's own"
    assert world.tags(number) == before
    assert world.alias is None


def test_what_is_forced_is_on_record(world: World, project: Project, mlops: Run) -> None:
    project.write(CHURN.replace("registry:\n  promotion:\n", FROZEN))
    number = world.version("refused")
    outcome = mlops("promote", "churn", "1", "--reason", "law changed", "--force", "--json")
    content = json.loads(outcome.output)
    assert (content["ok"], content["changed"], content["by"]) == (True, True, "ann")
    assert [one["ground"] for one in content["overridden"]] == ["gates", "card", "freeze"]
    assert world.tags(number)[OVERRIDDEN] == "gates; card; freeze"
    assert world.decision(number).reason.startswith(
        "forced: law changed. In spite of this: Version"
    )
    assert world.alias == number


def test_a_promotion_stands_on_the_page_of_the_version(
    world: World, project: Project, mlops: Run
) -> None:
    number = world.version("waiting")
    key = names.asset_key("churn", names.REGISTERED_VERSION)
    with open_instance(project.settings) as instance:
        assert mlops("promote", "churn", "--reason", "the board agreed").exit_code == 0
        (record,) = instance.fetch_observations(key, limit=5).records
    assert record.asset_observation is not None
    assert record.asset_observation.description == f"version {number}: the board agreed (ann)"


def test_json_tells_a_refusal_too(world: World, mlops: Run) -> None:
    world.version("waiting")
    outcome = mlops("promote", "churn", "--reason", " ", "--json")
    assert outcome.exit_code == 1
    content = json.loads(outcome.output)
    assert (content["ok"], content["changed"]) == (False, False)
    assert [one["ground"] for one in content["refusals"]] == ["reason"]


def test_what_is_not_there_is_said(world: World, mlops: Run) -> None:
    said = mlops("promote", "churn", "--reason", "x")
    assert "churn: nothing was ever registered" in said.output
    world.version("waiting")
    said = mlops("promote", "churn", "7", "--reason", "x")
    assert "MLflow holds no version 7 of churn" in said.output
    assert mlops("promote", "churn").exit_code == 2, "a reason is asked for"


def test_a_rollback_is_no_way_around_an_approval(world: World, mlops: Run) -> None:
    waiting, champion = world.version("waiting"), world.crowned()
    said = mlops("rollback", "churn", "--to", str(waiting))
    assert said.exit_code == 1
    assert "version 1 of churn is waiting, and a rollback is to what was" in said.output
    assert world.alias == champion


def test_a_rollback_is_a_decision_of_a_person_and_no_move_by_hand(world: World, mlops: Run) -> None:
    """What it then deploys has no bundle here; the decision stands before that."""
    before, champion = world.version("promoted"), world.crowned()
    world.look()
    mlops("rollback", "churn", "--to", str(before), "--reason", "too many alarms")
    decision = world.decision(before)
    assert (decision.outcome, decision.by) == ("promoted", "rollback by ann: too many alarms")
    assert world.tags(champion)[ROLLED_BACK].startswith("to version 1, rollback by ann")
    look = world.look()
    assert (look.moves, look.champions) == ({}, {"churn": before})


def lived(project: Project, *versions: int) -> None:
    """What the endpoint served, oldest first, as its materializations tell."""
    key = names.endpoint_key("churn", "local")
    with open_instance(project.settings) as instance:
        for number in versions:
            said = {"state": "live", "version": number}
            instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=said))


def planned(mlops: Run) -> tuple[int, int]:
    """The champion, and the version that a rollback would go back to."""
    plan = json.loads(mlops("rollback", "churn", "--dry-run", "--json").output)
    return plan["champion"], plan["to"]


def test_a_rollback_that_is_repeated_goes_on_with_the_same_version(
    world: World, project: Project, mlops: Run
) -> None:
    """Each deployment fails here, for want of bundles: as when a command has to be repeated."""
    for _ in range(3):
        world.crowned()
    lived(project, 1, 2, 3)
    assert planned(mlops) == (3, 2)
    said = mlops("rollback", "churn", "--reason", "too many alarms")
    assert said.exit_code == 1
    assert "churn: version 2 instead of version 3" in said.output
    assert world.alias == 2
    first = world.tags(2)
    assert planned(mlops) == (2, 2)
    again = mlops("rollback", "churn", user="bob")
    assert "churn: version 2 is the champion already; --to names another" in again.output
    assert (world.alias, world.by_decision) == (2, 2)
    assert world.tags(2) == first, "the reason stays, and nobody else's name comes to it"
    assert world.tags(3)[ROLLED_BACK].startswith("to version 2, rollback by ann")
    lived(project, 2)
    assert planned(mlops) == (2, 2), "nor when it succeeded"
    mlops("rollback", "churn", "--to", "1", "--reason", "that one is bad, too")
    assert world.alias == 1
    assert ROLLED_BACK in world.tags(2)


def test_a_rollback_passes_over_what_was_rolled_back_or_deleted(
    world: World, project: Project, mlops: Run
) -> None:
    for _ in range(4):
        world.crowned()
    lived(project, 1, 2, 3, 2, 4)
    world.registry.tag_version("churn", 3, {ROLLED_BACK: "to version 2, rollback by ann"})
    assert planned(mlops) == (4, 2)
    lived(project, 3, 4)
    assert planned(mlops) == (4, 2), "by hand it came back for a while"
    world.registry.client.delete_model_version("churn", "2")
    assert planned(mlops) == (4, 1)
    world.registry.tag_version("churn", 1, {ROLLED_BACK: "to version 0"})
    said = mlops("rollback", "churn")
    assert said.exit_code == 1
    assert "no other version was live before version 4 that was not rolled back" in said.output
    assert "name one with --to" in said.output
    assert world.alias == 4


def test_what_is_brought_back_or_approved_anew_is_good_again(
    world: World, project: Project, mlops: Run
) -> None:
    for _ in range(2):
        world.crowned()
    lived(project, 1, 2)
    mlops("rollback", "churn")
    assert ROLLED_BACK in world.tags(2)
    mlops("rollback", "churn", "--to", "2", "--reason", "it was the network")
    assert world.alias == 2
    assert ROLLED_BACK not in world.tags(2)
    assert ROLLED_BACK in world.tags(1)
    said = mlops("promote", "churn", "1", "--reason", "looked at it again", "--force")
    assert said.exit_code == 0, said.output
    assert ROLLED_BACK not in world.tags(1)
    assert not world.decision(1).is_rollback
