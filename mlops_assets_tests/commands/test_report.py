"""`mlops report` where little is there, or a part of it cannot be read: a file always."""

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import cli
from mlops_assets_tests.commands.project import CHURN, OURS, Project
from mlops_assets_tests.monitoring.report.test_render import Page


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path / "project")
    found.root.mkdir()
    found.write(CHURN)
    return found


def report(project: Project, file: Path, **variables: str) -> Result:
    """The command with the project's variables alone: MLflow leaves its own in the environment."""
    env = {name: None for name in os.environ if name.startswith(OURS)}
    env |= {"MLOPS_ROOT": str(project.root), **variables}
    return CliRunner().invoke(cli, ["report", "churn", "-o", str(file)], env=env)


def reported(project: Project, file: Path, **variables: str) -> tuple[Result, str]:
    done = report(project, file, **variables)
    assert done.exit_code == 0, done.output
    return done, " ".join("".join(Page(file.read_text(encoding="utf-8")).text).split())


def test_before_the_first_run_every_section_says_so_and_nothing_is_made(
    project: Project, tmp_path: Path
) -> None:
    done, text = reported(project, tmp_path / "out.html")
    assert done.output.startswith("churn was never deployed.\n")
    for said in (
        "this experiment keeps no log of its predictions",
        "No row of traffic was profiled yet",
        "No traffic was compared with anything yet",
        "No traffic was held to what is expected yet",
        "Nothing was trained, decided or deployed in the last 30 days",
        "Nothing was ever run",
        "No version is registered yet",
    ):
        assert said in text
    assert [path.name for path in project.root.iterdir()] == ["configs"]


def test_what_does_not_answer_or_cannot_be_read_is_said(project: Project, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    broken = project.root / ".mlops" / "data" / "records" / "churn" / "serving_profile"
    broken.mkdir(parents=True)
    (broken / "latest.json").write_text("{")
    _, text = reported(project, tmp_path / "out.html", MLFLOW_TRACKING_URI=uri)
    assert "MLflow was not asked: MLflow does not answer" in text
    assert "No row of traffic was profiled yet" in text


def test_a_file_that_cannot_be_written_is_said(project: Project) -> None:
    done = report(project, project.root / "nowhere" / "out.html")
    assert done.exit_code == 1
    assert "cannot be written" in done.output
