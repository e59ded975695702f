"""`mlops retention` as people run it, over stores with a past."""

from pathlib import Path

import pytest

from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.registry import past as builder
from mlops_assets_tests.registry.past import Past

KEEP = "registry:\n  retention: {keep_versions: 2, keep_days: 4}\n"


@pytest.fixture
def past(tmp_path: Path, model_registry: ModelRegistry) -> Past:
    return builder.make(tmp_path, model_registry, "churn", 8)


@pytest.fixture
def project(past: Past) -> Project:
    variables = {
        "MLFLOW_TRACKING_URI": past.registry.tracking_uri,
        "MLOPS_DATA_URL": str(past.root / "data"),
        "MLOPS_STUDY_URL": str(past.root / "studies"),
    }
    found = Project(past.root, tuple(variables.items()))
    found.write(CHURN.replace("registry:\n", KEEP))
    return found


def test_it_says_what_would_go_and_removes_it_when_asked(past: Past, project: Project) -> None:
    dry = project.json("retention", "churn")
    assert not dry["applied"]
    assert {one["version"] for one in dry["versions"] if one["kept"]} == {5, 6, 7, 8}
    assert past.registered == set(range(1, 9))
    said = project.mlops("retention", "churn", "--apply")
    assert "4 of 8 versions, 4 runs, 2 trials, 1 studies" in said
    assert "has the alias champion" in said
    assert past.registered == {5, 6, 7, 8}
    assert all(past.made[number].is_gone for number in range(1, 5))
    assert all(past.made[number].is_whole for number in range(5, 9))


def test_a_dead_mlflow_is_said(past: Past, project: Project) -> None:
    variables = {**dict(project.variables), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    dead = Project(project.root, tuple(variables.items()))
    said = dead.mlops("retention", "churn", "--apply", code=1)
    assert "MLflow does not answer at http://127.0.0.1:9" in said
    assert "Traceback" not in said
