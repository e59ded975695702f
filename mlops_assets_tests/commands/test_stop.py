"""`mlops stop` of an endpoint on this machine: what it ends, and what it tells whoever watches."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets import resources
from mlops_assets import vocabulary as names
from mlops_assets.commands import kept
from mlops_assets.commands.instance import open_instance
from mlops_assets.deployment.journal import Journal, Progress
from mlops_assets.deployment.rollout import roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release
from mlops_assets.deployment.targets.local import Local
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.fakes.target import KilledError

ENDPOINT = names.endpoint_key("churn", "local")


class KilledShifting(Journal):
    """Of a run that is killed as soon as it has said that it shifts the traffic."""

    def write(self, progress: Progress) -> None:
        super().write(progress)
        if progress.stage == "shifting":
            raise KilledError


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("stop") / "bundle")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path, (("MLOPS_USER", "ada"),))
    made.write(CHURN)
    yield made
    made.retire()


def deploy(
    project: Project, built: Built, version: int, kind: type[Journal] = Journal
) -> dict[str, Any]:
    """Roll out, and report it as the endpoint's asset does."""
    live = roll_out(
        Local(kind="local"),
        Release("churn", version, built.digest, "", Recording(str(project.root / "p"), 3600)),
        built.folder,
        spec=RolloutSpec(),
        journal=kind(kept.store(project.settings), "churn", "local"),
        context=resources.target_context(project.settings),
        run="a-run",
        tell=lambda _: None,
    ).endpoint
    said = {"state": live.state, "version": live.version, "since": live.since, "url": live.url}
    with open_instance(project.settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(ENDPOINT, metadata=said))
    return said


def stopped_at(project: Project) -> float | None:
    with open_instance(project.settings) as instance:
        return names.stopped_at(instance, ENDPOINT)


def test_the_history_ends_there_and_goes_on_when_the_version_is_deployed_again(project, built):
    since = deploy(project, built, 2)["since"]
    assert stopped_at(project) is None
    assert "stopped; version 2" in project.mlops("stop", "churn")
    at = stopped_at(project)
    assert "was stopped already" in project.mlops("stop", "churn")
    assert stopped_at(project) == at is not None
    (one,) = project.json("history", "churn")
    assert (one["since"], one["stopped_by"]) == (since, "ada")
    until = datetime.fromisoformat(one["until"])
    assert abs((until - datetime.fromtimestamp(at, UTC)).total_seconds()) <= 10
    assert f"{one['until']} (stopped)" in project.mlops("history", "churn")
    assert "stopped by    ada" in project.mlops("history", "churn", "--version", "2")
    with open_instance(project.settings) as instance:
        made = instance.get_latest_materialization_event(ENDPOINT).asset_materialization
    assert f"| {one['until']} (stopped) |" in made.metadata["history"].value

    again = deploy(project, built, 2)
    assert stopped_at(project) is None
    before, after = project.json("history", "churn")
    assert (before["until"], after["since"], after["until"]) == (one["until"], again["since"], "")


@pytest.mark.parametrize("before", [None, 1])
def test_a_rollout_whose_run_was_killed_is_ended(project, built, before):
    if before is not None:
        deploy(project, built, before)
    with pytest.raises(KilledError):
        deploy(project, built, 2, KilledShifting)
    said = "stopped; version 1" if before else "was never deployed"
    assert f"churn on local: {said}" in project.mlops("stop", "churn")
    progress = Journal(kept.store(project.settings), "churn", "local").read()
    assert (progress.version, progress.stage) == (2, "rolled_back")
    assert deploy(project, built, 3)["version"] == 3


def test_what_a_run_works_on_is_left_to_it(project, built):
    from mlops_assets.commands.instance import claimed

    deploy(project, built, 1)
    with pytest.raises(KilledError):
        deploy(project, built, 2, KilledShifting)
    with claimed(project.settings, "churn"):
        said = project.mlops("stop", "churn")
    assert "churn is being run by process" in said
    assert "stopped; version 1" in said
    assert Journal(kept.store(project.settings), "churn", "local").read().stage == "shifting"


def test_a_journal_that_cannot_be_read_keeps_nothing_serving(project, built):
    deploy(project, built, 1)
    store = kept.store(project.settings)
    store.write_json("churn/rollouts/local.json", {"surprise": 1})
    said = project.mlops("stop", "churn", code=1)
    assert "a rollout is left unfinished: " in said
    assert "does not hold a rollout's progress" in said
    context = resources.target_context(project.settings)
    assert Local(kind="local").observe("churn", context).state == "stopped"
