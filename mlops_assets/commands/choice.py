"""Which experiment a command is about: a name, or a file anywhere. Knows nothing of Dagster."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment

SUFFIXES = (".yaml", ".yml")


def choose(settings: Settings, asked: str | None) -> "Experiment":
    """The experiment of that name or file; without either, the only one there is.

    Raises:
        ClickException: there is none, or its YAML is wrong.
    """
    from mlops_assets.experiment import loader

    try:
        if asked is not None and Path(asked).suffix in SUFFIXES:
            return _from_file(settings, Path(asked))
        experiments = loader.load_all(settings.configs)
    except loader.ExperimentError as error:
        lines = "\n".join(error.problems)
        raise click.ClickException(f"{len(error.problems)} problem(s)\n{lines}") from error
    return _named(settings, experiments, asked)


def check_estimator(experiment: "Experiment") -> None:
    """Refuse what the estimator would refuse, before anything runs.

    Raises:
        ClickException: one line per problem, with file and line.
    """
    from mlops_assets.experiment import estimators, loader

    found = [
        loader.locate(experiment, path, message)
        for path, message in estimators.problems(experiment)
    ]
    if found:
        raise click.ClickException("\n".join([f"{len(found)} problem(s)", *found]))


def _from_file(settings: Settings, path: Path) -> "Experiment":
    """The file's experiment, after a look at the folder for another one of its name. A file of
    the folder that is wrong in itself has no name to compare."""
    from mlops_assets.experiment import loader

    experiment = loader.load(path)
    others = []
    folder = settings.configs
    for other in sorted(folder.iterdir()) if folder.is_dir() else ():
        if other.suffix in SUFFIXES and not other.samefile(path):
            try:
                loader.load(other)
            except loader.ExperimentError:
                continue
            others.append(other)
    clashing = [
        other
        for other in others
        if (found := loader.load(other)).name == experiment.name
        or found.model_name == experiment.model_name
    ]
    loader.load_files([*clashing, path])
    return experiment


def _named(
    settings: Settings, experiments: "tuple[Experiment, ...]", asked: str | None
) -> "Experiment":
    from mlops_assets.experiment import loader

    where = loader.display(settings.configs)
    names = [experiment.name for experiment in experiments]
    if not experiments:
        raise click.ClickException(
            f"{where} holds no experiment: mlops init DATA --target COLUMN writes one"
        )
    if asked is None:
        if len(experiments) == 1:
            return experiments[0]
        raise click.ClickException(f"which experiment? {where} holds {', '.join(names)}")
    for experiment in experiments:
        if asked in (experiment.name, experiment.path.stem):
            return experiment
    near = difflib.get_close_matches(asked, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise click.ClickException(
        f"there is no experiment {asked!r}: {hint}{where} holds {', '.join(names)}; "
        "a file is named with its suffix, as in configs/name.yaml"
    )
