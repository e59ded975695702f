"""Held-out rows as requests, as they are or shifted: traffic to try monitoring with."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.settings import Settings

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.serving.client import Answer

BATCH = 200

Record = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """What was sent, and what came back."""

    rows: int
    requests: int
    seconds: float
    version: str
    predictions: dict[str, int]
    """Rows per predicted label; empty for regression."""
    mean: float
    """Of the positive class's probability, of the highest probability, or of the value."""


def held_out(settings: Settings, experiment: "Experiment", rows: int) -> list[Record]:
    """That many random held-out rows of the last training set, with repetition when it has fewer.

    Raises:
        ClickException: there is no training set.
        DataStoreError: it cannot be read.
    """
    from mlops_assets.commands import kept
    from mlops_assets.modeling.folds import SPLIT, TEST
    from mlops_assets.modeling.scoring import records
    from mlops_assets.serving.schema import InputSchema

    store = kept.store(settings)
    found = kept.record(store, experiment.name, "training_set")
    if found is None:
        raise click.ClickException(
            f"{experiment.name} has no training set in {settings.data_url}: "
            f"mlops run {experiment.name}"
        )
    table = store.read_table(found.url)
    test = table[table[SPLIT] == TEST]
    chosen = test.sample(rows, replace=rows > len(test))
    return records(chosen, InputSchema.from_json(list(found.schema)))


def shifted(rows: list[Record], shifts: tuple[str, ...]) -> list[Record]:
    """The rows with numeric columns multiplied, and others set: `COLUMN=FACTOR`, `COLUMN=VALUE`.

    Raises:
        ClickException: the column does not exist, or the factor is no number.
    """
    changed = [dict(row) for row in rows]
    for shift in shifts:
        column, mark, text = shift.partition("=")
        if not mark or column not in rows[0]:
            known = ", ".join(rows[0])
            raise click.ClickException(f"--shift {shift}: write COLUMN=FACTOR with one of {known}")
        change = _change(shift, text, [row[column] for row in rows])
        for row in changed:
            if row[column] is not None:
                row[column] = change(row[column])
    return changed


def send(
    rows: list[Record],
    ask: Callable[[list[Record]], "Answer"],
    *,
    on_batch: Callable[[int], None],
    clock: Callable[[], float] = time.monotonic,
) -> Sent:
    """Send the rows in batches, one after the other.

    Args:
        rows: one or more.
        ask: sends one batch, and returns the answer.
        on_batch: told how many rows are answered.
    """
    counts: dict[str, int] = {}
    began, total = clock(), 0.0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        answer = ask(batch)
        for label in answer.predictions if answer.probabilities else ():
            counts[str(label)] = counts.get(str(label), 0) + 1
        total += sum(_values(answer))
        on_batch(start + len(batch))
    return Sent(
        rows=len(rows),
        requests=-(-len(rows) // BATCH),
        seconds=clock() - began,
        version=answer.version,
        predictions=dict(sorted(counts.items())),
        mean=total / len(rows),
    )


def _values(answer: "Answer") -> list[float]:
    if not answer.probabilities:
        return [float(value) for value in answer.predictions]
    binary = len(answer.classes) == 2
    return [row[-1] if binary else max(row) for row in answer.probabilities]


def _change(shift: str, text: str, values: list[Any]) -> Callable[[Any], Any]:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers:
        words = {"true": True, "false": False}
        value = words.get(text.lower(), text) if any(isinstance(v, bool) for v in values) else text
        return lambda _: value
    try:
        factor = float(text)
    except ValueError as error:
        raise click.ClickException(f"--shift {shift}: {text!r} is not a number") from error
    whole = all(isinstance(value, int) for value in numbers)
    return lambda value: round(value * factor) if whole else value * factor
