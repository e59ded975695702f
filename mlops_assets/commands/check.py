"""`mlops check`: are the YAML files right, as far as can be said without their data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def check(files: tuple[Path, ...], *, as_json: bool) -> None:
    """Check FILES, or every YAML in the configs folder: keys, values, estimator and parameters."""
    from mlops_assets import settings
    from mlops_assets.experiment import loader

    experiments: tuple[Experiment, ...] = ()
    try:
        configs = settings.load().configs
        experiments = loader.load_files(files) if files else loader.load_all(configs)
        problems = _estimator_problems(experiments)
    except loader.ExperimentError as error:
        problems = list(error.problems)
    if as_json:
        names = {loader.display(each.path): each.name for each in experiments}
        content = {"ok": not problems, "experiments": names, "problems": problems}
        click.echo(json.dumps(content, indent=2))
        if problems:
            raise SystemExit(1)
    elif problems:
        raise click.ClickException("\n".join([f"{len(problems)} problem(s)", *problems]))
    else:
        for experiment in experiments:
            click.echo(f"{loader.display(experiment.path)}: {experiment.name} is right")
        if not experiments:
            click.echo("No experiments yet: mlops init DATA --target COLUMN writes one.")


def _estimator_problems(experiments: "tuple[Experiment, ...]") -> list[str]:
    from mlops_assets.experiment import estimators, loader

    return [
        loader.locate(experiment, path, message)
        for experiment in experiments
        for path, message in estimators.problems(experiment)
    ]
