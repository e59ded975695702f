"""Where experiments stand when nothing was done yet, or when a store is not there."""

import json
import socket
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from mlops_assets.commands.standing import next_retraining
from mlops_assets.commands.status import gathered, render
from mlops_assets.experiment import loader
from mlops_assets_tests.commands.project import CHURN, Project

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def project(tmp_path):
    found = Project(tmp_path)
    found.write(CHURN)
    return found


def experiment(project):
    return loader.load(project.root / "configs" / "churn.yaml")


def standing(project):
    (one,) = gathered(project.settings, (experiment(project),), now=datetime.now(BERLIN))
    return one


def test_before_the_first_run_nothing_is_there_and_nothing_is_made(project):
    one = standing(project)
    assert [e["state"] for e in one.endpoints] == ["never deployed"]
    assert (one.champion, one.registry_error, one.drift) == (None, "", "not judged yet")
    assert {check.verdict for check in one.checks} == {"never"}
    assert "champion    none yet" in render(one) or "champion  none yet" in render(one)
    assert [path.name for path in project.root.iterdir()] == ["configs"]


def test_a_registry_that_does_not_answer_is_said(project):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    one = standing(Project(project.root, (("MLFLOW_TRACKING_URI", uri),)))
    assert "MLflow does not answer" in one.registry_error
    assert uri in render(one)


def test_a_registry_that_is_no_database_is_said(project):
    path = project.root / "mlflow.db"
    path.write_text("not a database, " * 100)
    one = standing(Project(project.root, (("MLFLOW_TRACKING_URI", f"sqlite:///{path}"),)))
    assert "cannot be read" in one.registry_error


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-22T02:59+01:00", "2026-03-22T03:00+01:00"),
        ("2026-03-22T03:00+01:00", "2026-03-29T03:00+02:00"),  # the night clocks go forward
        ("2026-10-24T12:00+00:00", "2026-10-25T03:00+01:00"),  # the night clocks go back
    ],
)
def test_the_next_training_is_in_the_zone_of_the_yaml(project, now, expected):
    retrain = '  retrain: {cron: "0 3 * * 0", timezone: Europe/Berlin}\n'
    project.write(CHURN.replace("registry:\n", f"{retrain}registry:\n"))
    assert next_retraining(experiment(project), datetime.fromisoformat(now)) == expected


def test_without_a_schedule_there_is_no_next_training(project):
    assert next_retraining(experiment(project), datetime.now(BERLIN)) == ""


def test_the_plan_of_a_new_experiment_touches_nothing(project):
    plan = json.loads(project.mlops("plan", "--json"))
    assert {asset["why"] for asset in plan["assets"]} == {"never made"}
    assert (plan["trials_kept"], plan["trials_left"]) == (0, 3)
    assert plan["data"].endswith(": new")
    assert [path.name for path in project.root.iterdir()] == ["configs"]
