"""A target in memory: versions, their traffic, and faults at any call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from mlops_assets.deployment.targets.base import (
    Counts,
    LostError,
    Manifest,
    Release,
    Target,
    TargetContext,
    TargetError,
    Traffic,
)
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving import bundle
from mlops_assets.serving.client import Answer

NONE = Traffic(requests=0, errors=0, slow=0, rows=0, predictions={})


class KilledError(BaseException):
    """The deploying process is gone; nothing in it can catch this."""


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    at: datetime = datetime(2026, 5, 3, tzinfo=UTC)

    def __post_init__(self) -> None:
        # No field: a target that holds it must be JSON.
        self.events: dict[datetime, Callable[[], object]] = {}

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Have something happen once so many seconds have passed."""
        self.events[self.at + timedelta(seconds=seconds)] = event

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        for due in sorted(moment for moment in self.events if moment <= self.at):
            self.events.pop(due)()


@dataclass
class World:
    """What is really there, whoever deploys. Callers of the endpoint see `shares` alone."""

    clock: Clock = field(default_factory=Clock)
    up: dict[int, Manifest] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    settled: Manifest | None = None
    previous: int | None = None
    rates: dict[int, dict[str, float]] = field(default_factory=dict)
    """By version: share of errors, of slow answers, and of the label `Yes`."""
    wrong: set[int] = field(default_factory=set)
    """Versions that answer otherwise than in training."""
    silent: set[int] = field(default_factory=set)
    """Versions that tell nothing of their traffic."""
    unreachable: bool = False
    """Whether nobody's traffic can be measured."""
    pods: dict[int, list[str]] = field(default_factory=dict)
    """Which count the traffic of a version, in equal parts; the one `pod` by default."""
    requests_per_s: float = 20.0
    comes_up_s: float = 0.0
    """Until a candidate is there, looked at every second."""
    calls: list[str] = field(default_factory=list)
    fault: tuple[int, str] | None = None
    """The number of the call that fails, and how: `before` or `after` it took effect, or the
    process is `killed` before or `killed_after`."""
    answered: dict[int, dict[str, Traffic]] = field(default_factory=dict)
    """By version and pod."""
    _counted: datetime | None = None

    def call(self, name: str) -> str:
        """Count it; how it is to fail after its effect, if it is."""
        self._flow()
        self.calls.append(name)
        if self.fault is None or self.fault[0] != len(self.calls):
            return ""
        if self.fault[1] == "before":
            raise TargetError(f"{name}: the platform answers 500")
        if self.fault[1] == "killed":
            raise KilledError(name)
        return self.fault[1]

    def fail(self, how: str) -> None:
        if how == "after":
            raise TargetError("the answer of the platform was lost")
        if how == "killed_after":
            raise KilledError(how)

    def _flow(self) -> None:
        """The traffic since the last call."""
        seconds = (self.clock.at - (self._counted or self.clock.at)).total_seconds()
        self._counted = self.clock.at
        for version, share in self.shares.items():
            pods, counts = self.pods_of(version), self.answered.setdefault(version, {})
            requests = int(seconds * share * self.requests_per_s / len(pods))
            rates = self.rates.get(version, {})
            yes = round(requests * rates.get("Yes", 0.3))
            for pod in pods:
                before = counts.get(pod, NONE)
                counts[pod] = Traffic(
                    requests=before.requests + requests,
                    errors=before.errors + round(requests * rates.get("errors", 0.0)),
                    slow=before.slow + round(requests * rates.get("slow", 0.0)),
                    rows=before.rows + requests,
                    predictions={"label=Yes": before.predictions.get("label=Yes", 0) + yes},
                )

    def pods_of(self, version: int) -> list[str]:
        return self.pods.get(version, ["pod"])


class Fake(Target):
    """Everything happens at once, in a `World`."""

    kind: Literal["fake"]
    splits: ClassVar[bool] = True
    needs_archive: ClassVar[bool] = False
    world: Any

    def render(self, release: Release, context: TargetContext) -> Manifest:
        return {
            "experiment": release.experiment,
            "version": release.version,
            "bundle_digest": release.bundle_digest,
        }

    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        how = self.world.call("apply")
        self.world.up[manifest["version"]] = {**manifest, "bundle": str(bundle)}
        self.world.shares.setdefault(manifest["version"], 0.0)
        began = context.now()
        while (context.now() - began).total_seconds() < self.world.comes_up_s:
            context.sleep(1)
        self.world.fail(how)

    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        how = self.world.call("ask")
        if version not in self.world.up:
            raise TargetError(f"version {version} is not there")
        golden = bundle.read_golden(Path(self.world.up[version]["bundle"]))
        self.world.fail(how)
        probabilities = [list(row) for row in golden.probabilities]
        if version in self.world.wrong:
            probabilities = [row[::-1] for row in probabilities]
        return Answer(
            predictions=list(golden.predictions),
            probabilities=probabilities,
            classes=[],
            model=experiment,
            version=str(version),
            request_id="",
            explanations=None,
            content={},
        )

    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        how = self.world.call(f"shift {share:g}")
        version, world = manifest["version"], self.world
        stable = world.settled["version"] if world.settled else None
        if version not in world.up:
            raise TargetError("the candidate is not there")
        world.shares = {version: share}
        if stable is not None and stable != version:
            world.shares[stable] = 1 - share
        world.fail(how)
        return share

    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        how = self.world.call("settle")
        version, world = manifest["version"], self.world
        if version not in world.up:
            raise LostError(f"version {version} is not there, to be settled")
        if world.settled is not None and world.settled["version"] != version:
            world.previous = world.settled["version"]
        world.settled = manifest
        world.up = {version: world.up[version]}
        world.shares = {version: 1.0}
        world.fail(how)
        return self._endpoint(manifest)

    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        how = self.world.call("rollback")
        world, version = self.world, manifest["version"]
        if world.settled != manifest:
            stable = world.settled["version"] if world.settled else None
            if version != stable:
                world.up.pop(version, None)
            world.shares = {} if stable is None else {stable: 1.0}
        world.fail(how)
        return None if world.settled is None else self._endpoint(world.settled)

    def measure(self, experiment: str, slower_than: float, context: TargetContext) -> Counts:
        how = self.world.call("measure")
        self.world.fail(how)
        if self.world.unreachable:
            raise TargetError("nobody is reached")
        answered: dict[int, dict[str, Traffic]] = self.world.answered
        return {
            version: {
                pod: answered.get(version, {}).get(pod, NONE) for pod in self.world.pods_of(version)
            }
            for version in self.world.up.keys() - self.world.silent
        }

    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        return None if self.world.settled is None else self._endpoint(self.world.settled)

    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        alone = self.world.shares == {manifest["version"]: 1.0}
        if self.world.settled != manifest or not alone or len(self.world.up) > 1:
            return None
        return self._endpoint(manifest)

    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        self.world.up, self.world.shares = {}, {}
        gone = None if self.world.settled is None else self._endpoint(self.world.settled)
        return None if gone is None else replace(gone, state="stopped")

    def _endpoint(self, manifest: Manifest) -> Endpoint:
        return Endpoint(
            experiment=manifest["experiment"],
            target="fake",
            url="http://fake",
            version=manifest["version"],
            bundle_digest=manifest["bundle_digest"],
            since="2026-05-03T00:00:00+00:00",
            previous_version=self.world.previous,
        )
