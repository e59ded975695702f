"""`mlops promote`: a person makes a version the champion, and says why."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.model_registry import ModelRegistry
    from mlops_assets.gateways.registered import RegistryVersion
    from mlops_assets.registry.answers import Desk
    from mlops_assets.registry.approval import Judgement
    from mlops_assets.settings import Settings


@click.command()
@click.argument("experiment")
@click.argument("version", required=False, type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Kept with the version, and in decision.md.")
@click.option(
    "--force",
    is_flag=True,
    help="In spite of gates, an incomplete card or a freeze. Written down. Never your own version.",
)
@click.option("--dry-run", is_flag=True, help="Say what stands against it, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def promote(
    experiment: str,
    version: int | None,
    *,
    reason: str,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Approve VERSION of EXPERIMENT, by default the newest one: it becomes the champion.

    You are who MLOPS_USER says, or else the user of the system, and must not have made the version
    yourself. May be repeated: what an interruption left is finished.
    """
    from mlops_assets import settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.status import existing_registry
    from mlops_assets.gateways.model_registry import RegistryError
    from mlops_assets.registry import answers, approval

    current = settings.load()
    chosen = choose(current, experiment)
    registry, trouble = existing_registry(current)
    if registry is None:
        raise click.ClickException(trouble or f"{chosen.name}: nothing was ever registered")
    desk = answers.Desk(registry, datetime.now(UTC), current.dagster_url)
    request = approval.Request(current.user, reason, force)
    try:
        found = _version(registry, chosen, version)
        judgement = approval.judge(request, answers.standing(desk, chosen, found))
        if judgement.allowed and not judgement.done and not dry_run:
            decision = answers.promote(desk, found, request, judgement)
            _observe(current, chosen, f"version {found.version}: {decision.reason} ({decision.by})")
        lines = _lines(desk, chosen, found, judgement, dry_run=dry_run)
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_outcome(current, chosen, found, judgement, dry_run), indent=2))
    else:
        click.echo("\n".join(lines), err=not judgement.allowed)
    if not judgement.allowed:
        raise SystemExit(1)


def _version(
    registry: "ModelRegistry", experiment: "Experiment", asked: int | None
) -> "RegistryVersion":
    """The version that is asked for; without a number, the newest.

    Raises:
        ClickException: nothing is registered.
        RegistryError: there is no such version.
    """
    if asked is not None:
        return registry.version(experiment.model_name, asked)
    model = registry.model(experiment.model_name)
    if model is None or model.latest is None:
        raise click.ClickException(f"{experiment.name}: nothing was ever registered")
    return model.latest


def _observe(settings: "Settings", experiment: "Experiment", words: str) -> None:
    """Say it on the page of the registered version, where Dagster was ever used."""
    import dagster as dg  # noqa: TID251

    from mlops_assets import vocabulary as names
    from mlops_assets.commands.instance import existing_instance

    if (instance := existing_instance(settings)) is not None:
        key = names.asset_key(experiment.name, names.REGISTERED_VERSION)
        with instance:
            instance.report_runless_asset_event(
                dg.AssetObservation(key, description=words, metadata={"decided": words})
            )


def _lines(
    desk: "Desk",
    experiment: "Experiment",
    version: "RegistryVersion",
    judgement: "Judgement",
    *,
    dry_run: bool,
) -> list[str]:
    """What came of it, and what comes next."""
    from mlops_assets.registry import answers

    name, number = experiment.name, version.version
    head = f"{name} version {number}"
    over = [f"  in spite of: {one.reason}" for one in judgement.overridden]
    if not judgement.allowed:
        points = [f"  - {one.reason}" for one in judgement.refusals]
        return [f"Error: {head} is not promoted", *points, *over]
    if dry_run:
        said = "is the champion already" if judgement.done else "would become the champion"
        return [f"{head} {said}", *over, "Nothing was changed."]
    trouble = answers.note(desk, experiment, version)
    return [
        f"{head} is the champion" + (" already" if judgement.done else ""),
        *over,
        *filter(None, [trouble]),
        f"Within 15 seconds the sensor registry_changed deploys it, while `make dev` runs; or now: "
        f"mlops run {name} --deploy-only",
        f"Follow it: mlops status {name}",
    ]


def _outcome(
    settings: "Settings",
    experiment: "Experiment",
    version: "RegistryVersion",
    judgement: "Judgement",
    dry_run: bool,
) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "version": version.version,
        "by": settings.user,
        "ok": judgement.allowed,
        "changed": judgement.allowed and not judgement.done and not dry_run,
        "refusals": [asdict(one) for one in judgement.refusals],
        "overridden": [asdict(one) for one in judgement.overridden],
    }
