"""Supervised processes on this machine's loopback."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from mlops_assets.deployment import exposition, releases, supervision
from mlops_assets.deployment.supervision import DRAIN_PATIENCE, SUPERVISOR_PATIENCE
from mlops_assets.deployment.targets.base import (
    Counts,
    LostError,
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
)
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving import endpoint, handover
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.client import Answer, Client, EndpointError
from mlops_assets.serving.endpoint import Desired, State

HOST = "127.0.0.1"
CANDIDATE = "candidate"
STABLE = "stable.json"
"""What was settled last, to come back to."""


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

    splits: ClassVar[bool] = False
    needs_archive: ClassVar[bool] = False
    tells: ClassVar[bool] = True

    def render(self, release: Release, context: TargetContext) -> Manifest:
        recording = asdict(release.recording)
        for key in ("profiles_url", "log_url"):
            recording[key] = recording[key] and _absolute(recording[key])
        return {
            "experiment": release.experiment,
            "version": release.version,
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

    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        """Start the candidate on a port of its own, where nobody but us asks it."""
        environment = self._environment(context)
        folder = _folder(manifest["experiment"], context)
        with supervision.exclusive(folder, context, _patience(manifest)):
            (folder / CANDIDATE).mkdir(exist_ok=True)
            try:
                releases.keep(bundle, manifest["bundle_digest"], folder)
            except (BundleError, OSError) as error:
                raise TargetError(f"bundle refused: {error}") from error
            alone = {**manifest, "port": None, "workers": 1, "recording": None}
            wanted = _desired(alone, folder, environment)
            _bring_up(folder / CANDIDATE, wanted, environment, context)

    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        folder = _folder(experiment, context)
        for place in (folder / CANDIDATE, folder):
            state = supervision.state_of(place)
            if state is not None and state.version == version and endpoint.alive(place):
                with Client(state.url, self.key(context), retries=0) as client:
                    return client.predict(records, probe=True)
        raise TargetError(f"version {version} of {experiment} does not run on this machine")

    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        """Let the candidate take over the port, or give it back: one version answers there."""
        environment = self._environment(context)
        folder = _folder(manifest["experiment"], context)
        with supervision.exclusive(folder, context, _patience(manifest)):
            if share > 0:
                _bring_up(folder, _desired(manifest, folder, environment), environment, context)
            else:
                self._give_back(folder, manifest, context)
        return 1.0 if share > 0 else 0.0

    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        folder = _folder(manifest["experiment"], context)
        lost = LostError(f"{folder} does not serve version {manifest['version']}, to be settled")
        if not folder.exists():
            raise lost
        with supervision.exclusive(folder, context, _patience(manifest)):
            state = supervision.state_of(folder)
            if state is None or state.state != "live" or not endpoint.alive(folder):
                raise lost
            endpoint.write(folder / STABLE, _desired(manifest, folder, self._environment(context)))
            supervision.shut_down(folder / CANDIDATE, context)
            releases.drop(folder, keep=_needed(folder))
            return _endpoint(manifest["experiment"], state, folder)

    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        folder = _folder(manifest["experiment"], context)
        if not folder.exists():
            return None
        with supervision.exclusive(folder, context, _patience(manifest)):
            self._give_back(folder, manifest, context)
            supervision.shut_down(folder / CANDIDATE, context)
            releases.drop(folder, keep=_needed(folder))
        return self.observe(manifest["experiment"], context)

    def measure(self, experiment: str, slower_than: float, context: TargetContext) -> Counts:
        folder = _folder(experiment, context)
        state = supervision.state_of(folder)
        if state is None or state.version is None or not endpoint.alive(folder):
            return {}
        with Client(state.url, self.key(context)) as client:
            try:
                traffic = exposition.read(client.metrics(), slower_than=slower_than)
            except (EndpointError, ValueError) as error:
                raise TargetError(f"{experiment} does not tell its metrics: {error}") from error
        return {state.version: {state.url: traffic}}

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        folder = _folder(experiment, context)
        state = supervision.state_of(folder)
        if state is None or state.version is None:
            return None
        return _endpoint(experiment, state, folder)

    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        folder = _folder(manifest["experiment"], context)
        state = supervision.state_of(folder)
        wanted = _desired(manifest, folder, self._environment(context))
        if state is None or not _is_served(state, wanted, folder) or not _settled(wanted, folder):
            return None
        if not releases.intact(Path(wanted.bundle), wanted.bundle_digest):
            return None  # it serves from memory, and could not start again
        return _endpoint(manifest["experiment"], state, folder)

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        folder = _folder(experiment, context)
        if not folder.exists():
            return None
        with supervision.exclusive(folder, context, DRAIN_PATIENCE):
            supervision.shut_down(folder / CANDIDATE, context)
            supervision.shut_down(folder, context)
        return self.observe(experiment, context)

    def _environment(self, context: TargetContext) -> dict[str, str]:
        """What the endpoint's processes need beyond the environment they inherit."""
        if self.key(context) is None:
            return context.environment
        return {**context.environment, str(self.key_env): context.variables[str(self.key_env)]}

    def _give_back(self, folder: Path, manifest: Manifest, context: TargetContext) -> None:
        environment = self._environment(context)
        candidate, state = _desired(manifest, folder, environment), supervision.state_of(folder)
        if state is None or state.fingerprint != candidate.fingerprint():
            return  # it does not have the traffic
        if not (folder / STABLE).exists():
            supervision.shut_down(folder, context)
        elif not _settled(candidate, folder):
            stable = endpoint.read_desired(folder / STABLE)
            _bring_up(folder, stable, environment, context)


def _bring_up(
    folder: Path, wanted: Desired, environment: dict[str, str], context: TargetContext
) -> None:
    """Have the supervisor of `folder` serve what is wanted, unless it does already."""
    before = supervision.state_of(folder)
    if before and _is_served(before, wanted, folder):
        return
    desired = replace(wanted, generation=_next_generation(folder, before))
    endpoint.write(folder / endpoint.DESIRED, desired)
    timeout = wanted.startup_timeout_s + SUPERVISOR_PATIENCE
    supervision.bring_up(folder, desired, environment, context, timeout)


def _desired(manifest: Manifest, folder: Path, environment: dict[str, str]) -> Desired:
    content = {
        **manifest,
        "bundle": str(folder / "bundles" / manifest["bundle_digest"]),
        "generation": 0,
        "environment_digest": handover.digest(environment),
    }
    return Desired.from_json(content)


def _settled(desired: Desired, folder: Path) -> bool:
    try:
        return endpoint.read_desired(folder / STABLE).fingerprint() == desired.fingerprint()
    except ValueError:
        return False


def _needed(folder: Path) -> set[str]:
    """Digests of the bundles that serve, served before, or are to be come back to."""
    state = supervision.state_of(folder)
    found = set() if state is None else {state.bundle_digest, state.previous_digest}
    with suppress(ValueError):  # none yet, or one of another version of this program
        found.add(endpoint.read_desired(folder / STABLE).bundle_digest)
    return found


def _patience(manifest: Manifest) -> float:
    return float(manifest["startup_timeout_s"]) + SUPERVISOR_PATIENCE


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
