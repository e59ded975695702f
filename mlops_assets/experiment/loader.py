"""Reads experiments from YAML, and answers what is wrong with file, line, key and what is allowed.

Knows the model of an experiment, but neither its data nor its estimator.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlops_assets.experiment import document, problems
from mlops_assets.experiment.document import DocumentError, KeyPath, Problem
from mlops_assets.experiment.model import Experiment

SCHEMA_FILE = "schema.json"


class ExperimentError(Exception):
    """One or more YAML files describe no experiment; `problems` holds a line for each fault."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load(path: Path) -> Experiment:
    """The experiment of one YAML file.

    Raises:
        ExperimentError: all problems of the file, `configs/churn.yaml:14: key.path: what is wrong`.
    """
    experiment, found = _read(path)
    if experiment is None:
        raise ExperimentError(found)
    return experiment


def load_text(text: str, path: Path) -> Experiment:
    """The experiment of a text that is to stand at `path`.

    Raises:
        ExperimentError: all problems of the text.
    """
    experiment, found = _judge(path, text)
    if experiment is None:
        raise ExperimentError(found)
    return experiment


def load_all(configs: Path) -> tuple[Experiment, ...]:
    """The experiments of every `*.yaml` and `*.yml` in the folder, in order of file name.

    Raises:
        ExperimentError: all problems of all files, or two files that claim one name.
    """
    if not configs.is_dir():
        raise ExperimentError(
            [f"{display(configs)}: no such folder; it should hold the experiments"]
        )
    return load_files(
        path
        for path in sorted(configs.iterdir())
        if path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and path.is_file()
    )


def load_files(paths: Iterable[Path]) -> tuple[Experiment, ...]:
    """The experiments of these files, which live in one project.

    Raises:
        ExperimentError: all problems of all files, or two files that claim one name.
    """
    experiments, found = [], []
    for path in paths:
        experiment, faults = _read(path)
        found += faults
        if experiment is not None:
            experiments.append(experiment)
    found += _claimed_twice(experiments)
    if found:
        raise ExperimentError(found)
    return tuple(experiments)


def locate(experiment: Experiment, path: KeyPath, message: str) -> str:
    """A line about a key of a loaded experiment: `configs/churn.yaml:14: key.path: message`."""
    text = document.read(experiment.path)
    return _line(experiment.path, document.line_of(text, path), path, message)


def schema() -> dict[str, Any]:
    """The JSON schema of an experiment's YAML, for editors."""
    generated = Experiment.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **generated,
        "title": "mlops_assets experiment",
    }


def schema_text() -> str:
    """The text of `configs/schema.json`: equal for equal models, on every machine."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def write_schema(path: Path) -> None:
    """Write the JSON schema for the editors that complete `configs/*.yaml`."""
    write_text(path, schema_text())


def write_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def display(path: Path) -> str:
    """The path as people type it: relative to where they stand, when it lies below."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)


def _read(path: Path) -> tuple[Experiment | None, list[str]]:
    """The experiment, or None and every problem of the file."""
    try:
        text = document.read(path)
    except DocumentError as error:
        return None, [_at(path, error.problem)]
    return _judge(path, text)


def _judge(path: Path, text: str) -> tuple[Experiment | None, list[str]]:
    try:
        value, repeated = document.parse(text)
    except DocumentError as error:
        return None, [_at(path, error.problem)]
    if not isinstance(value, dict):
        what = "empty" if value is None else f"{problems.shown(value)} is no experiment"
        message = f"{what}; an experiment is a mapping that begins with `name:`"
        return None, [_at(path, Problem(1, message))]
    found = [(problem.line, _at(path, problem)) for problem in repeated]
    try:
        experiment = Experiment.model_validate(value)
    except ValidationError as error:
        for key, message in problems.explain(error, Experiment, value):
            line = document.line_of(text, key)
            found.append((line, _line(path, line, key, message)))
    if found:
        return None, [message for _, message in sorted(found, key=lambda pair: pair[0])]
    # Not resolved: a mounted ConfigMap is a link into a folder that changes with every update.
    experiment._path = path.absolute()
    return experiment, []


def _claimed_twice(experiments: list[Experiment]) -> list[str]:
    claims: dict[tuple[str, str], Experiment] = {}
    found = []
    for experiment in experiments:
        names = (("name",), experiment.name), (("registry", "model_name"), experiment.model_name)
        for key, name in names:
            first = claims.setdefault((key[0], name), experiment)
            if first is not experiment and (key == ("name",) or first.name != experiment.name):
                message = f"{name!r} is already the name in {display(first.path)}; choose another"
                found.append(locate(experiment, key, message))
    return found


def _at(path: Path, problem: Problem) -> str:
    return f"{display(path)}:{problem.line}: {problem.message}"


def _line(path: Path, line: int, key: KeyPath, message: str) -> str:
    prefix = f"{problems.dotted(key)}: " if key else ""
    return _at(path, Problem(line, f"{prefix}{message}"))
