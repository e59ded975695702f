"""Whoever deploys to a target that runs on this machine; a site of each target tells the rest."""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.rollout import Outcome, roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release, Target, TargetContext
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets_tests.builders import Built


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
        self, release: Release, built: Built, spec: RolloutSpec | None = None, **settings: Any
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
        )

    def tell(self, line: str) -> None:
        self.told.append(line)


@contextmanager
def calling(call: Callable[[Counter[str]], None]) -> Iterator[Counter[str]]:
    """Somebody calls without a pause as long as the block lasts; what `call` counts."""
    seen: Counter[str] = Counter()
    ends = threading.Event()

    def call_on() -> None:
        while not ends.is_set():
            call(seen)

    thread = threading.Thread(target=call_on)
    thread.start()
    try:
        yield seen
    finally:
        ends.set()
        thread.join(60)
