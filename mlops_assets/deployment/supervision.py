"""Talks to the supervisor of an endpoint on this machine: through files, a pipe and signals.

Knows the endpoint's folder and file formats, not how the endpoint serves.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mlops_assets.deployment.targets.base import TargetContext, TargetError
from mlops_assets.gateways.wait import wait_until
from mlops_assets.serving import endpoint, handover
from mlops_assets.serving.endpoint import Desired, State

SUPERVISOR = "mlops_assets.serving.supervisor"
DETACH = "--detach"
INTERVAL = 0.05
SUPERVISOR_PATIENCE = 20.0
DRAIN_PATIENCE = 75.0
LOG_LIMIT = 10_000_000

T = TypeVar("T")


def state_of(folder: Path) -> State | None:
    try:
        return endpoint.read_state(folder)
    except ValueError as error:
        raise TargetError(f"{error}; remove the file to start the endpoint afresh") from error


def bring_up(
    folder: Path,
    desired: Desired,
    environment: Mapping[str, str],
    context: TargetContext,
    timeout: float,
) -> State:
    started = False
    late = f"version {desired.version} gave no answer; see {_log(folder)}"

    def told() -> bool:
        return not endpoint.alive(folder) or handover.offer(folder, environment)

    wait(told, context, SUPERVISOR_PATIENCE, late)
    if endpoint.alive(folder):
        _signal(folder, signal.SIGHUP)

    def answered() -> State | None:
        nonlocal started
        gone = not endpoint.alive(folder)
        now = state_of(folder)
        if now is not None and now.generation >= desired.generation:
            return now
        if gone and started:
            raise TargetError(
                f"the supervisor of {desired.experiment} ended without an answer; "
                f"see {_log(folder)}"
            )
        if gone:
            # None was there, or the one there was about to end, as after a failed first start.
            _start_supervisor(folder, environment)
            started = True
        return None

    answer = wait(answered, context, timeout, late)
    if answer.serving_generation != desired.generation or answer.state != "live":
        raise TargetError(answer.detail)
    return answer


def shut_down(folder: Path, context: TargetContext) -> None:
    """End the endpoint, letting requests in flight finish.

    Raises:
        TargetError: its supervisor does not end.
    """
    if endpoint.alive(folder):
        _signal(folder, signal.SIGTERM)
        late = f"the supervisor does not end; see {_log(folder)}"
        wait(lambda: not endpoint.alive(folder), context, DRAIN_PATIENCE, late)
    state = state_of(folder)
    if state is not None and state.state != "stopped":
        # A supervisor that was killed could not write this itself.
        endpoint.write(folder / endpoint.STATE, replace(state, state="stopped", worker_pids=()))


@contextmanager
def exclusive(folder: Path, context: TargetContext, timeout: float) -> Iterator[None]:
    """Deployments of one endpoint, from whatever process, one after the other.

    Raises:
        TargetError: another one takes too long; or the block met what the machine refuses, as a
            full disk does.
    """
    path = folder / "apply.lock"

    def attempt() -> tuple[int] | None:
        descriptor = endpoint.acquire(path)
        return None if descriptor is None else (descriptor,)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (held,) = wait(
            attempt,
            context,
            timeout,
            f"another deployment to {folder} takes too long; nothing was changed",
        )
        try:
            yield
        finally:
            os.close(held)
    except OSError as error:
        raise TargetError(f"{folder} cannot be used: {error}") from error


def wait(condition: Callable[[], T | None], context: TargetContext, timeout: float, late: str) -> T:
    try:
        return wait_until(
            condition, timeout=timeout, interval=INTERVAL, clock=time.monotonic, sleep=context.sleep
        )
    except TimeoutError as error:
        raise TargetError(f"{late} ({error})") from error


def _log(folder: Path) -> Path:
    return folder / endpoint.LOG


def _start_supervisor(folder: Path, environment: Mapping[str, str]) -> None:
    log = _log(folder)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        # Its own session: it outlives the run that deploys, and the terminal.
        try:
            subprocess.run(
                [sys.executable, "-P", "-m", SUPERVISOR, str(folder), DETACH],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                cwd=folder,
                start_new_session=True,
                timeout=SUPERVISOR_PATIENCE,
                check=True,
            )
        except subprocess.SubprocessError as error:
            raise TargetError(f"the supervisor did not start; see {log}") from error


def _signal(folder: Path, number: int) -> None:
    """To the process that holds the endpoint's lock; call only while it is held."""
    pid = endpoint.holder(folder)
    if pid is None:
        return  # it starts this moment, and reads what is wanted after this
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended this moment; whoever waits for it sees that
