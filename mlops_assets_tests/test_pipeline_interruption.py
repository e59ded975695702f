"""Ctrl-C and kill -9 during the search: what is finished is kept, and nothing is left running."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlops_assets.commands.trials import study_standing
from mlops_assets.experiment import loader
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.gateways.wait import wait_until
from mlops_assets.tuning.study import finished_trials
from mlops_assets_tests.commands.project import CHURN, Project

pytestmark = pytest.mark.pipeline

# Enough of them, and slow enough, to be interrupted in between.
SLOW = (
    CHURN.replace("n_trials: 3\n  workers: 1", "n_trials: 12\n  workers: 2\n  pruning: false")
    .replace("max_iter: 30", "max_iter: 250")
    .replace("customers: 350", "customers: 600")
)


def trials(project):
    """The finished trials of the one study, also while another process writes to it."""
    store = StudyStore(project.settings.study_url)
    if not store.names():
        return ()
    (name,) = store.names()
    with store.read(name) as study:
        return finished_trials(study)


def begun(project) -> subprocess.Popen[str]:
    """A run in which some trials are finished and others are under way."""
    before = len(trials(project))
    process = project.start("run", "churn", "--no-deploy")
    enough = lambda: len(trials(project)) >= before + 2 or process.poll() is not None  # noqa: E731
    wait_until(enough, timeout=60, interval=0.2, clock=time.monotonic, sleep=time.sleep)
    assert process.poll() is None, process.communicate()
    return process


def workers(parent: int) -> list[int]:
    """The processes that search for the process `parent`, also when that is dead."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")[:-1]
        except OSError:
            continue  # it ended meanwhile
        if any(b"tuning.scoring" in one for one in arguments) and arguments[-1] == b"%d" % parent:
            found.append(int(path.parent.name))
    return found


@contextmanager
def held(pids: list[int]) -> Iterator[None]:
    """These processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_interrupted_runs_go_on_where_they_were(tmp_path, mlflow_template):
    project = Project(tmp_path).with_tables(mlflow_template)
    project.write(SLOW)

    process = begun(project)
    assert workers(process.pid)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    first = trials(project)
    assert f"Interrupted. {len(first)} finished trials are kept" in said
    assert "Traceback" not in said
    assert workers(process.pid) == []

    process = begun(project)
    with held(workers(process.pid)):  # so that it cannot end meanwhile
        said = project.mlops("run", "churn", code=1)
        assert f"churn is being run by process {process.pid} already" in said
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    gone = lambda: not workers(process.pid)  # noqa: E731
    wait_until(gone, timeout=20, interval=0.2, clock=time.monotonic, sleep=time.sleep)
    second = trials(project)
    assert all(trial in second for trial in first)
    (status,) = project.json("status").values()
    assert [run["state"] for run in status["running"]] == ["its process was killed"]
    assert project.versions() == 0

    outcome = project.json("run", "churn", "--no-deploy")
    last = trials(project)
    assert all(trial in last for trial in second)
    assert [trial.slot for trial in last] == [*range(12)]
    assert outcome["records"]["tuned_hyperparameters"]["trials"] == 12
    assert project.versions() == 1
    (status,) = project.json("status").values()
    assert status["running"] == []
    experiment = loader.load(tmp_path / "configs" / "churn.yaml")
    assert study_standing(project.settings, experiment).left == 0
    shown = project.registry.logged_slots(
        "churn", outcome["records"]["tuned_hyperparameters"]["study"]
    )
    assert shown == {*range(12)}
    assert project.leftovers() == []
