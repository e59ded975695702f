"""`mlops history`: what was live when, why, and who decided it."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from mlops_assets.commands.console import table


@click.command()
@click.argument("experiment", required=False)
@click.option(
    "--on",
    "day",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Only what was live at some time of that day, or at that second (UTC).",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON list.")
def history(experiment: str | None, *, day: datetime | None, as_json: bool) -> None:
    """Show every version that had the traffic of EXPERIMENT, oldest first."""
    from mlops_assets import settings
    from mlops_assets.commands import deployments
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.instance import existing_instance, run_url

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
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    if not found:
        when = f" on {day:%Y-%m-%d}" if day else ""
        click.echo(f"Nothing of {chosen.name} was live{when}.")
        return
    head = ("since", "until", "target", "version", "why", "decided by", "run")
    rows = [
        (
            one.since,
            one.until or "now",
            one.target,
            str(one.version),
            one.reason,
            one.decided,
            run_url(current, one.run_id) if one.run_id else "reported by hand",
        )
        for one in found
    ]
    click.echo(table([head, *rows]))
