"""What the history says of versions that are registered, deleted, or cannot be asked about."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlops_assets.commands.history import Told, as_plain, detail, overview, with_registry
from mlops_assets.deployment.history import Deployment, Reported, told
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.registered import Origin
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.commands.project import Project

ORIGIN = Origin("d" * 64, 1200, "s" * 64, "c" * 40, "f" * 12)
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def deployed(version: int, day: int, origin: Origin) -> Reported:
    at = f"2026-05-0{day}T00:00:00+00:00"
    said = {"state": "live", "version": version, "since": at, **origin.known()}
    return Reported(said, f"run-{day}", at)


@pytest.fixture
def project(tmp_path, model_registry: ModelRegistry) -> Project:
    return Project(tmp_path, (("MLFLOW_TRACKING_URI", model_registry.tracking_uri),))


def entries(project: Project, *found: Deployment) -> list[Told]:
    entries, trouble = with_registry(project.settings, make_experiment(), found)
    assert trouble == ""
    return entries


def test_a_deleted_version_says_so_and_keeps_what_was_written_down(
    project: Project, model_registry: ModelRegistry
) -> None:
    tags = {f"mlops.{name}": str(value) for name, value in ORIGIN.known().items()}
    for _ in range(3):
        model_registry.register("churn", source="runs:/r/model", run_id="", tags=tags)
    for number in ("1", "2"):
        model_registry.client.delete_model_version("churn", number)
    older, deleted, kept = entries(
        project,
        *told(
            "local", [deployed(1, 1, Origin()), deployed(2, 2, ORIGIN), deployed(3, 3, Origin())]
        ),
    )
    assert [one.registered for one in (older, deleted, kept)] == [False, False, True]
    assert (older.deployment.origin, deleted.deployment.origin) == (Origin(), ORIGIN)
    assert kept.deployment.origin == ORIGIN, "the tags fill in what an older program left out"

    text = overview([older, deleted, kept], NOW)
    assert "1 (deleted)" in text
    assert "2 (deleted)" in text
    assert max(map(len, text.splitlines())) < 160
    said = detail(project.settings, older, NOW)
    assert "not written down when it was deployed, and the version is deleted" in said
    said = detail(project.settings, deleted, NOW)
    for words in ("1,200 rows", "c" * 40, "f" * 12, ", 1 d\n", "the version was deleted"):
        assert words in said


def test_json_has_how_long_and_where_it_came_from(project: Project) -> None:
    (one,) = entries(project, *told("local", [deployed(1, 1, ORIGIN)]))
    plain = as_plain(one, NOW)
    assert (plain["live_s"], plain["registered"]) == (3 * 86_400, False)
    assert plain["origin"]["code_version"] == "c" * 40


def test_without_a_registry_the_event_log_answers(project: Project) -> None:
    there = (("MLFLOW_TRACKING_URI", "http://127.0.0.1:9"),)
    found = tuple(told("local", [deployed(1, 1, ORIGIN)]))
    settings = replace(project, variables=there).settings
    (one,), trouble = with_registry(settings, make_experiment(), found)
    assert "MLflow does not answer" in trouble
    assert (one.registered, one.deployment.origin) == (None, ORIGIN)
