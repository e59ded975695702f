"""What depends on an asset, a column or a table: from the definitions, the event log and the
registry. Reads only."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mlops_assets.commands.columns import Column
from mlops_assets.commands.naming import TYPED, Begin

if TYPE_CHECKING:
    from mlops_assets.deployment.history import Deployment
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.model_registry import ModelRegistry


@dataclass(frozen=True)
class Check:
    """A check that judges something on the way."""

    asset: str
    name: str
    blocking: bool


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that depends on it, with what the event log says is live there."""

    target: str
    asset: str
    version: int | None
    """None when it was never deployed."""
    url: str
    since: str
    serves_column: bool | None
    """Whether the live version is asked with the column; None when no column was asked about, or
    its bundle cannot be read."""
    trouble: str
    """Why it cannot."""


@dataclass(frozen=True)
class Impact:
    """What depends on the asked thing in one experiment."""

    experiment: str
    yaml: str
    begins: str
    """The asset it begins with."""
    reads: tuple[str, ...]
    """The files or tables of its source."""
    assets: tuple[str, ...]
    """In the order of the data."""
    checks: tuple[Check, ...]
    endpoints: tuple[Endpoint, ...]
    column: Column | None
    same_source: tuple[str, ...]
    """Other experiments that read one of the same files or tables."""


class Graph:
    """The assets and checks of one experiment, by name."""

    def __init__(self, experiment: "Experiment") -> None:
        import dagster as dg  # noqa: TID251

        from mlops_assets import vocabulary as names
        from mlops_assets.graph import build_experiment

        built = build_experiment(experiment)
        made = [
            one
            for one in (*(built.assets or ()), *(built.asset_checks or ()))
            if isinstance(one, dg.AssetsDefinition)
        ]
        self._below = names.asset_key(experiment.name, names.ENDPOINTS).to_user_string()
        self._checks = [
            Check(check.asset_key.to_user_string(), check.name, bool(check.blocking))
            for one in made
            for check in one.check_specs
        ]
        self._parents = {
            spec.key.to_user_string(): sorted(dep.asset_key.to_user_string() for dep in spec.deps)
            for one in made
            for spec in one.specs
        }
        self.assets = tuple(TopologicalSorter(self._parents).static_order())
        """Every asset, after what it depends on."""

    def after(self, asset: str) -> tuple[str, ...]:
        """Every asset that depends on it."""
        found = {asset}
        for one in self.assets:
            if found.intersection(self._parents.get(one, ())):
                found.add(one)
        return tuple(one for one in self.assets if one in found and one != asset)

    def checks(self, assets: Collection[str]) -> tuple[Check, ...]:
        """The checks of these assets, in the order of the data."""
        return tuple(
            check
            for asset in self.assets
            if asset in assets
            for check in sorted(self._checks, key=lambda one: one.name)
            if check.asset == asset
        )

    def endpoint(self, asset: str) -> str | None:
        """The target of an endpoint's asset; None for others."""
        below, _, target = asset.rpartition("/")
        return target if below == self._below else None


def impact(
    begin: Begin,
    graph: Graph,
    *,
    live: "dict[str, Deployment]",
    registry: "ModelRegistry | None",
    column: Column | None,
) -> Impact:
    """What depends on an asset, or on a column of it.

    Args:
        begin: the asset.
        graph: of its experiment.
        live: the newest deployment of each target.
        registry: None when it is not there.
        column: of that asset; None for all of it.
    """
    experiment, after = begin.data.experiment, graph.after(begin.asset)
    endpoints = [
        _endpoint(experiment, target, asset, live.get(target), registry, column)
        for asset in after
        if (target := graph.endpoint(asset))
    ]
    if column is not None and not column.matters:
        after = tuple(one for one in after if one == f"{experiment.name}/{TYPED}")
        endpoints = [one for one in endpoints if one.serves_column]
    return Impact(
        experiment=experiment.name,
        yaml=str(experiment.path),
        begins=begin.asset,
        reads=begin.data.reads,
        assets=after,
        checks=graph.checks({begin.asset, *after}),
        endpoints=tuple(endpoints),
        column=column,
        same_source=begin.same_source,
    )


def _endpoint(
    experiment: "Experiment",
    target: str,
    asset: str,
    live: "Deployment | None",
    registry: "ModelRegistry | None",
    column: Column | None,
) -> Endpoint:
    if live is None:
        return Endpoint(target, asset, None, "", "", None, "")
    served, trouble = None, ""
    if column is not None:
        names, trouble = _served(experiment, live.version, registry)
        served = None if names is None else column.name in names
    return Endpoint(target, asset, live.version, live.url, live.since, served, trouble)


def _served(
    experiment: "Experiment", version: int, registry: "ModelRegistry | None"
) -> tuple[tuple[str, ...] | None, str]:
    """The columns of a version's requests; None, and why, when that cannot be found out."""
    from mlops_assets.gateways.model_registry import RegistryError
    from mlops_assets.serving.bundle import MANIFEST
    from mlops_assets.serving.schema import InputSchema

    if registry is None:
        return None, "MLflow does not answer"
    try:
        uri = registry.version(experiment.model_name, version).tags.get("mlops.bundle_uri")
        if uri is None:
            return None, f"version {version} has no serving bundle"
        with TemporaryDirectory() as folder:
            path = registry.download(f"{uri}/{MANIFEST}", Path(folder))
            content = json.loads(path.read_text(encoding="utf-8"))
    except RegistryError as error:
        return None, str(error)
    return InputSchema.from_json(content["schema"]).names, ""
