"""Brings a table into the types of its schema, and counts what did not fit. Pure.

Never raises on bad values: they become missing and are reported; what blocks is the checks' word.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.features import values
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.features.table import ProblemKind, TableSchema
from mlops_assets.serving.schema import Column

if TYPE_CHECKING:
    import pandas as pd

TOLERATED = 0.01
"""Share of the rows that may hold unreadable values before the table is refused."""
CHANGED = 0.5
"""Share of the present values that must be unreadable for the column to have changed its type."""
EXAMPLES = 5

Violation = dict[str, Any]
"""`column`, `problem`, `count` and `share` of rows, `examples` (text), `blocking`."""


@dataclass(frozen=True)
class Conformed:
    """A table in the types of its schema, and everything that did not fit."""

    frame: "pd.DataFrame"
    violations: tuple[Violation, ...]

    @property
    def blocking(self) -> tuple[Violation, ...]:
        return tuple(violation for violation in self.violations if violation["blocking"])


def conform(
    frame: "pd.DataFrame", schema: TableSchema, spec: FeaturesSpec, *, keep: Collection[str] = ()
) -> Conformed:
    """The rows in the types of the schema, in the same order and with the same index.

    Args:
        frame: the table as its source holds it.
        schema: what the columns must be.
        spec: names the columns with a role.
        keep: further columns to carry along as text, for instance to slice by.

    Returns:
        Features in the order of the schema: numeric and boolean ones as float64 with NaN for
        missing, categorical ones as str with None. Then entity and group as str, event and label
        time as datetime64[ns, UTC], and the target: float64 in a regression, otherwise its
        labels as in `schema.classes` and None where unknown.
    """
    import pandas as pd

    violations = _absent(frame, schema, spec) + _unexpected(frame, schema, spec, keep)
    columns: dict[str, Any] = {}
    for column in schema.inputs.columns:
        columns[column.name], found = _feature(_column(frame, column.name), column)
        violations += found if column.name in frame else []
    for name in (spec.entity, spec.group, *keep):
        if name is not None and name not in columns:
            columns[name] = values.text(_column(frame, name))
            violations += _gaps(columns[name]) if name in frame and name not in keep else []
    for name, written in schema.time_formats.items():
        read = values.times(_column(frame, name), written)
        columns[name] = read.values
        if name in frame:
            violations += _marked("unparsable values", frame[name], read.unread)
            violations += _gaps(read.values, read.unread) if name == spec.event_time else []
    columns[schema.target], found = _target(_column(frame, schema.target), schema, spec)
    violations += found if schema.target in frame else []
    ordered = sorted(violations, key=lambda violation: not violation["blocking"])
    return Conformed(pd.DataFrame(columns, index=frame.index), tuple(ordered))


def _column(frame: "pd.DataFrame", name: str) -> "pd.Series[Any]":
    """The column, or one of missing values in its place."""
    import pandas as pd

    if name in frame:
        return frame[name]
    return pd.Series([None] * len(frame), index=frame.index, name=name, dtype=object)


def _absent(frame: "pd.DataFrame", schema: TableSchema, spec: FeaturesSpec) -> list[Violation]:
    named = (spec.entity, spec.event_time, spec.label_time, spec.group, schema.target)
    needed = [*schema.inputs.names, *(name for name in named if name is not None)]
    return [
        _violation(name, "missing column", len(frame), len(frame), (), blocking=True)
        for name in dict.fromkeys(needed)
        if name not in frame
    ]


def _unexpected(
    frame: "pd.DataFrame", schema: TableSchema, spec: FeaturesSpec, keep: Collection[str]
) -> list[Violation]:
    known = {*schema.inputs.names, *spec.roles, *keep}
    known |= {dropped.column for dropped in schema.dropped}
    return [
        _violation(str(name), "unexpected column", len(frame), len(frame), (), blocking=False)
        for name in frame.columns
        if name not in known
    ]


def _feature(series: "pd.Series[Any]", column: Column) -> tuple[Any, list[Violation]]:
    if column.type == "categorical":
        return _categorical(series, column)
    return _numeric(series, column)


def _numeric(series: "pd.Series[Any]", column: Column) -> tuple[Any, list[Violation]]:
    import numpy as np
    import pandas as pd

    if _is_time(series):
        nothing = pd.Series(np.nan, index=series.index, name=column.name)
        return nothing, [_whole(series, column.name, "type changed")]
    read = values.truths(series) if column.type == "boolean" else values.numbers(series)
    infinite = np.isinf(read.values)
    cleaned = read.values.mask(infinite)
    unread, readable = int(read.unread.sum()), int(read.values.notna().sum())
    if unread > CHANGED * (unread + readable):
        return cleaned, [_whole(series, column.name, "type changed", read.unread)]
    if cleaned.isna().all() and not infinite.any():
        return cleaned, [_whole(series, column.name, "no values")]
    found = _marked("unparsable values", series, read.unread)
    found += _marked("infinite values", series, infinite)
    if column.minimum is not None and column.maximum is not None:
        outside = (cleaned < column.minimum) | (cleaned > column.maximum)
        found += _marked("out of range", series, outside, blocking=False)
    if not column.nullable:
        found += _gaps(cleaned, read.unread | infinite)
    return cleaned, found


def _categorical(series: "pd.Series[Any]", column: Column) -> tuple[Any, list[Violation]]:
    words = values.text(series)
    known = words.dropna()
    if known.empty:
        return words, [_whole(series, column.name, "no values")]
    new = words.notna() & ~words.isin(column.categories)
    if _is_time(series) or (new.sum() == len(known) and _are_numbers(known, column)):
        return words, [_whole(series, column.name, "type changed", new)]
    found = _marked("new categories", series, new, blocking=False)
    return words, found + ([] if column.nullable else _gaps(words))


def _are_numbers(words: "pd.Series[Any]", column: Column) -> bool:
    """Everything is a number now, and nothing was before."""
    import pandas as pd

    before = values.numbers(pd.Series(column.categories, dtype=object)).values
    return bool(values.numbers(words).values.notna().all() and before.isna().all())


def _target(
    series: "pd.Series[Any]", schema: TableSchema, spec: FeaturesSpec
) -> tuple[Any, list[Violation]]:
    import numpy as np

    found: list[Violation] = []
    if schema.task == "regression":
        read = values.numbers(series)
        infinite = np.isinf(read.values)
        cleaned: Any = read.values.mask(infinite)
        found += _marked("unparsable values", series, read.unread)
        found += _marked("infinite values", series, infinite)
        gaps = _gaps(cleaned, read.unread | infinite)
    else:
        labels = values.as_classes(series, schema.classes)
        cleaned = labels.values
        found += _marked("unknown label", series, labels.unread, blocking=True)
        gaps = _gaps(cleaned, labels.unread)
    # With a label time, a label that is not there yet is the normal case.
    if spec.label_time is None:
        found += [{**gap, "problem": "missing label"} for gap in gaps]
    return cleaned, found


def _gaps(cleaned: Any, explained: Any = None) -> list[Violation]:
    """Missing values that no other violation explains."""
    missing = cleaned.isna() if explained is None else cleaned.isna() & ~explained
    count = int(missing.sum())
    if not count:
        return []
    return [_violation(cleaned.name, "missing values", count, len(cleaned), (), blocking=False)]


def _marked(
    problem: ProblemKind, series: "pd.Series[Any]", mask: Any, *, blocking: bool | None = None
) -> list[Violation]:
    """A violation for the marked rows, if any; by default it blocks above the tolerated share."""
    count = int(mask.sum())
    if not count:
        return []
    blocks = count > TOLERATED * len(series) if blocking is None else blocking
    examples = _examples(series[mask])
    return [_violation(series.name, problem, count, len(series), examples, blocking=blocks)]


def _whole(
    series: "pd.Series[Any]", name: str, problem: ProblemKind, mask: Any = None
) -> Violation:
    """A violation that makes the whole column useless."""
    marked = series if mask is None else series[mask]
    return _violation(name, problem, len(marked), len(series), _examples(marked), blocking=True)


def _examples(series: "pd.Series[Any]") -> Iterator[str]:
    return (repr(word)[:60] for word in values.text(series).dropna().unique()[:EXAMPLES])


def _is_time(series: "pd.Series[Any]") -> bool:
    import pandas as pd

    return bool(pd.api.types.is_datetime64_any_dtype(series))


def _violation(
    column: Any, problem: ProblemKind, count: int, rows: int, examples: Any, *, blocking: bool
) -> Violation:
    return {
        "column": str(column),
        "problem": problem,
        "count": count,
        "share": count / rows if rows else 1.0,
        "examples": list(examples),
        "blocking": blocking,
    }
