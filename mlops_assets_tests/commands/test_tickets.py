"""`mlops tickets`, `mute` and `unmute` as people run them, beside what the sensor wrote down."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import cli
from mlops_assets.commands.instance import open_instance
from mlops_assets.monitoring.tickets.advice import advice_of
from mlops_assets.monitoring.tickets.course import Surroundings, step
from mlops_assets.monitoring.tickets.shelf import Desk, Shelf
from mlops_assets_tests.commands.project import CHURN, Project
from mlops_assets_tests.monitoring.report.test_render import Page
from mlops_assets_tests.monitoring.tickets.world import DRIFT, FRESH, PROBE, finding

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One whose sensor found a dead endpoint just now."""
    made = Project(tmp_path_factory.mktemp("tickets"))
    made.write(CHURN)
    now = datetime.now(UTC).timestamp()
    with open_instance(made.settings) as instance:
        shelf = Shelf(instance.daemon_cursor_storage)
        book = step(
            shelf.read(["churn"])[1]["churn"],
            {cause: finding(cause, now) for cause in (PROBE, FRESH, DRIFT)},
            Surroundings("churn", (), 3600, "", ""),
            known=lambda _: True,
            muted=lambda _: False,
            now=now,
        )
        shelf.save("churn", book)
        shelf.save_desk(Desk(looked=now))
    return made


@pytest.fixture
def mlops(project: Project) -> Run:
    def run(*arguments: str) -> Result:
        # MLflow leaves its variable in the process where a test before used it.
        unset = dict.fromkeys(("DAGSTER_HOME", "MLFLOW_TRACKING_URI"))
        variables = {"MLOPS_ROOT": str(project.root), "MLOPS_USER": "ann", **unset}
        return CliRunner().invoke(cli, [*arguments], env=variables)

    return run


def test_where_nothing_ran_nothing_is_made(tmp_path: Path) -> None:
    Project(tmp_path).write(CHURN)
    said = CliRunner().invoke(
        cli, ["tickets"], env={"MLOPS_ROOT": str(tmp_path), "DAGSTER_HOME": None}
    )
    assert "has never looked" in said.output
    assert not (tmp_path / ".dagster").exists()


def test_the_worst_comes_first_with_what_to_do(mlops: Run) -> None:
    said = mlops("tickets")
    assert said.exit_code == 0, said.output
    first, *rest = said.output.splitlines()
    assert first == f"churn#1: {PROBE}"
    assert any(line.startswith("  next") and "deploy job" in line for line in rest)
    assert "RUNBOOK.md#answers_probe" in said.output
    assert "1 open; looked" in rest[-1]
    notes = {
        one["cause"]: one["note"] for one in json.loads(mlops("tickets", "--json").output)["held"]
    }
    assert notes == {PROBE: "", FRESH: f"follows from {PROBE}", DRIFT: f"follows from {PROBE}"}
    assert f"churn#1 critical: {PROBE} since" in mlops("status", "churn").output


def test_the_report_has_them_with_what_to_do(mlops: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = mlops("report", "churn", "-o", str(file))
    assert done.exit_code == 0, done.output
    text = "".join(Page(file.read_text(encoding="utf-8")).text)
    assert "churn#1" in text
    assert PROBE in text
    assert advice_of(PROBE).action in text
    assert "No version is registered yet" in text


def test_a_mute_is_said_and_ended(mlops: Run) -> None:
    said = mlops("mute", "churn", "answers_probe", "--for", "2h", "--reason", "an upgrade")
    assert said.exit_code == 0, said.output
    assert "churn answers_probe is muted until" in said.output
    assert "by ann (an upgrade)" in mlops("tickets", "churn").output
    assert "is not muted any more (an upgrade)" in mlops("unmute", "churn").output
    assert "nothing of churn was muted" in mlops("unmute", "churn").output
    assert mlops("mute", "all", "--for", "1d", "--reason", "moving").exit_code == 0


def test_what_is_not_there_cannot_be_muted(mlops: Run) -> None:
    said = mlops("mute", "churn", "answer_probe", "--for", "2h", "--reason", "x")
    assert said.exit_code == 1
    assert "did you mean 'answers_probe'?" in said.output
    said = mlops("mute", "churn", "--for", "2w", "--reason", "x")
    assert said.exit_code == 2
    assert "'2w' is no duration: write 90m, 2h or 3d" in said.output
