"""How Dagster's daemon starts runs on its own machine, and knows whether they still live.

Named by `run_launcher` in `dagster.yaml`. Dagster's default launcher starts a Python that imports
everything anew, some seconds of work before a deployment begins, and cannot tell a run that works
from one whose process was killed, which then holds its place in the queue for a day.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import dagster as dg
import psutil
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    WorkerStatus,
)
from dagster._core.origin import JobPythonOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from mlops_assets.forking import ForkServer

WORKER_TAG = ".dagster/mlops_worker"
"""On a run: the process that executes it. The UI shows no tag that begins with `.dagster/`."""
CLOCK_SECONDS = 60.0
"""By which the clock may have been set since a process began, which moves when it seems to have. No
number of a process is given again so soon."""
PRELOADED = (
    "dagster", "dagster._cli", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "httpx",
    "fsspec.implementations.local", "pandas", "pyarrow.parquet", "sklearn.ensemble",
    "sklearn.pipeline", "mlflow.sklearn", "mlops_assets.definitions", "mlops_assets.graph",
    "skops.io", "optuna", "matplotlib.figure",
)  # fmt: skip
"""What runs import, that of deployments first. Experiments are read when a run begins."""


@dataclass(frozen=True)
class Worker:
    """A process that executes a run."""

    host: str
    pid: int
    began: float
    """When, seconds since the epoch: numbers of processes are used again."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process with this number.

        Raises:
            ProcessLookupError: there is none.
        """
        try:
            began = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess as error:
            raise ProcessLookupError(f"there is no process {pid}") from error
        return cls(socket.gethostname(), pid, began)

    @classmethod
    def of_run(cls, tags: Mapping[str, str]) -> Self | None:
        """That of a run with these tags; None when they name none."""
        return cls(**json.loads(tags[WORKER_TAG])) if WORKER_TAG in tags else None

    def tag(self) -> dict[str, str]:
        return {WORKER_TAG: json.dumps(asdict(self), sort_keys=True)}

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether it is still there. Only a process of this machine can be seen."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.began) < CLOCK_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


class ForkingRunLauncher(dg.DefaultRunLauncher, ConfigurableClass):
    """Starts runs by forking a process that holds Dagster, MLflow and what else they import.

    A run of a code location on another machine, or of another Python, is left to Dagster's default
    launcher.
    """

    def __init__(
        self, inst_data: ConfigurableClassData | None = None, preload: Sequence[str] = PRELOADED
    ) -> None:
        super().__init__(inst_data)
        self._forks = ForkServer(preload, code=Path(__file__).parent)

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        return {
            "preload": dg.Field(
                [str],
                is_required=False,
                default_value=list(PRELOADED),
                description="Modules that runs find imported; they must not start threads.",
            )
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        origin = _local_origin(run)
        if origin is None:
            super().launch_run(context)
            return
        arguments = ExecuteRunArgs(origin, run.run_id, self._instance.get_ref()).get_command_args()
        pointer = origin.repository_origin.code_pointer
        pid = self._forks.start(
            "dagster",
            arguments[arguments.index("api") :],
            folder=getattr(pointer, "working_directory", None),
        )
        with contextlib.suppress(ProcessLookupError):  # one that has ended left its events
            self._instance.add_run_tags(run.run_id, Worker.of(pid).tag())

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished:
            return False
        worker = Worker.of_run(run.tags)
        if worker is None:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if not (worker.is_here and worker.lives):
            return False
        self._instance.report_run_canceling(run)
        os.kill(worker.pid, signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        worker = Worker.of_run(run.tags)
        if worker is None or not worker.is_here or worker.lives:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"process {worker.pid} is gone, killed or out of memory"
        )

    def dispose(self) -> None:
        self._forks.stop()


def _local_origin(run: dg.DagsterRun) -> JobPythonOrigin | None:
    """Where the run's job is loaded from; None when not by this Python on this machine."""
    origin, remote = run.job_code_origin, run.remote_job_origin
    if origin is None or remote is None:
        return None
    host = getattr(remote.repository_origin.code_location_origin, "host", None)
    code = origin.repository_origin
    here = host in (None, "localhost", "127.0.0.1") and not code.container_image
    return origin if here and code.executable_path == sys.executable else None
