"""Whom a report asks, and what it asks of the registry. Reads only."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_assets.commands.standing import Standing
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.model_registry import ModelRegistry
    from mlops_assets.gateways.registered import RegistryVersion


@dataclass(frozen=True)
class Asked:
    """Whom a report asks."""

    settings: Settings
    experiment: "Experiment"
    instance: "dg.DagsterInstance | None"
    """None when nothing was ever run."""
    registry: "ModelRegistry | None"
    standing: Standing
    since: datetime
    """Aware."""
    now: datetime
    """Aware."""


def live_version(asked: Asked) -> int | None:
    live = [one["version"] for one in asked.standing.endpoints if one["version"] is not None]
    return max(live) if live else asked.standing.champion


def versions_of(asked: Asked) -> "tuple[list[RegistryVersion], str]":
    """Those that MLflow holds; and why it was not asked."""
    from mlops_assets.gateways.model_registry import RegistryError
    from mlops_assets.gateways.versions import all_versions

    if asked.registry is None:
        return [], asked.standing.registry_error
    try:
        return all_versions(asked.registry, asked.experiment.model_name), ""
    except RegistryError as error:
        return [], str(error)
