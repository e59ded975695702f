"""What a version shows on the real server, in a process of its own, before it is deployed anywhere.

Knows the endpoint's program by its files and its HTTP, nothing of targets or Dagster.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mlops_assets.deployment import supervision
from mlops_assets.deployment.breach import NO_ANSWER, Breach, Problem
from mlops_assets.deployment.probe import probe
from mlops_assets.deployment.spec import PreflightSpec
from mlops_assets.deployment.targets.base import TargetContext, TargetError
from mlops_assets.serving import bundle, endpoint
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.client import Client, EndpointError
from mlops_assets.serving.endpoint import Desired

STARTUP_TIMEOUT = 60.0
WARM = 20
"""Requests before the ones that are timed."""


@dataclass(frozen=True)
class Report:
    """What was seen."""

    problems: tuple[Problem, ...]
    """Empty when it passed."""
    golden: str
    start_s: float
    """Seconds until it was loaded and had passed its self-test."""
    p50_ms: float
    """Milliseconds to the answer of a request of one row, from one caller: the median."""
    p99_ms: float
    memory_mb: float
    """Resident memory of the process that answers, after all requests."""

    @property
    def passed(self) -> bool:
        return not self.problems


def fly(
    folder: Path, *, experiment: str, version: int, spec: PreflightSpec, context: TargetContext
) -> Report:
    """Start the server with this bundle, ask it, and end it.

    Args:
        folder: the bundle.
        experiment: by which the server calls itself.
        version: in its answers.
        spec: what is asked of it.
        context: for waiting.
    """
    started = time.perf_counter()
    try:
        with _serving(folder, experiment, version, context) as (client, pid):
            start_s = time.perf_counter() - started
            found = probe(
                lambda records: client.predict(records, probe=True),
                version=version,
                bundle_folder=folder,
            )
            times = _timed(client, folder, spec.requests)
            memory = _resident_mb(pid)
    except (TargetError, BundleError, EndpointError) as error:
        silent = Problem(f"it does not serve: {error}", NO_ANSWER)
        return Report((silent,), "", 0.0, 0.0, 0.0, 0.0)
    p50, p99 = times[len(times) // 2], times[min(len(times) * 99 // 100, len(times) - 1)]
    problems = [] if found.breach is None else [Problem(found.reason, found.breach)]
    if spec.max_latency_ms is not None and p99 > spec.max_latency_ms:
        most = f"{spec.max_latency_ms:g}"
        said = f"99 of 100 requests take up to {p99:.1f} ms, max_latency_ms is {most}"
        problems.append(Problem(said, Breach(f"{p99:.1f} ms", f"{most} ms")))
    if spec.max_memory_mb is not None and memory > spec.max_memory_mb:
        most = f"{spec.max_memory_mb:g}"
        said = f"its process holds {memory:.0f} MB, max_memory_mb is {most}"
        problems.append(Problem(said, Breach(f"{memory:.0f} MB", f"{most} MB")))
    return Report(tuple(problems), found.reason, start_s, p50, p99, memory)


@contextmanager
def _serving(
    folder: Path, experiment: str, version: int, context: TargetContext
) -> Iterator[tuple[Client, int]]:
    """A client of the running server, and the process that answers it."""
    desired = Desired(
        generation=1,
        experiment=experiment,
        version=version,
        bundle=str(folder.absolute()),
        bundle_digest=bundle.digest(folder),
        host="127.0.0.1",
        port=None,
        workers=1,
        recording=None,
        key_env=None,
        max_rows=10_000,
        max_body_bytes=10_000_000,
        max_in_flight=64,
        startup_timeout_s=STARTUP_TIMEOUT,
    )
    bundle.verify(folder)
    with TemporaryDirectory() as name:
        place = Path(name)
        endpoint.write(place / endpoint.DESIRED, desired)
        try:
            patience = STARTUP_TIMEOUT + supervision.SUPERVISOR_PATIENCE
            state = supervision.bring_up(place, desired, context.environment, context, patience)
            with Client(state.url, retries=0, timeout=60.0) as client:
                yield client, state.worker_pids[0]
        finally:
            supervision.shut_down(place, context)


def _timed(client: Client, folder: Path, count: int) -> list[float]:
    """Milliseconds of requests of one row, ascending."""
    records = bundle.read_golden(folder).records
    for index in range(WARM):
        client.predict([records[index % len(records)]], probe=True)
    times = []
    for index in range(count):
        began = time.perf_counter()
        client.predict([records[index % len(records)]], probe=True)
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)


def _resident_mb(pid: int) -> float:
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 1e6
