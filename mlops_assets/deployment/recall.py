"""Whether what is being deployed is still wanted: a rollback may take it back meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlops_assets.deployment import at_once
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import Decision
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError

PATIENCE = 5.0
"""Seconds with a registry that accepts and does not answer: the rollout is watched meanwhile."""


def rollback_in(tags: Mapping[str, str]) -> Decision | None:
    """The rollback that made the version with these tags the champion; None when something else
    did. It stands in the registry, so whoever deploys the version finds it."""
    decision = Decision.of(tags)
    return decision if decision is not None and decision.is_rollback else None


@dataclass(frozen=True)
class Recall:
    """Says, as often as it is called, why a version is not wanted any more. Empty while it is, and
    while nobody can tell, of which people are warned."""

    experiment: Experiment
    registry: ModelRegistry
    version: int
    """What is being deployed."""
    warn: Callable[[str], None]
    patience: float = PATIENCE
    _asker: at_once.Asker[int] = field(default_factory=at_once.Asker)

    def __call__(self) -> str:
        try:
            found = self._asker.answers({self.version: self._reason}, patience=self.patience)
        except RegistryError as error:
            self._unknown(str(error))
            return ""
        if self.version not in found:
            self._unknown(f"of MLflow, {at_once.late(self.patience)}")
        return found.get(self.version, "")

    def _reason(self) -> str:
        self.registry.check()
        champion = champions.current(
            self.registry,
            self.experiment.model_name,
            by_hand=self.experiment.promotion.by_hand,
        )
        if champion in (None, self.version):
            return ""
        back = rollback_in(self.registry.version(self.experiment.model_name, champion).tags)
        return "" if back is None else f"version {champion} returns ({back.by})"

    def _unknown(self, why: str) -> None:
        self.warn(f"whether version {self.version} is wanted still is not known for now: {why}")
