"""`mlops report`: one HTML file that says how an experiment is, for people who run no commands."""

import webbrowser
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.data_store import DataStore
    from mlops_assets.monitoring.report.compose import Left
    from mlops_assets.monitoring.report.record import Report


@click.command()
@click.argument("experiment", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; by default <experiment>-report.html in the current folder.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=30,
    show_default=True,
    help="How far back it goes.",
)
@click.option("--open", "opened", is_flag=True, help="Open it in the browser.")
def report(experiment: str | None, *, output: Path | None, days: int, opened: bool) -> None:
    """Write how EXPERIMENT is as one HTML file: quality, traffic, drift, tickets, what changed and
    why.

    It needs no network, no script and no other file, so that it can be sent as it is. What was
    never judged, or cannot be read, is said in it.
    """
    from mlops_assets import settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.monitoring.report.render import render

    current = settings.load()
    chosen = choose(current, experiment)
    made = gathered(current, chosen, days=days, now=datetime.now(UTC))
    path = output or Path(f"{chosen.name}-report.html")
    try:
        path.write_text(render(made), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error}") from error
    click.echo(f"{made.headline}\n{path}")
    if opened and not webbrowser.open(path.resolve().as_uri()):
        click.echo("No browser was found to open it.", err=True)


def gathered(settings: Settings, experiment: "Experiment", *, days: int, now: datetime) -> "Report":
    """Ask everybody, and put it in the order people ask.

    Args:
        settings: where everybody is.
        experiment: whose.
        days: how far back.
        now: aware.
    """
    import warnings

    from mlops_assets.commands import account, kept, standing
    from mlops_assets.commands.asked import Asked
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.commands.status import existing_registry
    from mlops_assets.monitoring.report import compose

    warnings.simplefilter("ignore")
    store, since = kept.store(settings), now - timedelta(days=days)
    left, trouble = _left(store, experiment, since)
    monitored = compose.monitored(experiment, store, left, now=now)
    registry, refused = existing_registry(settings)
    with ExitStack() as stack:
        instance = existing_instance(settings)
        if instance is not None:
            stack.enter_context(instance)
        now_standing = standing.gather(
            settings,
            experiment,
            registry=registry,
            registry_error=refused,
            instance=instance,
            now=now,
        )
        asked = Asked(settings, experiment, instance, registry, now_standing, since, now)
        return account.report(asked, monitored, trouble)


def _left(store: "DataStore", experiment: "Experiment", since: datetime) -> "tuple[Left, str]":
    """What monitoring left on the store; and why that could not be read."""
    from mlops_assets.commands import kept
    from mlops_assets.gateways.data_store import DataStoreError
    from mlops_assets.monitoring.report.compose import Left
    from mlops_assets.monitoring.windows import merged_since

    try:
        profile = kept.record(store, experiment.name, "serving_profile")
        performance = kept.record(store, experiment.name, "performance")
        windows = merged_since(store, experiment.name, since)
    except (DataStoreError, ValueError) as error:
        return Left(None, None, ()), f"What monitoring left cannot be read: {error}"
    return Left(profile, performance, tuple(windows), since), ""
