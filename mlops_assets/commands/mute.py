"""`mlops mute` and `mlops unmute`: no tickets of what somebody is working on."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.monitoring.tickets.muting import Mutes
    from mlops_assets.settings import Settings


@click.command()
@click.argument("experiment")
@click.argument("cause", required=False, default="")
@click.option("--for", "lasting", required=True, metavar="TIME", help="90m, 2h or 3d; at most 30d.")
@click.option("--reason", required=True, help="Shown to those who look for a ticket.")
def mute(experiment: str, cause: str, *, lasting: str, reason: str) -> None:
    """Open and update no tickets of EXPERIMENT, or of one CAUSE of it, for a while.

    CAUSE is a check (answers_probe), an asset (endpoints/local) or what `mlops tickets` shows
    (runs/retrain). What still holds when the time is over is told then. EXPERIMENT `all` is what
    concerns every experiment: its sensors and schedules.
    """
    from mlops_assets import settings
    from mlops_assets.monitoring.tickets.findings import moment
    from mlops_assets.monitoring.tickets.muting import Mute, duration

    current = settings.load()
    name = _known(current, experiment, cause)
    try:
        span = duration(lasting)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    now = datetime.now(UTC)
    until = (now + span).timestamp()
    one = Mute(cause, until, reason, current.user, moment(now))
    _change(current, name, lambda mutes: mutes.adding(one, now.timestamp()))
    what = f"{name} {cause}".strip()
    click.echo(f"{what} is muted until {moment(until)}; earlier again: mlops unmute {what}")


@click.command()
@click.argument("experiment")
@click.argument("cause", required=False, default="")
def unmute(experiment: str, cause: str) -> None:
    """End every `mlops mute` of EXPERIMENT, or that of CAUSE. Windows of the YAML stay."""
    from mlops_assets import settings

    current = settings.load()
    name = _known(current, experiment, cause)
    now = datetime.now(UTC).timestamp()
    before, after = _change(current, name, lambda mutes: mutes.removing(cause, now))
    ended = [each for each in before.mutes if each.until > now and each not in after.mutes]
    for each in ended:
        click.echo(f"{name} {each.cause}".strip() + f" is not muted any more ({each.reason})")
    if not ended:
        click.echo(f"nothing of {name} was muted" + (f" as {cause}" if cause else ""))


def _known(settings: "Settings", experiment: str, cause: str) -> str:
    """The name of the experiment.

    Raises:
        ClickException: there is none of that name, or it has no such cause.
    """
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.naming import near
    from mlops_assets.monitoring.tickets import advice
    from mlops_assets.monitoring.tickets.muting import is_meant
    from mlops_assets.monitoring.tickets.shelf import PLATFORM

    if experiment == PLATFORM:
        return PLATFORM
    chosen = choose(settings, experiment)
    if not cause:
        return chosen.name
    causes = (*_checked(chosen), advice.RETRAIN, advice.DEPLOY, advice.MONITOR)
    if not any(is_meant(cause, each) for each in causes):
        names = tuple(dict.fromkeys(each.rpartition("/")[2] for each in causes))
        raise click.ClickException(
            f"{chosen.name} has no check or cause {cause!r}: {near(cause, names)}it is one of "
            f"{', '.join(causes)}"
        )
    return chosen.name


def _checked(experiment: "Experiment") -> tuple[str, ...]:
    """The causes that are checks of an experiment."""
    from mlops_assets.graph import build_experiment
    from mlops_assets.monitoring.tickets.resources import cause_of

    part = build_experiment(experiment)
    judged: list[Any] = [*(part.assets or ()), *(part.asset_checks or ())]
    return tuple(sorted({cause_of(key) for each in judged for key in each.check_keys}))


def _change(
    settings: "Settings", name: str, change: "Callable[[Mutes], Mutes]"
) -> "tuple[Mutes, Mutes]":
    """What is muted by hand, before and after."""
    from mlops_assets.commands.instance import open_instance
    from mlops_assets.monitoring.tickets.shelf import Shelf

    with open_instance(settings) as instance:
        shelf = Shelf(instance.daemon_cursor_storage)
        _, _, mutes = shelf.read([name])
        after = change(mutes[name])
        shelf.save_mutes(name, after)
    return mutes[name], after
