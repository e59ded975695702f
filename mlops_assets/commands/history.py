"""`mlops history`: what was live when, for how long, why, who decided it, and its origin."""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.commands.console import table
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.deployment.history import Deployment
    from mlops_assets.experiment.model import Experiment

DIGITS = 8
"""Of a digest, in the table."""


@dataclass(frozen=True)
class Told:
    """A deployment, with what the registry knows of its version now."""

    deployment: "Deployment"
    registered: bool | None
    """Whether the registry still holds the version; None when it was not asked."""


@click.command()
@click.argument("experiment", required=False)
@click.option(
    "--on",
    "day",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Only what was live at some time of that day, or at that second (UTC).",
)
@click.option(
    "--version",
    "number",
    type=click.IntRange(min=1),
    help="Only this version, with everything that is known of it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON list.")
def history(
    experiment: str | None, *, day: datetime | None, number: int | None, as_json: bool
) -> None:
    """Show every version that had the traffic of EXPERIMENT, oldest first: when, for how long, why,
    and which data and code it was made from."""
    from mlops_assets import settings
    from mlops_assets.commands import deployments
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.instance import existing_instance

    current = settings.load()
    chosen = choose(current, experiment)
    with ExitStack() as stack:
        instance = existing_instance(current)
        if instance is not None:
            stack.enter_context(instance)
        found = deployments.history(instance, chosen)
    if day is not None:
        first = day.replace(tzinfo=UTC)
        whole = first.time() == datetime.min.time()
        last = first + timedelta(days=1, seconds=-1) if whole else first
        found = deployments.live_during(found, first, last)
    if number is not None:
        found = tuple(one for one in found if one.version == number)
    told, trouble = with_registry(current, chosen, found)
    now = datetime.now(UTC)
    if as_json:
        click.echo(json.dumps([as_plain(one, now) for one in told], indent=2))
        return
    if trouble:
        click.echo(f"The registry was not asked: {trouble}", err=True)
    if not told:
        what = chosen.name if number is None else f"version {number} of {chosen.name}"
        click.echo(f"Nothing of {what} was live{f' on {day:%Y-%m-%d}' if day else ''}.")
    elif number is None:
        click.echo(overview(told, now))
    else:
        click.echo("\n\n".join(detail(current, one, now) for one in told))


def with_registry(
    settings: Settings, experiment: "Experiment", found: "tuple[Deployment, ...]"
) -> tuple[list[Told], str]:
    """The deployments with what the registry says of their versions; and why it was not asked.

    What was written down when a version was deployed counts. A deployment by an older program,
    which wrote nothing of it, gets it from the registry.
    """
    from mlops_assets.commands.status import existing_registry
    from mlops_assets.gateways.model_registry import RegistryError
    from mlops_assets.gateways.registered import Origin
    from mlops_assets.gateways.versions import all_versions

    registry, trouble = existing_registry(settings) if found else (None, "")
    if registry is None:
        return [Told(one, None) for one in found], trouble
    try:
        versions = {one.version: one for one in all_versions(registry, experiment.model_name)}
    except RegistryError as error:
        return [Told(one, None) for one in found], str(error)
    told = []
    for one in found:
        version = versions.get(one.version)
        late = Origin.of(version.tags) if version is not None else one.origin
        filled = replace(one, origin=one.origin if one.origin.known() else late)
        told.append(Told(filled, version is not None))
    return told, ""


def as_plain(one: Told, now: datetime) -> dict[str, Any]:
    """For JSON."""
    seconds = one.deployment.seconds(now)
    return {**asdict(one.deployment), "live_s": seconds, "registered": one.registered}


def overview(told: list[Told], now: datetime) -> str:
    """A line for each deployment."""
    from mlops_assets.experiment.lengths import lasting

    head = ("since", "until", "for", "target", "version", "data", "code", "why", "decided by")
    rows = [
        (
            one.since,
            one.end_in_words(),
            lasting(one.seconds(now)),
            one.target,
            f"{one.version} (deleted)" if registered is False else str(one.version),
            one.origin.data_digest[:DIGITS] or "?",
            one.origin.code_version[:DIGITS] or "?",
            one.reason,
            one.decided,
        )
        for one, registered in ((each.deployment, each.registered) for each in told)
    ]
    return table([head, *rows])


def detail(settings: Settings, told: Told, now: datetime) -> str:
    """Everything about one deployment."""
    from mlops_assets.commands.instance import run_url
    from mlops_assets.experiment.lengths import lasting

    one, origin = told.deployment, told.deployment.origin
    rows = "" if origin.training_rows is None else f", {origin.training_rows:,} rows"
    unknown = "not written down when it was registered"
    if told.registered is False:
        unknown = "not written down when it was deployed, and the version is deleted"
    lines = [
        ("live", f"{one.since} until {one.until or 'now'}, {lasting(one.seconds(now))}"),
        *([("stopped by", one.stopped_by)] if one.stopped_by else []),
        ("why", one.reason),
        ("decided by", one.decided),
        ("training set", f"{origin.data_digest}{rows}" if origin.data_digest else unknown),
        ("snapshot", origin.snapshot_digest or unknown),
        ("code", origin.code_version or unknown),
        ("YAML", origin.yaml_fingerprint or unknown),
        ("bundle", one.bundle_digest),
        ("run", run_url(settings, one.run_id) if one.run_id else "reported by hand"),
    ]
    if told.registered is False:
        lines.append(("registry", "the version was deleted"))
    return f"version {one.version} on {one.target}\n{table(lines, indent='  ')}"
