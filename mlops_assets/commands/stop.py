"""`mlops stop`: no endpoint of the experiment serves any more. May be repeated."""

import json
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlops_assets.settings import Settings


@click.command()
@click.argument("experiment")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def stop(experiment: str, *, as_json: bool) -> None:
    """Stop every endpoint of EXPERIMENT; requests in flight are answered first.

    The versions stay in the registry: `mlops run EXPERIMENT --deploy-only` serves again.
    """
    from mlops_assets import resources, settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.deployment.targets.base import TargetError
    from mlops_assets.experiment.spec import kind_of

    current = settings.load()
    chosen = choose(current, experiment)
    context, lines, content = resources.target_context(current), [], {}
    for target in chosen.deployment.targets:
        kind = kind_of(type(target))
        try:
            before = target.observe(chosen.name, context)
            after = target.retire(chosen.name, context)
        except TargetError as error:
            raise click.ClickException(f"{chosen.name} on {kind}: {error}") from error
        if before is None or after is None:
            lines.append(f"{chosen.name} on {kind}: was never deployed")
        elif before.state == "stopped":
            lines.append(f"{chosen.name} on {kind}: was stopped already")
        else:
            lines.append(
                f"{chosen.name} on {kind}: stopped; version {before.version} served at "
                f"{before.url} since {before.since}"
            )
        if after is not None:
            _mark(current, chosen.name, kind)
        content[kind] = {
            "before": before.state if before else None,
            "after": after.state if after else None,
            "version": before.version if before else None,
        }
    click.echo(json.dumps({chosen.name: content}, indent=2) if as_json else "\n".join(lines))


def _mark(settings: "Settings", experiment: str, target: str) -> None:
    """Say in Dagster's storage that it is to be silent, for whoever watches over endpoints."""
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.gateways import stopped

    if (instance := existing_instance(settings)) is not None:
        with instance:
            stopped.mark(instance.daemon_cursor_storage, experiment, target, time.time())
