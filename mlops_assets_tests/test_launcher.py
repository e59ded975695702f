"""Runs by the launcher of `dagster.yaml`: real ones, ended in every way a process ends."""

import os
import signal
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import PythonFileTarget

from mlops_assets.launcher import ForkingRunLauncher, Worker
from mlops_assets_tests.endpoints import until

ROOT = Path(__file__).resolve().parent.parent
JOBS = """
    import time, pathlib
    import dagster as dg

    @dg.op
    def wait(context):
        pathlib.Path(context.run_id).touch()
        if context.run.tags.get("wait"):
            time.sleep(60)

    @dg.job
    def waiting():
        wait()

    defs = dg.Definitions(jobs=[waiting])
"""


@dataclass(frozen=True)
class Place:
    """An instance with one job, as Dagster's daemon has it."""

    folder: Path
    instance: dg.DagsterInstance
    workspace: WorkspaceRequestContext

    @property
    def launcher(self) -> ForkingRunLauncher:
        found = self.instance.run_launcher
        assert isinstance(found, ForkingRunLauncher)
        return found

    def launch(self, tags: dict[str, str]) -> str:
        """A run; its number."""
        location = self.workspace.get_code_location("jobs")
        job = location.get_repository("__repository__").get_full_job("waiting")
        run = create_run_for_test(
            self.instance,
            job_name="waiting",
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            job_snapshot=job.job_snapshot,
            execution_plan_snapshot=location.get_execution_plan(
                job, {}, None, None, self.instance
            ).execution_plan_snapshot,
            tags=tags,
        )
        self.instance.launch_run(run.run_id, self.workspace)
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def worker(self, run_id: str) -> Worker:
        found = Worker.of_run(self.run(run_id).tags)
        assert found is not None
        return found

    def ends(self, run_id: str) -> dg.DagsterRunStatus:
        until(lambda: self.run(run_id).is_finished, 60)
        return self.run(run_id).status

    def waits(self) -> str:
        """A run in the middle of its step."""
        run_id = self.launch({"wait": "yes"})
        until((self.folder / run_id).exists, 60)
        return run_id


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("launcher")
    (folder / "jobs.py").write_text(textwrap.dedent(JOBS))
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    kept = {name: shipped[name] for name in ("run_launcher", "telemetry")}
    kept["run_launcher"]["config"] = {"preload": ["dagster", "dagster._cli"]}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(kept))
    target = PythonFileTarget(
        python_file=str(folder / "jobs.py"),
        attribute=None,
        working_directory=str(folder),
        location_name="jobs",
    )
    with (
        dg.DagsterInstance.from_config(str(folder)) as instance,
        WorkspaceProcessContext(instance, target) as process,
    ):
        yield Place(folder, instance, process.create_request_context())


def test_a_run_is_executed_by_a_process_of_its_own(place: Place) -> None:
    run_id = place.waits()
    worker = place.worker(run_id)

    assert worker.is_here
    assert worker.lives
    assert psutil.Process(worker.pid).parent().pid != os.getpid()
    assert place.launcher.check_run_worker_health(place.run(run_id)).status is WorkerStatus.RUNNING

    assert place.launcher.terminate(run_id)
    assert place.ends(run_id) is dg.DagsterRunStatus.CANCELED
    assert not place.launcher.terminate(run_id)


def test_a_run_ends_well(place: Place) -> None:
    assert place.ends(place.launch({})) is dg.DagsterRunStatus.SUCCESS


def test_a_run_whose_process_was_killed_is_known(place: Place) -> None:
    run_id = place.waits()
    worker = place.worker(run_id)
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not worker.lives)

    health = place.launcher.check_run_worker_health(place.run(run_id))

    assert health.status is WorkerStatus.FAILED
    assert str(worker.pid) in str(health.msg)
    assert not place.launcher.terminate(run_id)


def test_only_what_can_be_seen_is_judged(place: Place) -> None:
    """A run without a worker, and one of another machine, may be well."""
    here = Worker.of(os.getpid())
    elsewhere = Worker("elsewhere", 1, 0.0)
    for tags in ({}, elsewhere.tag(), here.tag()):
        run = create_run_for_test(place.instance, job_name="waiting", tags=tags)
        assert place.launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_number_that_was_given_again_is_another_process(place: Place) -> None:
    here = Worker.of(os.getpid())
    reused = Worker(here.host, here.pid, here.began - 600)
    run = create_run_for_test(place.instance, job_name="waiting", tags=reused.tag())

    assert here.lives
    assert place.launcher.check_run_worker_health(run).status is WorkerStatus.FAILED
    with pytest.raises(ProcessLookupError):
        Worker.of(2**22 + 1)
