"""An experiment, its registry and the sensor that looks at it, for tests of who decides what."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import (
    APPROVE,
    APPROVED_BY,
    AUTHOR,
    COMPARED_WITH,
    REJECT,
    THE_GATES,
    Decision,
)
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.registry.looking import Look
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.fakes.registry import MemoryRegistry
from mlops_assets_tests.fakes.target import KilledError

NOW = datetime(2026, 12, 20, 9, tzinfo=UTC)
CARD = {"intended_use": "Letters to customers.", "limitations": "New customers."}
YEAR_END = {"start": "2026-12-18 18:00", "end": "2027-01-04 08:00", "reason": "end of the year"}


def experiment(**promotion: Any) -> Experiment:
    return make_experiment(registry={"promotion": promotion, "card": CARD})


class Hooked(ModelRegistry):
    """A registry that remembers what was written to it, can end whoever writes, and lets somebody
    else act just before a call."""

    written: list[str]
    ends_after: int | None = None
    """Writes, until the program that writes is killed."""
    between: dict[int, Callable[[], None]]
    """What happens just before which call."""
    calls: int = 0

    def _call(self, words: str = "") -> None:
        self.calls += 1
        if act := self.between.pop(self.calls, None):
            act()
        if words:
            if self.ends_after is not None and len(self.written) >= self.ends_after:
                raise KilledError
            self.written.append(words)

    def model(self, name: str) -> Any:
        self._call()
        return super().model(name)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        self._call(f"alias {version}")
        super().set_alias(name, alias, version)

    def remove_alias(self, name: str, alias: str) -> None:
        self._call("no alias")
        super().remove_alias(name, alias)

    def tag_model(self, name: str, tags: Any) -> None:
        self._call(f"decided {sorted(tags.values())}")
        super().tag_model(name, tags)

    def tag_version(self, name: str, version: int, tags: Any) -> None:
        for key, value in tags.items():
            self._call(f"{version} {key}")
            super().tag_version(name, version, {key: value})

    def untag_version(self, name: str, version: int, tags: Any) -> None:
        for key in tags:
            self._call(f"{version} -{key}")
            super().untag_version(name, version, [key])


class HookedStore(Hooked):
    """A real store."""

    def __init__(self, tracking_uri: str, artifacts_url: str) -> None:
        super().__init__(tracking_uri, artifacts_url, "")
        self.written, self.between = [], {}


class HookedMemory(Hooked, MemoryRegistry):
    """One in memory."""

    def __init__(self) -> None:
        MemoryRegistry.__init__(self, {})
        self.written, self.between = [], {}


@dataclass
class World:
    """One experiment, its store, and a sensor that looks at it."""

    registry: Hooked
    experiment: Experiment
    now: datetime = NOW
    decided: dict[str, int] = field(default_factory=dict)
    run: Callable[[], str] = lambda: "run"
    """Makes a run for a version to come from."""

    def look(self) -> Look:
        self.now += timedelta(seconds=15)
        look = Look(
            self.registry,
            decided=self.decided,
            watched={},
            attempt=lambda *_: None,
            has_rows=lambda _: True,
            now=self.now,
            dagster_url="http://dagster",
        )
        look.take([self.experiment])
        self.decided |= look.champions
        return look

    def version(self, outcome: Any, *, compared: str = "none", **tags: str) -> int:
        """A version of bob's, evaluated by a run of its own, as the asset leaves it."""
        run = self.run()
        decision = Decision(outcome, "passed", THE_GATES, "2026-12-20T08:00:00+00:00", "r")
        made = {
            "mlops.bundle_uri": "runs:/r/bundle",
            AUTHOR: "bob",
            COMPARED_WITH: compared,
            **tags,
            **decision.tags(),
        }
        return self.registry.register("churn", source="runs:/r/model", run_id=run, tags=made)

    def crowned(self, **tags: str) -> int:
        """The champion, decided about an hour ago."""
        number = self.version("promoted", **tags)
        champions.crown(self.registry, "churn", number, now=self.now - timedelta(hours=1))
        return number

    def person(self, number: int, **tags: str) -> None:
        names = {"approve": APPROVE, "by": APPROVED_BY, "reject": REJECT, "author": AUTHOR}
        for key, value in tags.items():
            self.registry.tag_version("churn", number, {names[key]: value})

    def tags(self, number: int) -> dict[str, str]:
        return dict(self.registry.version("churn", number).tags)

    def decision(self, number: int) -> Decision:
        found = Decision.of(self.tags(number))
        assert found is not None
        return found

    @property
    def alias(self) -> int | None:
        return self.registry.aliases("churn").get(CHAMPION)

    @property
    def by_decision(self) -> int | None:
        model = self.registry.model("churn")
        found = model and champions.crowned(model)
        return found.version if found else None


def stored(registry: ModelRegistry, experiment: Experiment) -> World:
    """The world of an experiment over a real store, each of whose versions has a run there."""
    hooked = HookedStore(registry.tracking_uri, registry._artifacts_url)

    def run() -> str:
        made = hooked.client.create_run(hooked.experiment_id(experiment.name))
        return str(made.info.run_id)

    return World(hooked, experiment, run=run)
