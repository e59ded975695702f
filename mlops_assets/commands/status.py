"""`mlops status`: what is live, since when, and what the checks say of it."""

import json
import os
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.commands.console import table
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.commands.standing import Standing
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.model_registry import ModelRegistry


@click.command()
@click.argument("experiment", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def status(experiment: str | None, *, as_json: bool) -> None:
    """Show every experiment, or EXPERIMENT: endpoint, champion, checks, drift, next retraining.

    Endpoints are observed now; a store that does not answer is said.
    """
    from mlops_assets import settings

    current = settings.load()
    found = gathered(current, _experiments(current, experiment), now=datetime.now(UTC))
    if as_json:
        click.echo(json.dumps({one.experiment: asdict(one) for one in found}, indent=2))
        return
    click.echo("\n\n".join(render(one) for one in found))
    if not found:
        click.echo("No experiments yet: mlops init DATA --target COLUMN writes one.")


def gathered(
    settings: Settings, experiments: "tuple[Experiment, ...]", *, now: datetime
) -> "list[Standing]":
    """Where each experiment stands."""
    import warnings

    from mlops_assets.commands import standing
    from mlops_assets.commands.instance import existing_instance

    warnings.simplefilter("ignore")
    registry, trouble = existing_registry(settings)
    with ExitStack() as stack:
        instance = existing_instance(settings)
        if instance is not None:
            stack.enter_context(instance)
        return [
            standing.gather(
                settings,
                experiment,
                registry=registry,
                registry_error=trouble,
                instance=instance,
                now=now,
            )
            for experiment in experiments
        ]


def existing_registry(settings: Settings) -> "tuple[ModelRegistry | None, str]":
    """The registry when it answers, and otherwise why not. A database is not made."""
    import logging

    from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
    from mlops_assets.gateways.tracking_uri import shown

    path = settings.tracking_uri.removeprefix("sqlite:///")
    if path != settings.tracking_uri and not Path(path).exists():
        return None, ""
    # A server that accepts connections and answers nothing must not hold us for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    registry = ModelRegistry(settings.tracking_uri, settings.artifacts_url, settings.mlflow_url)
    try:
        registry.check()
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        registry.models()
    except RegistryError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 whatever a broken store raises, status goes on
        return None, f"MLflow cannot be read at {shown(settings.tracking_uri)}: {error}"
    return registry, ""


def render(one: "Standing") -> str:
    """One experiment as text."""
    rows = []
    for endpoint in one.endpoints:
        rows += [("endpoint", _endpoint(endpoint)), *_more_of(endpoint)]
    if one.registry_error:
        rows.append(("registry", one.registry_error))
    elif one.champion is None:
        rows.append(("champion", "none yet"))
    else:
        quality = f", {one.metric} {one.test} on held-out rows" if one.test else ""
        rows.append(("champion", f"version {one.champion}{quality}"))
    rows.append(("checks", _checks(one)))
    rows += [("FAILED", f"{c.asset}: {c.name}: {c.reason}") for c in _failed(one)]
    rows += [("ticket", words) for words in one.tickets]
    rows.append(("drift", one.drift))
    if one.next_retraining:
        rows.append(("retraining", f"next at {one.next_retraining}, while `make dev` runs"))
    rows += [("running", f"{run.job} ({run.state}), run {run.run_id}") for run in one.running]
    return f"{one.experiment}\n{table(rows, indent='  ')}"


def _experiments(settings: Settings, asked: str | None) -> "tuple[Experiment, ...]":
    from mlops_assets.commands.choice import choose
    from mlops_assets.experiment import loader

    if asked is not None:
        return (choose(settings, asked),)
    try:
        return loader.load_all(settings.configs)
    except loader.ExperimentError as error:
        raise click.ClickException("\n".join(error.problems)) from error


def _endpoint(endpoint: dict[str, Any]) -> str:
    if endpoint["version"] is None:
        detail = f": {endpoint['detail']}" if endpoint["detail"] else ""
        return f"{endpoint['target']}: {endpoint['state']}{detail}"
    live = endpoint["state"] == "live"
    words = f"{endpoint['target']}: {endpoint['state']}, version {endpoint['version']}"
    words += f" at {endpoint['url']} since {endpoint['since']}" if live else ""
    return f"{words} ({endpoint['detail']})" if endpoint["detail"] else words


def _more_of(endpoint: dict[str, Any]) -> list[tuple[str, str]]:
    """What else is known of an endpoint that serves."""
    if endpoint["state"] != "live":
        return []
    before = endpoint["previous_version"]
    parts = [f"bundle {endpoint['bundle_digest'][:12]}"]
    parts += [f"before it version {before}"] if before is not None else []
    parts += [f"{share:.0%} by version {v}" for v, share in endpoint["traffic"].items()]
    parts += [f"run {endpoint['run']}"] if endpoint["run"] else []
    return [("", ", ".join(parts))]


def _checks(one: "Standing") -> str:
    counts = {v: sum(c.verdict == v for c in one.checks) for v in ("passed", "failed", "never")}
    return f"{counts['passed']} passed, {counts['failed']} failed, {counts['never']} never ran"


def _failed(one: "Standing") -> list[Any]:
    return [check for check in one.checks if check.verdict == "failed"]
