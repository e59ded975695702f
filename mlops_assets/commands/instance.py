"""Dagster's instance of this project, the one the UI shows. Knows no experiment's content."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlops_assets.gateways.wait import wait_until
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

CONFIG = "dagster.yaml"
NO_TELEMETRY = "telemetry:\n  enabled: false\n"
STARTED_BY_TAG = "mlops/started_by"
STARTED_BY = "mlops run"


class BusyError(Exception):
    """Another process works on the experiment; the message says which."""


def open_instance(settings: Settings) -> "dg.DagsterInstance":
    """The instance below `DAGSTER_HOME`, made when it is not there. A context manager.

    Raises:
        OSError: the folder cannot be written.
    """
    import dagster as dg  # noqa: TID251

    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    config = home / CONFIG
    if not config.exists():
        config.unlink(missing_ok=True)
        top = settings.root / CONFIG
        if top.is_file():
            config.symlink_to(os.path.relpath(top, home))
        else:
            _write_once(config, NO_TELEMETRY)
    return dg.DagsterInstance.from_config(str(home))


def existing_instance(settings: Settings) -> "dg.DagsterInstance | None":
    """The instance when anything was ever stored in it; nothing is made. A context manager."""
    import dagster as dg  # noqa: TID251
    import yaml

    home = settings.dagster_home
    if not (home / CONFIG).is_file():
        return None
    content = yaml.safe_load((home / CONFIG).read_text(encoding="utf-8")) or {}
    elsewhere = "storage" in content or "run_storage" in content
    if not elsewhere and not (home / "history" / "runs.db").exists():
        return None
    return dg.DagsterInstance.from_config(str(home))


def run_url(settings: Settings, run_id: str) -> str:
    """Where people see the run."""
    return f"{settings.dagster_url.rstrip('/')}/runs/{run_id}"


@contextmanager
def claimed(settings: Settings, experiment: str, *, patience: float = 0.0) -> Iterator[None]:
    """One `mlops run` per experiment and project, until the block or the process ends.

    Args:
        settings: of the project.
        experiment: its name.
        patience: seconds to wait for another process that has it.

    Raises:
        BusyError: another process has it.
    """
    path = _lock(settings, experiment)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            wait_until(
                lambda: _locked(file),
                timeout=patience,
                interval=0.5,
                clock=time.monotonic,
                sleep=time.sleep,
            )
        except TimeoutError as error:
            file.seek(0)
            raise BusyError(
                f"{experiment} is being run by process {file.read().strip() or '?'} already; wait "
                "until it ends, or end it with Ctrl-C"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_claimed(settings: Settings, experiment: str) -> bool:
    """Whether a `mlops run` of the experiment is under way."""
    path = _lock(settings, experiment)
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as file:
        return not _locked(file)


def bury_the_dead(instance: "dg.DagsterInstance", experiment: str) -> None:
    """Write off runs whose process was killed, and free the pools they held: otherwise the next
    run would wait for them for ever. Call it only while the experiment is claimed."""
    import dagster as dg  # noqa: TID251

    from mlops_assets import vocabulary as names

    unfinished = dg.RunsFilter(
        tags={names.EXPERIMENT_TAG: experiment, STARTED_BY_TAG: STARTED_BY},
        statuses=[
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.CANCELING,
        ],
    )
    for run in instance.get_runs(unfinished):
        instance.report_run_failed(run, message="Its process was killed.")
        free_pools(instance, run.run_id)


def free_pools(instance: "dg.DagsterInstance", run_id: str) -> None:
    """Give back what a run that ended may still hold."""
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.free_concurrency_slots_for_run(run_id)


def _lock(settings: Settings, experiment: str) -> Path:
    return settings.home / "locks" / f"run-{experiment}.lock"


def _write_once(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
