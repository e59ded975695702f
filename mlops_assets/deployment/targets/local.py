"""A supervised process on this machine's loopback. Talks to it through files and signals only.

Knows the endpoint's folder and file formats, not how the endpoint serves.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from mlops_assets.deployment.targets.base import Release, Target, TargetContext, TargetError
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.wait import wait_until
from mlops_assets.serving import bundle, endpoint
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.endpoint import Desired, State

HOST = "127.0.0.1"
SUPERVISOR = "mlops_assets.serving.supervisor"
DETACH = "--detach"
INTERVAL = 0.05
SUPERVISOR_PATIENCE = 20.0
DRAIN_PATIENCE = 75.0
LOG_LIMIT = 10_000_000

T = TypeVar("T")


class Local(Target):
    """An endpoint on this machine, reachable from this machine only."""

    kind: Literal["local"]
    """`local`."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port on 127.0.0.1. By default any free one, kept for the life of the endpoint."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows a single request may hold; more are answered with 413."""
    max_body_mb: float = Field(default=10.0, gt=0, le=1000)
    """Megabytes a request's body may hold; more are answered with 413."""
    max_in_flight: int = Field(default=64, ge=1)
    """Requests answered or waiting at the same time; more are answered with 503."""
    startup_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    """Seconds a new version has to load and pass its self-test."""

    def render(self, release: Release, context: TargetContext) -> dict[str, Any]:
        url = context.profiles_url
        return {
            "experiment": release.experiment,
            "version": release.version,
            "bundle": str(release.bundle.absolute()),
            "bundle_digest": release.bundle_digest,
            "host": HOST,
            "port": self.port,
            "profiles_url": url if "://" in url else str(Path(url).absolute()),
            "window_seconds": context.window_seconds,
            "max_rows": self.max_rows,
            "max_body_bytes": int(self.max_body_mb * 1_000_000),
            "max_in_flight": self.max_in_flight,
            "startup_timeout_s": self.startup_timeout_s,
        }

    def apply(self, manifest: dict[str, Any], context: TargetContext) -> Endpoint:
        folder = _folder(manifest["experiment"], context)
        folder.mkdir(parents=True, exist_ok=True)
        timeout = manifest["startup_timeout_s"] + SUPERVISOR_PATIENCE
        with _exclusive(folder, context, timeout):
            before = _state(folder)
            try:
                stored = _store_bundle(manifest, folder)
            except (BundleError, OSError) as error:
                raise TargetError(f"bundle refused: {error}. {_serves(folder)}") from error
            desired = Desired(
                **{**manifest, "bundle": str(stored)},
                generation=_next_generation(folder, before),
                environment=context.environment,
            )
            if before and _is_served(before, desired, folder):
                return _endpoint(manifest["experiment"], before, folder)
            endpoint.write(folder / endpoint.DESIRED, desired)
            state = _bring_up(folder, desired, context, timeout)
            _drop_bundles(folder, keep={state.bundle_digest, state.previous_digest})
            return _endpoint(manifest["experiment"], state, folder)

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        folder = _folder(experiment, context)
        state = _state(folder)
        if state is None or state.version is None:
            return None
        return _endpoint(experiment, state, folder)

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        folder = _folder(experiment, context)
        if not folder.exists():
            return None
        with _exclusive(folder, context, DRAIN_PATIENCE):
            if endpoint.alive(folder):
                _signal(folder, signal.SIGTERM)
                late = f"{experiment}: the supervisor does not end; see {_log(folder)}"
                _wait(lambda: not endpoint.alive(folder), context, DRAIN_PATIENCE, late)
            state = _state(folder)
            if state is not None and state.state != "stopped":
                # A supervisor that was killed could not write this itself.
                endpoint.write(
                    folder / endpoint.STATE, replace(state, state="stopped", worker_pid=None)
                )
        return self.observe(experiment, context)


def _folder(experiment: str, context: TargetContext) -> Path:
    return (context.state / experiment).absolute()


def _state(folder: Path) -> State | None:
    try:
        return endpoint.read_state(folder)
    except ValueError as error:
        raise TargetError(f"{error}; remove the file to start the endpoint afresh") from error


def _next_generation(folder: Path, state: State | None) -> int:
    path = folder / endpoint.DESIRED
    asked = endpoint.read_desired(path).generation if path.exists() else 0
    return max(asked, state.generation if state else 0) + 1


def _is_served(state: State, desired: Desired, folder: Path) -> bool:
    return (
        state.state == "live"
        and state.fingerprint == desired.fingerprint()
        and endpoint.alive(folder)
    )


def _store_bundle(manifest: dict[str, Any], folder: Path) -> Path:
    """The endpoint's own verified copy of the bundle, which nothing else changes or removes."""
    source, digest = Path(manifest["bundle"]), str(manifest["bundle_digest"])
    stored = folder / "bundles" / digest
    if stored.exists():
        try:
            _verify(stored, digest)
        except BundleError:
            # Damaged since: whatever serves it has it in memory.
            stored.rename(stored.with_name(f".{digest}.{uuid.uuid4().hex}"))
        else:
            return stored
    stored.parent.mkdir(exist_ok=True)
    temporary = stored.with_name(f".{digest}.{uuid.uuid4().hex}")
    try:
        bundle.verify(source)
        shutil.copytree(source, temporary)
        _verify(temporary, digest)
        temporary.rename(stored)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return stored


def _verify(folder: Path, digest: str) -> None:
    bundle.verify(folder)
    if bundle.digest(folder) != digest:
        raise BundleError(f"{folder} has another digest than the registered version ({digest})")


def _bring_up(folder: Path, desired: Desired, context: TargetContext, timeout: float) -> State:
    started = False
    if endpoint.alive(folder):
        _signal(folder, signal.SIGHUP)

    def answered() -> State | None:
        nonlocal started
        gone = not endpoint.alive(folder)
        now = _state(folder)
        if now is not None and now.generation >= desired.generation:
            return now
        if gone and started:
            raise TargetError(
                f"the supervisor of {desired.experiment} ended without an answer; "
                f"see {_log(folder)}"
            )
        if gone:
            # None was there, or the one there was about to end, as after a failed first start.
            _start_supervisor(folder)
            started = True
        return None

    late = f"version {desired.version} gave no answer; see {_log(folder)}"
    answer = _wait(answered, context, timeout, late)
    if answer.serving_generation != desired.generation or answer.state != "live":
        raise TargetError(f"{answer.detail}. {_serves(folder)}")
    return answer


def _log(folder: Path) -> Path:
    return folder / endpoint.LOG


def _start_supervisor(folder: Path) -> None:
    log = _log(folder)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        # Its own session: it outlives the run that deploys, and the terminal.
        done = subprocess.run(
            [sys.executable, "-P", "-m", SUPERVISOR, str(folder), DETACH],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
            timeout=SUPERVISOR_PATIENCE,
            check=False,
        )
    if done.returncode:
        raise TargetError(f"the supervisor did not start; see {log}")


def _signal(folder: Path, number: int) -> None:
    """To the process that holds the endpoint's lock; call only while it is held."""
    pid = endpoint.holder(folder)
    if pid is None:
        return  # it starts this moment, and reads what is wanted after this
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended this moment; whoever waits for it sees that


def _serves(folder: Path) -> str:
    state = _state(folder)
    if state is None or state.version is None or not endpoint.alive(folder):
        return "Nothing serves"
    if state.state == "live":
        return f"Version {state.version} still serves at {state.url}"
    return f"Version {state.version} is being brought back at {state.url}"


def _drop_bundles(folder: Path, *, keep: set[str]) -> None:
    for path in (folder / "bundles").iterdir():
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _endpoint(experiment: str, state: State, folder: Path) -> Endpoint:
    alive = endpoint.alive(folder)
    lost = not alive and state.state in ("live", "starting")
    return Endpoint(
        experiment=experiment,
        target="local",
        url=state.url,
        version=state.version or 0,
        bundle_digest=state.bundle_digest,
        since=state.since,
        previous_version=state.previous_version,
        state="stopped"
        if state.state == "stopped"
        else ("live" if alive and state.state == "live" else "failed"),
        detail="the supervisor is gone; deploy again to start it" if lost else state.detail,
    )


@contextmanager
def _exclusive(folder: Path, context: TargetContext, timeout: float) -> Iterator[None]:
    """Deployments of one endpoint, from whatever process, one after the other."""
    path = folder / "apply.lock"

    def attempt() -> tuple[int] | None:
        descriptor = endpoint.acquire(path)
        return None if descriptor is None else (descriptor,)

    (held,) = _wait(
        attempt,
        context,
        timeout,
        f"another deployment to {folder} takes too long; nothing was changed",
    )
    try:
        yield
    finally:
        os.close(held)


def _wait(
    condition: Callable[[], T | None], context: TargetContext, timeout: float, late: str
) -> T:
    try:
        return wait_until(
            condition, timeout=timeout, interval=INTERVAL, clock=time.monotonic, sleep=context.sleep
        )
    except TimeoutError as error:
        raise TargetError(f"{late} ({error})") from error
