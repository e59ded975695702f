"""`mlops impact`: what depends on an asset, a column, or the file or table of a source."""

import functools
import json
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_assets.commands.console import table, wrapped
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.commands.columns import Column
    from mlops_assets.commands.lineage import Endpoint, Impact
    from mlops_assets.commands.naming import Asked
    from mlops_assets.experiment.model import Experiment


@click.command()
@click.argument("what", metavar="ASSET[:COLUMN]")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON list.")
def impact(what: str, *, as_json: bool) -> None:
    """Show what depends on an asset, in every experiment: assets, checks, and endpoints with what
    is live there.

    \b
    mlops impact churn/features          an asset
    mlops impact churn/features:plan     one of its columns
    mlops impact data/customers.csv      the file, table or dataset of a source
    """
    from mlops_assets import settings

    current = settings.load()
    found = gathered(current, what)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    click.echo("\n\n".join(render(one) for one in found))


def gathered(settings: Settings, what: str) -> "list[Impact]":
    """What depends on it, by experiment.

    Raises:
        ClickException: there is no such thing, or a YAML is wrong.
    """
    import warnings

    from mlops_assets import resources
    from mlops_assets.commands import deployments, lineage
    from mlops_assets.commands.columns import column
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.commands.naming import data_of, resolve
    from mlops_assets.commands.status import existing_registry

    warnings.simplefilter("ignore")
    context = resources.source_context(settings)
    every = tuple(data_of(one, context) for one in _experiments(settings))
    by_name = {one.experiment.name: one.experiment for one in every}
    graph = functools.cache(lambda name: lineage.Graph(by_name[name]))
    asked = resolve(what, every, lambda name: graph(name).assets)
    registry = None
    if asked.column is not None:
        asked = having(settings, asked, asked.column)
        registry, _ = existing_registry(settings)
    found = []
    with ExitStack() as stack:
        instance = existing_instance(settings)
        if instance is not None:
            stack.enter_context(instance)
        for begin in asked.begins:
            experiment = begin.data.experiment
            found.append(
                lineage.impact(
                    begin,
                    graph(experiment.name),
                    live=deployments.newest(instance, experiment),
                    registry=registry,
                    column=column(settings, experiment, asked.column) if asked.column else None,
                )
            )
    return found


def having(settings: Settings, asked: "Asked", name: str) -> "Asked":
    """The same, without experiments whose data is known not to have the column.

    Raises:
        ClickException: no experiment has it; with the columns that there are.
    """
    from mlops_assets.commands.columns import column, columns
    from mlops_assets.commands.naming import near

    uses = [(one, column(settings, one.data.experiment, name)) for one in asked.begins]
    begins = tuple(one for one, use in uses if use.seen is not False or use.roles)
    if begins:
        return replace(asked, begins=begins)
    known = tuple(
        dict.fromkeys(c for one in asked.begins for c in columns(settings, one.data.experiment))
    )
    raise click.ClickException(
        f"{asked.begins[0].asset} has no column {name!r}: {near(name, known)}it has "
        f"{', '.join(known)}"
    )


def render(one: "Impact") -> str:
    """One experiment as text."""
    from mlops_assets.experiment import loader

    own = f"{one.experiment}/"
    checks = [
        f"{check.asset.removeprefix(own)}: {check.name}{' (blocking)' if check.blocking else ''}"
        for check in one.checks
    ]
    rows = [("reads", " and ".join(one.reads) or "what its YAML says")]
    if one.column is not None:
        rows += [("column", words) for words in column_words(one.column)]
    rows += _listed("assets", [asset.removeprefix(own) for asset in one.assets])
    rows += _listed("checks", checks)
    endpoints = [endpoint_words(each) for each in one.endpoints]
    rows += [("endpoint", words) for words in endpoints or ["none"]]
    if one.same_source:
        rows.append(("also read", f"by {', '.join(one.same_source)}"))
    title = one.begins if one.column is None else f"{one.begins}, column {one.column.name}"
    return f"{title} ({loader.display(Path(one.yaml))})\n{table(rows, indent='  ')}"


def column_words(column: "Column") -> list[str]:
    """What the experiment makes of it, in sentences."""
    words = [f"{role} names it" for role in column.roles]
    if column.feature:
        words.append(f"a feature, {column.feature}")
    elif column.dropped:
        words.append(f"no feature: {column.dropped}")
    if column.judged_for_drift:
        words.append("judged for drift")
    if column.seen is None:
        words.append("no data was read yet, so only the YAML is known")
    elif not column.seen:
        words.append("the last snapshot does not have it")
    if not column.matters:
        words.append("nothing after the features depends on it")
    return words


def endpoint_words(endpoint: "Endpoint") -> str:
    """What is live there, and whether it is asked with the column."""
    if endpoint.version is None:
        return f"{endpoint.target}: never deployed"
    words = (
        f"{endpoint.target}: version {endpoint.version} at {endpoint.url} since {endpoint.since}"
    )
    if endpoint.trouble:
        return f"{words}; its columns are not known: {endpoint.trouble}"
    if endpoint.serves_column is None:
        return words
    return f"{words}, {'asked with' if endpoint.serves_column else 'asked without'} the column"


def _listed(label: str, items: list[str]) -> list[tuple[str, str]]:
    lines = wrapped(items).split("\n") if items else ["none"]
    return [(label if not number else "", line) for number, line in enumerate(lines)]


def _experiments(settings: Settings) -> "tuple[Experiment, ...]":
    from mlops_assets.experiment import loader

    try:
        found = loader.load_all(settings.configs)
    except loader.ExperimentError as error:
        raise click.ClickException("\n".join(error.problems)) from error
    if not found:
        raise click.ClickException("no experiments yet: mlops init DATA --target COLUMN writes one")
    return found
