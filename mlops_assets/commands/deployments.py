"""What was live when, from the materializations of endpoint assets. Reads only."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment

MOST = 1000
"""Materializations of one endpoint that are looked at, the newest."""


@dataclass(frozen=True)
class Deployment:
    """A version that took the traffic of one endpoint."""

    target: str
    version: int
    since: str
    """ISO 8601, UTC."""
    until: str
    """When the next one took it; empty while it is the newest."""
    reason: str
    """Why it was deployed."""
    decided: str
    """Who or what had made it the champion."""
    run_id: str
    bundle_digest: str


def history(
    instance: "dg.DagsterInstance | None", experiment: "Experiment"
) -> tuple[Deployment, ...]:
    """Every deployment of the experiment, oldest first."""
    from mlops_assets import vocabulary as names
    from mlops_assets.experiment.spec import kind_of

    found: list[Deployment] = []
    for target in experiment.deployment.targets if instance is not None else ():
        kind = kind_of(type(target))
        found += _of_one(instance, names.endpoint_key(experiment.name, kind), kind)
    return tuple(sorted(found, key=lambda one: (one.since, one.target)))


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


def before(deployments: tuple[Deployment, ...], version: int | None) -> int | None:
    """The version that was live last before this one, on any target; None when there is none."""
    others = [one.version for one in deployments if one.version != version]
    return others[-1] if others else None


def _of_one(instance: Any, key: "dg.AssetKey", kind: str) -> list[Deployment]:
    records = instance.fetch_materializations(key, limit=MOST).records
    found: list[Deployment] = []
    for record in reversed(records):
        said = {k: v.value for k, v in record.asset_materialization.metadata.items()}
        if said.get("state") != "live" or "version" not in said:
            continue
        version, since = int(said["version"]), str(said.get("since", _when(record)))
        if found and found[-1].version == version:
            continue  # deployed again, and nothing changed for callers
        if found:
            found[-1] = replace(found[-1], until=since)
        found.append(
            Deployment(
                target=kind,
                version=version,
                since=since,
                until="",
                reason=str(said.get("reason", "")),
                decided=str(said.get("decided", "")),
                run_id=record.run_id,
                bundle_digest=str(said.get("bundle_digest", "")),
            )
        )
    return found


def _when(record: Any) -> str:
    return datetime.fromtimestamp(record.timestamp, UTC).isoformat(timespec="seconds")
