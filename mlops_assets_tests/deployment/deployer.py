"""Whoever deploys to a target that runs on this machine; a site of each target tells the rest."""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlops_assets.deployment import telling
from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.rollout import Outcome, roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release, Target, TargetContext
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import Arrival, ServingProfile
from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.monitoring.freshness import Past, judge
from mlops_assets.monitoring.spec import MonitoringSpec
from mlops_assets_tests.builders import Built, make_experiment

PAUSE_S = 0.05
"""Between an answer and the next call of who calls all the time."""


@dataclass(kw_only=True)
class Deployer(ABC):
    root: Path
    name: str = "churn"
    """The experiment."""
    told: list[str] = field(default_factory=list)
    """How rollouts went."""

    @property
    @abstractmethod
    def context(self) -> TargetContext: ...

    @abstractmethod
    def target(self, **settings: Any) -> Target: ...

    @abstractmethod
    def release(self, built: Built, version: int) -> Release: ...

    @property
    def journal(self) -> Journal:
        return Journal(
            DataStore(str(self.root / "journal"), {}), self.name, kind_of(type(self.target()))
        )

    def deploy(
        self, built: Built, version: int, spec: RolloutSpec | None = None, **settings: Any
    ) -> Outcome:
        return self.roll_out(self.release(built, version), built, spec, **settings)

    def roll_out(
        self,
        release: Release,
        built: Built,
        spec: RolloutSpec | None = None,
        *,
        returns: bool = False,
        **settings: Any,
    ) -> Outcome:
        return roll_out(
            self.target(**settings),
            release,
            built.folder,
            spec=spec or RolloutSpec(),
            journal=self.journal,
            context=self.context,
            run="test",
            tell=self.tell,
            returns=returns,
        )

    def tell(self, line: str) -> None:
        self.told.append(line)

    def telemetry(self, version: int) -> Telemetry:
        """What the endpoint tells of a version."""
        target = self.target().model_dump(mode="json")
        experiment = make_experiment(name=self.name, deployment={"targets": [target]})
        (told,) = telling.told(experiment, version, self.context)
        return told

    def why_nothing_came(
        self, version: int, before: Telemetry | None = None, *, probes: int = 0
    ) -> tuple[str, Telemetry]:
        """What freshness finds of the endpoint, of which no profile has come for ten hours; and
        what it told."""
        told = self.telemetry(version)
        long_ago = datetime.now(UTC) - timedelta(hours=10)
        arrivals = {told.target: Arrival(long_ago.isoformat(), long_ago.isoformat())}
        since = (long_ago - timedelta(hours=1)).isoformat()
        profile = ServingProfile(version, (), (), since, (), (), arrivals)
        past = {} if before is None else {told.target: Past(before, probes)}
        verdict = judge(profile, [told], MonitoringSpec(), now=datetime.now(UTC), past=past)
        return verdict.finding, told


@contextmanager
def calling(call: Callable[[Counter[str]], None]) -> Iterator[Counter[str]]:
    """Somebody calls all the time as long as the block lasts; what `call` counts."""
    seen: Counter[str] = Counter()
    ends = threading.Event()

    def call_on() -> None:
        while not ends.wait(PAUSE_S):
            call(seen)

    thread = threading.Thread(target=call_on)
    thread.start()
    try:
        yield seen
    finally:
        ends.set()
        thread.join(60)
