"""Supervised processes on this machine's loopback."""

import shutil
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mlops_assets.deployment import supervision
from mlops_assets.deployment.supervision import DRAIN_PATIENCE, SUPERVISOR_PATIENCE
from mlops_assets.deployment.targets.base import Release, Target, TargetContext, TargetError
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving import bundle, endpoint, handover
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.endpoint import Desired, State

HOST = "127.0.0.1"


class Local(Target):
    """An endpoint on this machine, reachable from this machine only."""

    kind: Literal["local"]
    """`local`."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port on 127.0.0.1. By default any free one, kept for the life of the endpoint."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer on the one port; each holds the model in memory."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows a single request may hold; more are answered with 413."""
    max_body_mb: float = Field(default=10.0, gt=0, le=1000)
    """Megabytes a request's body may hold; more are answered with 413."""
    max_in_flight: int = Field(default=64, ge=1)
    """Requests a worker answers or keeps waiting at the same time; more are answered with 503."""
    startup_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    """Seconds a new version has to load and pass its self-test."""

    def render(self, release: Release, context: TargetContext) -> dict[str, Any]:
        recording = asdict(release.recording)
        for key in ("profiles_url", "log_url"):
            recording[key] = recording[key] and _absolute(recording[key])
        return {
            "experiment": release.experiment,
            "version": release.version,
            "bundle": str(release.bundle.absolute()),
            "bundle_digest": release.bundle_digest,
            "host": HOST,
            "port": self.port,
            "workers": self.workers,
            "recording": recording,
            "key_env": self.key_env,
            "max_rows": self.max_rows,
            "max_body_bytes": int(self.max_body_mb * 1_000_000),
            "max_in_flight": self.max_in_flight,
            "startup_timeout_s": self.startup_timeout_s,
        }

    def apply(self, manifest: dict[str, Any], context: TargetContext) -> Endpoint:
        folder = _folder(manifest["experiment"], context)
        environment = self._environment(context)
        folder.mkdir(parents=True, exist_ok=True)
        timeout = manifest["startup_timeout_s"] + SUPERVISOR_PATIENCE
        with supervision.exclusive(folder, context, timeout):
            before = supervision.state_of(folder)
            try:
                stored = _store_bundle(manifest, folder)
            except (BundleError, OSError) as error:
                raise TargetError(
                    f"bundle refused: {error}. {supervision.in_words(folder)}"
                ) from error
            desired = Desired.from_json(
                {
                    **manifest,
                    "bundle": str(stored),
                    "generation": _next_generation(folder, before),
                    "environment_digest": handover.digest(environment),
                }
            )
            if before and _is_served(before, desired, folder):
                return _endpoint(manifest["experiment"], before, folder)
            endpoint.write(folder / endpoint.DESIRED, desired)
            state = supervision.bring_up(folder, desired, environment, context, timeout)
            _drop_bundles(folder, keep={state.bundle_digest, state.previous_digest})
            return _endpoint(manifest["experiment"], state, folder)

    def _environment(self, context: TargetContext) -> dict[str, str]:
        """What the endpoint's processes need beyond the environment they inherit."""
        if self.key(context) is None:
            return context.environment
        return {**context.environment, str(self.key_env): context.variables[str(self.key_env)]}

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        folder = _folder(experiment, context)
        state = supervision.state_of(folder)
        if state is None or state.version is None:
            return None
        return _endpoint(experiment, state, folder)

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        folder = _folder(experiment, context)
        if not folder.exists():
            return None
        with supervision.exclusive(folder, context, DRAIN_PATIENCE):
            supervision.shut_down(folder, context)
        return self.observe(experiment, context)


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).absolute())


def _folder(experiment: str, context: TargetContext) -> Path:
    return (context.state / experiment).absolute()


def _next_generation(folder: Path, state: State | None) -> int:
    try:
        asked = endpoint.read_desired(folder / endpoint.DESIRED).generation
    except ValueError:
        asked = 0  # none yet, or one of another version of this program
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
