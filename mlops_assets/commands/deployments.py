"""What was live when, from the materializations of endpoint assets. Reads only."""

from datetime import datetime
from typing import TYPE_CHECKING

from mlops_assets.deployment.history import Deployment

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment

MOST = 1000
"""Materializations of one endpoint that are looked at, the newest."""


def history(
    instance: "dg.DagsterInstance | None", experiment: "Experiment"
) -> tuple[Deployment, ...]:
    """Every deployment of the experiment, oldest first."""
    from mlops_assets import vocabulary as names
    from mlops_assets.deployment.history import reported, told
    from mlops_assets.experiment.spec import kind_of

    found: list[Deployment] = []
    if instance is None:
        return ()
    for target in experiment.deployment.targets:
        kind = kind_of(type(target))
        key = names.endpoint_key(experiment.name, kind)
        records = instance.fetch_materializations(key, limit=MOST).records
        found += told(kind, map(reported, reversed(records)))
    return tuple(sorted(found, key=lambda one: (one.since, one.target)))


def newest(
    instance: "dg.DagsterInstance | None", experiment: "Experiment"
) -> dict[str, Deployment]:
    """What took the traffic last, by target."""
    return {one.target: one for one in history(instance, experiment)}


def live_during(
    deployments: tuple[Deployment, ...], first: datetime, last: datetime
) -> tuple[Deployment, ...]:
    """Those that had the traffic at some time from `first` to `last` (aware, both included)."""
    return tuple(
        one
        for one in deployments
        if datetime.fromisoformat(one.since) <= last
        and (not one.until or datetime.fromisoformat(one.until) > first)
    )


def before(deployments: tuple[Deployment, ...], version: int | None) -> tuple[int, ...]:
    """The versions that were live before this one, on any target, the last one first."""
    others = [one.version for one in reversed(deployments) if one.version != version]
    return tuple(dict.fromkeys(others))
