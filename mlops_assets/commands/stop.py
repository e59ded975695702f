"""`mlops stop`: no endpoint of the experiment serves any more. May be repeated."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.deployment.targets.base import Target
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.records import Endpoint
    from mlops_assets.settings import Settings


@click.command()
@click.argument("experiment")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def stop(experiment: str, *, as_json: bool) -> None:
    """Stop every endpoint of EXPERIMENT; requests in flight are answered first.

    A rollout that was left unfinished is ended. The versions stay in the registry:
    `mlops run EXPERIMENT --deploy-only` serves again.
    """
    from mlops_assets import resources, settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.deployment.targets.base import TargetError
    from mlops_assets.experiment.spec import kind_of

    current = settings.load()
    chosen = choose(current, experiment)
    context, lines, trouble, content = resources.target_context(current), [], [], {}
    with ExitStack() as stack:
        if (instance := existing_instance(current)) is not None:
            stack.enter_context(instance)
        if worker := _worker(stack, current, instance, chosen.name):
            lines.append(f"{chosen.name}: {worker}; what it deploys is served again")
        for target in chosen.deployment.targets:
            kind = kind_of(type(target))
            where = f"{chosen.name} on {kind}"
            if not worker and (left := _end_rollout(current, chosen, target)):
                trouble.append(f"{where}: a rollout is left unfinished: {left}")
            try:
                before = target.observe(chosen.name, context)
                after = target.retire(chosen.name, context)
            except TargetError as error:
                raise click.ClickException(f"{where}: {error}") from error
            lines.append(f"{where}: {_in_words(before, after)}")
            if before is not None and after is not None and instance is not None:
                _report(instance, before, after, current.user)
            content[kind] = {
                "before": before.state if before else None,
                "after": after.state if after else None,
                "version": before.version if before else None,
            }
    click.echo(json.dumps({chosen.name: content}, indent=2) if as_json else "\n".join(lines))
    if trouble:
        raise click.ClickException("\n".join(trouble))


def _worker(
    stack: ExitStack, settings: "Settings", instance: "dg.DagsterInstance | None", experiment: str
) -> str:
    """Who deploys the experiment now, in words; empty when nobody does, nor begins to through
    `mlops run` before the stack is left."""
    from mlops_assets import vocabulary as names
    from mlops_assets.commands.instance import BusyError, bury_the_dead, claimed

    try:
        stack.enter_context(claimed(settings, experiment))
    except BusyError as error:
        return str(error)
    if instance is None:
        return ""
    bury_the_dead(instance, experiment)
    runs = names.deploying(instance).get(experiment)
    return f"run {min(runs)} is deploying it" if runs else ""


def _end_rollout(settings: "Settings", experiment: "Experiment", target: "Target") -> str:
    """End what a killed run left unfinished; why that did not succeed, or empty."""
    from mlops_assets import resources
    from mlops_assets.commands import kept
    from mlops_assets.deployment.journal import Journal
    from mlops_assets.deployment.rollout import clean_up
    from mlops_assets.deployment.targets.base import TargetError
    from mlops_assets.experiment.spec import kind_of
    from mlops_assets.gateways.data_store import DataStoreError

    try:
        clean_up(
            target,
            spec=experiment.deployment.rollout,
            journal=Journal(kept.store(settings), experiment.name, kind_of(type(target))),
            context=resources.target_context(settings),
            tell=lambda words: click.echo(words, err=True),
        )
    except (TargetError, DataStoreError) as error:
        return str(error)
    return ""


def _in_words(before: "Endpoint | None", after: "Endpoint | None") -> str:
    if before is None or after is None:
        return "was never deployed"
    if before.state == "stopped":
        return "was stopped already"
    return f"stopped; version {before.version} served at {before.url} since {before.since}"


def _report(
    instance: "dg.DagsterInstance", before: "Endpoint", endpoint: "Endpoint", user: str
) -> None:
    """Say on the endpoint's page that it is to be silent, for whoever watches over endpoints;
    once, however often it is stopped."""
    import dagster as dg  # noqa: TID251

    from mlops_assets import vocabulary as names
    from mlops_assets.deployment import history

    key = names.endpoint_key(endpoint.experiment, endpoint.target)
    if before.state == "stopped" and names.stopped_at(instance, key) is not None:
        return
    now = datetime.now(UTC)
    at = now.isoformat(timespec="seconds")
    said = {
        "state": endpoint.state,
        "version": endpoint.version,
        "since": endpoint.since,
        "until": at,
        names.STOPPED_BY: user,
    }
    records = instance.fetch_materializations(key, limit=history.KEPT).records
    newest = history.Reported(said, "", at)
    told = history.told(endpoint.target, [*map(history.reported, reversed(records)), newest])
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key,
            description=f"Stopped by {user}.",
            metadata={**said, "history": dg.MetadataValue.md(history.page(told, now))},
            tags={names.VERSION_TAG: str(endpoint.version)},
        )
    )
