"""Bad inputs and broken surroundings: one message that names the thing, and nothing half-made."""

import os
import socket
import subprocess
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_assets.cli import cli
from mlops_assets.commands.live import observe
from mlops_assets.experiment import loader
from mlops_assets_tests.commands.project import CHURN, SMALL, Project

pytestmark = pytest.mark.pipeline


def data(rows=120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age, spent = rng.integers(18, 80, rows), rng.normal(100, 20, rows).round(2)
    left = np.where(spent + rng.normal(0, 15, rows) > 100, "yes", "no")
    return pd.DataFrame({"age": age, "spent": spent, "left": left})


@pytest.fixture
def project(tmp_path) -> Project:
    found = Project(tmp_path)
    found.write(SMALL, "small.yaml")
    data().to_csv(tmp_path / "data.csv", index=False)
    return found


@pytest.fixture
def run(project, monkeypatch):
    """`mlops run` in this process, which spares the start of one per case."""
    monkeypatch.chdir(project.root)
    for name in [n for n in os.environ if n.startswith(("MLOPS_", "MLFLOW_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLOPS_ROOT", str(project.root))

    def invoke(*arguments: str, **environment: str):
        # MLflow writes its store into the environment of the process; each call here is a new one.
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(cli, ["run", *arguments])

    return invoke


def _write(frame: pd.DataFrame, path) -> None:
    frame.to_csv(path, index=False)


def refused(result, project, *said: str) -> None:
    assert result.exit_code == 1, result.output
    for words in said:
        assert words in result.output
    assert "Traceback" not in result.output
    assert project.versions("small") == 0
    assert project.leftovers() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path, _: path.unlink(), ("data.csv does not exist",)),
        (lambda path, _: path.write_bytes(b""), ("data.csv", "is empty")),
        (lambda path, frame: _write(frame.drop(columns="left"), path), ("'left'", "age, spent")),
        (lambda path, frame: _write(frame.assign(left="no"), path), ("'left'", "nothing to learn")),
        (lambda path, frame: _write(frame.assign(left=None), path), ("'left' holds no value",)),
        (
            lambda path, frame: _write(frame.rename(columns={"spent": "age"}), path),
            ("data.csv", "'age' names more than one column"),
        ),
        (
            lambda path, frame: _write(frame.assign(empty=None), path),
            ("column 'empty' holds no value; list it in features.exclude",),
        ),
    ],
    ids=[
        "missing",
        "empty",
        "no target",
        "one class",
        "target without values",
        "duplicates",
        "null",
    ],
)
def test_data_that_cannot_be_used(project, run, change, said):
    change(project.root / "data.csv", data())
    refused(run("small"), project, *said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("LogisticRegression", "LogisticRegresion", ("small.yaml:15", "did you mean Logistic")),
        ("low: 0.01, high: 10", "low: 10, high: 0.01", ("small.yaml:13", "bounds reversed")),
        ("n_trials: 2", "n_trials: 2\n  metric: rmse", ("'rmse' does not fit", "roc_auc")),
        ("description:", "descripton:", ("small.yaml:2", "did you mean 'description'")),
        ("    C:", "    K:", ("small.yaml:13", "no parameter 'K'", "it has C")),
    ],
    ids=["estimator", "bounds", "metric", "key", "parameter"],
)
def test_a_yaml_that_cannot_be_meant(project, run, old, new, said):
    assert old in SMALL
    project.write(SMALL.replace(old, new, 1), "small.yaml")
    refused(run("small"), project, *said)
    refused(run("configs/small.yaml"), project, *said)
    assert sorted(p.name for p in project.root.iterdir()) == ["configs", "data.csv"]


def test_two_experiments_of_one_name(project, run):
    project.write(SMALL, "twin.yaml")
    outside = project.root / "elsewhere.yaml"
    outside.write_text(SMALL.replace("../data.csv", "data.csv"))
    for asked in ("small", "configs/twin.yaml", "elsewhere.yaml"):
        refused(run(asked), project, "'small' is already the name in configs/small.yaml")


def test_a_file_outside_the_configs_folder_runs_with_its_own_paths(project, run, mlflow_template):
    project.with_tables(mlflow_template)
    outside = project.root / "elsewhere.yaml"
    text = SMALL.replace("../data.csv", "data.csv").replace("name: small", "name: outside")
    outside.write_text(text)
    project.write("name: [", "broken.yaml")
    result = run("elsewhere.yaml", "--no-deploy")
    assert result.exit_code == 0, result.output
    assert project.versions("outside") == 1


def test_an_unknown_name_is_answered_with_the_known_ones(project, run):
    refused(run("smal"), project, "did you mean 'small'")


def test_a_registry_that_does_not_answer(project, run):
    with taken_port() as port:
        pass  # free again: nothing listens there
    said = ("MLflow does not answer", f"http://127.0.0.1:{port}", "MLFLOW_TRACKING_URI")
    refused(run("small", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}"), project, *said)
    assert not (project.root / ".dagster").exists()


def test_a_port_that_is_taken(project, run, mlflow_template):
    project.with_tables(mlflow_template)
    with taken_port() as port:
        project.write(SMALL.replace("kind: local", f"kind: local, port: {port}"), "small.yaml")
        result = run("small")
    assert result.exit_code == 1, result.output
    assert f"{port}" in result.output
    assert "Traceback" not in result.output
    # The version is good, and served once the port is free.
    assert project.versions("small") == 1
    try:
        assert run("small", "--deploy-only").exit_code == 0
        assert project.versions("small") == 1
    finally:
        project.retire()


def test_manual_promotion_explains_itself_and_deploys_what_was_approved(
    project, run, mlflow_template
):
    project.with_tables(mlflow_template)
    manual = "registry: {promotion: {approval: manual, required: [limitations]}}\ndeployment:"
    project.write(SMALL.replace("deployment:", manual), "small.yaml")
    nothing = run("small", "--deploy-only")
    assert nothing.exit_code == 1
    assert "small has no champion to deploy" in nothing.output
    result = run("small")
    assert result.exit_code == 0, result.output
    assert "version 1 waits: it takes no traffic until somebody else approves it" in result.output
    assert "mlops promote small 1 --reason" in result.output
    assert "mlops run small --deploy-only" in result.output
    (seen,) = observe(project.settings, loader.load(project.root / "configs" / "small.yaml"))
    assert seen.endpoint is None
    own = CliRunner().invoke(cli, ["promote", "small", "1", "--reason", "mine"])
    assert own.exit_code == 1
    assert "nobody approves their own" in own.output
    assert "lacks registry.card.limitations" in own.output
    asked = ["promote", "small", "1", "--reason", "the board agreed", "--force"]
    assert CliRunner().invoke(cli, asked, env={"MLOPS_USER": "somebody else"}).exit_code == 0
    try:
        approved = run("small", "--deploy-only")
        assert approved.exit_code == 0, approved.output
        assert "serves version 1" in approved.output
    finally:
        project.retire()


@pytest.mark.peer
def test_a_disk_that_is_full(project, run):
    small = project.root / "store"
    with tiny_disk(small, kilobytes=8):
        refused(
            run("small", MLOPS_DATA_URL=str(small)), project, "No space left on device", "store"
        )


@contextmanager
def taken_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def tiny_disk(folder, *, kilobytes):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a full disk needs the right to mount a small one")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_examples_here_are_right(tmp_path):
    project = Project(tmp_path)
    project.write(CHURN)
    project.write(SMALL, "small.yaml")
    assert "is right" in project.mlops("check")
