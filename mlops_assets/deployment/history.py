"""What was live when, told from what deployments reported. Knows neither Dagster nor targets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from mlops_assets.experiment.lengths import lasting
from mlops_assets.gateways.registered import Origin
from mlops_assets.vocabulary import STOPPED_BY

SHOWN = 20
"""Deployments that an asset's page lists."""
KEPT = 200
"""Reports that are read for it: several may be of one version, deployed again."""


@dataclass(frozen=True)
class Reported:
    """What one deployment said of its endpoint."""

    said: Mapping[str, Any]
    run_id: str
    at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Deployment:
    """A version that took the traffic of one endpoint."""

    target: str
    version: int
    since: str
    """ISO 8601, UTC."""
    until: str
    """When the next one took it, or it was stopped; empty while it is the newest."""
    stopped_by: str
    """Who stopped it; empty while nobody did."""
    reason: str
    """Why it was deployed."""
    decided: str
    """Who or what had made it the champion."""
    run_id: str
    bundle_digest: str
    url: str
    """Where it answered."""
    origin: Origin
    """As its registry tags were when it was deployed."""

    def end_in_words(self) -> str:
        """Until when it had the traffic."""
        return f"{self.until} (stopped)" if self.stopped_by else self.until or "now"

    def seconds(self, now: datetime) -> int:
        """How long it had the traffic, by a time (aware)."""
        end = datetime.fromisoformat(self.until) if self.until else now
        return max(0, round((end - datetime.fromisoformat(self.since)).total_seconds()))


def reported(record: Any) -> Reported:
    """A materialization of an endpoint, as Dagster's event log gives it."""
    metadata = record.asset_materialization.metadata
    at = datetime.fromtimestamp(record.timestamp, UTC).isoformat(timespec="seconds")
    return Reported({k: v.value for k, v in metadata.items()}, record.run_id, at)


def told(target: str, reports: Iterable[Reported]) -> list[Deployment]:
    """The deployments of one endpoint, oldest first.

    Args:
        target: its kind.
        reports: oldest first. One that says neither what is live nor who stopped it says nothing:
            people can report a materialization in the UI.
    """
    found: list[Deployment] = []
    for report in reports:
        said = report.said
        if STOPPED_BY in said and found and not found[-1].until:
            until, by = str(said.get("until", report.at)), str(said[STOPPED_BY])
            found[-1] = replace(found[-1], until=until, stopped_by=by)
        if said.get("state") != "live" or "version" not in said:
            continue
        version, since = int(said["version"]), str(said.get("since", report.at))
        going = bool(found) and not found[-1].until
        if going and found[-1].version == version:
            continue  # deployed again, and nothing changed for callers
        if going:
            found[-1] = replace(found[-1], until=since)
        found.append(
            Deployment(
                target=target,
                version=version,
                since=since,
                until="",
                stopped_by="",
                reason=str(said.get("reason", "")),
                decided=str(said.get("decided", "")),
                run_id=report.run_id,
                bundle_digest=str(said.get("bundle_digest", "")),
                url=str(said.get("url", "")),
                origin=_origin(said),
            )
        )
    return found


def page(deployments: list[Deployment], now: datetime) -> str:
    """Markdown table of the newest deployments, the newest first.

    Args:
        deployments: of one endpoint, oldest first.
        now: aware.
    """
    head = "| version | since | until | for | why | decided by | data | rows | code | YAML |"
    lines = [head, "|" + " --- |" * 10]
    for one in deployments[: -SHOWN - 1 : -1]:
        origin = one.origin
        cells = (
            str(one.version), one.since, one.end_in_words(), lasting(one.seconds(now)),
            one.reason, one.decided, origin.data_digest[:12],
            "" if origin.training_rows is None else f"{origin.training_rows:,}",
            origin.code_version[:12], origin.yaml_fingerprint,
        )  # fmt: skip
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    if len(deployments) > SHOWN:
        lines.append(f"\nand {len(deployments) - SHOWN} before: `mlops history`")
    return "\n".join(lines)


def _origin(said: Mapping[str, Any]) -> Origin:
    return Origin(**{one.name: said[one.name] for one in fields(Origin) if one.name in said})


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
