"""The `mlops` command in a process of its own that need not import everything first.

Processes are forked from one that has imported what most commands need, so that a test with ten
commands does not import MLflow and Dagster ten times. What a cold start does is tested where
commands are started as people start them (`Project.start`).
"""

import atexit
import json
import multiprocessing
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PRELOADED = [
    "dagster", "mlflow", "mlflow.sklearn", "mlflow.store.tracking.sqlalchemy_store", "pandas",
    "pyarrow.parquet", "sklearn.ensemble", "skops.io", "optuna", "matplotlib.figure", "httpx",
    "mlops_assets.graph", "mlops_assets.commands.run",
]  # fmt: skip
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int | None
    """None when it had to be ended."""
    output: str
    error: str


def run(
    arguments: tuple[str, ...], *, folder: Path, environment: Mapping[str, str], timeout: float
) -> Done:
    """Run the command to its end, or end it after `timeout` seconds."""
    with TemporaryDirectory() as said:
        streams = [str(Path(said) / name) for name in ("output", "error")]
        call = json.dumps([arguments, str(folder), dict(environment), streams])
        process = _FORKED.Process(target=_main, args=(call,))
        process.start()
        process.join(timeout)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        output, error = (Path(stream).read_text(encoding="utf-8") for stream in streams)
    return Done(code, output, error)


def _main(call: str) -> None:
    from mlops_assets.cli import main

    arguments, folder, environment, streams = json.loads(call)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, start=1):
        opened = os.open(stream, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
    sys.argv = ["mlops", *arguments]
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    # A forked process leaves without these.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.exit(code)  # type: ignore[arg-type]
