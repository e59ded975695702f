"""`mlops rollback`: the version that was live before is the champion again, and live."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.decisions import Decision
    from mlops_assets.gateways.model_registry import ModelRegistry
    from mlops_assets.settings import Settings

PATIENCE = 60.0
"""Seconds for a `mlops run` to hear that what it deploys is taken back."""


@click.command()
@click.argument("experiment")
@click.option("--to", "version", type=click.IntRange(min=1), help="Instead of the one before.")
@click.option("--reason", default="", help="Kept with the versions and shown in the history.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--verbose", is_flag=True, help="Show Dagster's log, and stack traces.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def rollback(
    experiment: str,
    *,
    version: int | None,
    reason: str,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Bring EXPERIMENT back to the version that was live before, on every target.

    The alias `champion` moves back. The version must give the answers of its golden requests, and
    then has all of the traffic at once: it is not compared with the one that it replaces, which may
    be broken. A version that is being rolled out meanwhile loses its traffic at once. What was
    rolled back before is passed over. May be repeated: the same version is gone on with, and what
    is live already is left alone.
    """
    from mlops_assets import settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.status import existing_registry

    current = settings.load()
    chosen = choose(current, experiment)
    registry, trouble = existing_registry(current)
    if registry is None:
        raise click.ClickException(trouble or f"{chosen.name}: nothing was ever registered")
    champion, to = _versions(current, chosen, registry, version)
    words = f"{chosen.name}: version {to} instead of version {champion or 'none'}"
    if to == champion:
        words = f"{chosen.name}: version {to} is the champion already; --to names another"
    if dry_run:
        now = _live(current, chosen)
        plan = {"experiment": chosen.name, "champion": champion, "to": to, "live": dict(now)}
        lines = [words, *(f"  {kind}: {said}" for kind, said in now), "Nothing was changed."]
        click.echo(json.dumps(plan, indent=2) if as_json else "\n".join(lines))
        return
    decision, trouble = _decide(current, chosen, registry, champion, to, reason)
    if not as_json:
        click.echo("\n".join([words, *filter(None, [trouble])]))
    _deploy(current, chosen, decision.reason, verbose, as_json)


def _versions(
    settings: "Settings", experiment: "Experiment", registry: "ModelRegistry", asked: int | None
) -> tuple[int | None, int]:
    """The champion, and the version to go back to."""
    from mlops_assets.gateways.decisions import Decision
    from mlops_assets.gateways.model_registry import CHAMPION, RegistryError

    model = experiment.model_name
    try:
        champion = registry.aliases(model).get(CHAMPION)
        to = asked or _chosen(settings, experiment, registry, champion)
        tags = registry.version(model, to).tags
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    decision = Decision.of(tags)
    if decision is not None and decision.outcome != "promoted":
        raise click.ClickException(
            f"version {to} of {experiment.name} is {decision.outcome}, and a rollback is to what "
            f"was decided to be good: mlops promote {experiment.name} {to}"
        )
    if "mlops.bundle_uri" not in tags:
        raise click.ClickException(f"version {to} of {experiment.name} has no serving bundle")
    return champion, to


def _chosen(
    settings: "Settings",
    experiment: "Experiment",
    registry: "ModelRegistry",
    champion: int | None,
) -> int:
    """The champion itself, when it is one by a rollback: the command is repeated. Else the last one
    that was live before it, is still registered, and was not rolled back."""
    from mlops_assets.commands import deployments
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.gateways.decisions import ROLLED_BACK, Decision
    from mlops_assets.gateways.model_registry import AbsentError

    model = experiment.model_name
    if champion is not None:
        decision = Decision.of(registry.version(model, champion).tags)
        if decision is not None and decision.is_rollback:
            return champion
    instance = existing_instance(settings)
    if instance is not None:
        with instance:
            history = deployments.history(instance, experiment)
        for number in deployments.before(history, champion):
            try:
                tags = registry.version(model, number).tags
            except AbsentError:
                continue
            if ROLLED_BACK not in tags:
                return number
    raise click.ClickException(
        f"{experiment.name}: no other version was live before version {champion} that was not "
        "rolled back, and is registered; name one with --to"
    )


def _live(settings: "Settings", experiment: "Experiment") -> list[tuple[str, str]]:
    """What each target serves now, in words."""
    from mlops_assets.commands.live import observe, state_in_words

    found = []
    for seen in observe(settings, experiment):
        version = f"version {seen.endpoint.version}, " if seen.endpoint else ""
        found.append((seen.kind, version + state_in_words(seen)))
    return found


def _decide(
    settings: "Settings",
    experiment: "Experiment",
    registry: "ModelRegistry",
    champion: int | None,
    to: int,
    reason: str,
) -> tuple["Decision", str]:
    """Make the version champion, as the decision of a person; empty beside it, or what could not be
    written down. No gate and no freeze holds it up: it was the champion before."""
    from mlops_assets.gateways.decisions import ROLLED_BACK, Decision
    from mlops_assets.registry import answers

    model, now = experiment.model_name, datetime.now(UTC)
    desk = answers.Desk(registry, now, settings.dagster_url)
    version = registry.version(model, to)
    decision = Decision.of(version.tags)
    repeated = to == champion and decision is not None and decision.is_rollback and not reason
    if decision is None or not repeated:
        at = now.isoformat(timespec="seconds")
        decision = Decision.rolled_back(settings.user, reason, at)
    if champion not in (None, to):
        registry.tag_version(model, champion, {ROLLED_BACK: f"to version {to}, {decision.by}"})
    answers.decide(desk, version, decision, {})
    return decision, answers.note(desk, experiment, version)


def _deploy(
    settings: "Settings", experiment: "Experiment", reason: str, verbose: bool, as_json: bool
) -> None:
    from mlops_assets.commands import console as consoles
    from mlops_assets.commands.run import Flow, finish

    log = None if verbose else settings.home / "logs" / f"run-{experiment.name}.log"
    with consoles.opened(to_stderr=as_json, log=log) as console:
        outcome: dict[str, Any] = Flow(settings, experiment, console, verbose=verbose).run(
            train=False, deploy=True, trials=None, reason=reason, patience=PATIENCE
        )
    finish(outcome, as_json=as_json)
