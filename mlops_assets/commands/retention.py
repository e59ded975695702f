"""`mlops retention`: what of the past would go, and why the rest stays; or remove it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops_assets.commands.console import table

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.registry.report import Report
    from mlops_assets.settings import Settings


@click.command()
@click.argument("experiment", required=False)
@click.option(
    "--apply/--dry-run", default=False, help="Remove it, or only say what would go (the default)."
)
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def retention(experiment: str | None, *, apply: bool, verbose: bool, as_json: bool) -> None:
    """Show or remove what is older than `registry.retention` of EXPERIMENT keeps it.

    Never what is live, has an alias, or may be rolled back to. The same as the job `retention`, for
    one experiment; what went stands in the history of Dagster.
    """
    from mlops_assets import settings
    from mlops_assets.commands import console as consoles
    from mlops_assets.commands.choice import choose

    current = settings.load()
    chosen = choose(current, experiment)
    log = None if verbose else current.home / "logs" / f"retention-{chosen.name}.log"
    with consoles.opened(to_stderr=as_json, log=log) as console:
        console.passing("retention", "asking MLflow, the stores and the endpoints")
        told = _run(current, chosen, apply=apply, verbose=verbose)
    click.echo(json.dumps(asdict(told), indent=2) if as_json else _render(told))


def _run(settings: "Settings", experiment: "Experiment", *, apply: bool, verbose: bool) -> "Report":
    """The report of a run of the job.

    Raises:
        ClickException: it failed, or somebody works on the experiment.
    """
    from mlops_assets import vocabulary as names
    from mlops_assets.commands import instance as instances
    from mlops_assets.commands import jobs, kept
    from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
    from mlops_assets.registry import report

    config = {"experiments": [experiment.name], "apply": apply}
    try:
        ModelRegistry(settings.tracking_uri, settings.artifacts_url, settings.mlflow_url).check()
        with (
            instances.claimed(settings, experiment.name),
            instances.open_instance(settings) as instance,
        ):
            instances.bury_the_dead(instance, experiment.name)
            result = jobs.execute(
                instance,
                jobs.definitions(settings, experiment),
                names.RETENTION_JOB,
                run_id=jobs.new_run_id(),
                ops={names.RETENTION_OP: {"config": config}},
                listen=lambda _: None,
                verbose=verbose,
            )
    except (RegistryError, instances.BusyError) as error:
        raise click.ClickException(str(error)) from error
    told = report.read(kept.store(settings), experiment.name)
    if not result.success or told is None:
        raise click.ClickException("\n".join(result.failures) or "the run was interrupted")
    return told


def _render(told: "Report") -> str:
    from mlops_assets.registry import report

    went = "removed" if told.applied else "would go"
    rows = [
        (f"version {one.version}", "kept" if one.kept else went, one.reason)
        for one in told.versions
    ]
    lines = [f"{told.experiment}: {report.in_words(told)}", table(rows, indent="  ")]
    if not told.applied:
        lines.append(f"Nothing was removed: mlops retention {told.experiment} --apply removes it.")
    return "\n".join(line for line in lines if line)
