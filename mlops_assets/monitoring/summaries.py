"""What one profile says of the values of a column, as numbers.

Reads the views of `monitoring.profiles`; only numbers leave this module.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STEPS = 1024
WORD_LENGTH = 128
"""Characters by which profiles tell words apart."""
_NOBODY = "\0"
"""A value that no column has."""


@dataclass(frozen=True)
class Summary:
    """One column of n rows."""

    column: str
    rows: int
    missing: int
    numbers: int
    """Values that are numbers."""
    words: int
    """Values that are none: categories, and booleans as `true` and `false`."""
    values: Mapping[str, int] = field(default_factory=dict)
    """At most how often each of the frequent words occurs."""
    unlisted: int = 0
    """At most how often a word occurs that is not among them; 0 where all are known."""
    once: int = 0
    """Of the words in `values`, those that occur once."""
    points: tuple[float, ...] = ()
    """Quantiles of the numbers from 0 to 1 in equal steps; the ends are exact."""
    error: float = 0.0
    """What the share of the numbers below a point may be off (99% confidence)."""

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @property
    def whole(self) -> bool:
        """Whether every number that is known is whole."""
        return bool(self.points) and not self.fractional

    @property
    def fractional(self) -> int:
        """How many of the points are not whole."""
        return sum(not point.is_integer() for point in self.points if math.isfinite(point))


def summarize(view: Any) -> dict[str, Summary]:
    """Every column of a view, by name."""
    return {name: _summary(name, column) for name, column in sorted(view.get_columns().items())}


def _summary(name: str, column: Any) -> Summary:
    counts, types = column.get_metric("counts"), column.get_metric("types")
    kinds = {} if types is None else types.to_summary_dict()
    numbers = int(kinds.get("integral", 0) + kinds.get("fractional", 0))
    values, unlisted = _words(column)
    points, error = _numbers(column)
    return Summary(
        name,
        rows=0 if counts is None else int(counts.n.value),
        missing=0 if counts is None else int(counts.null.value),
        numbers=numbers,
        words=int(sum(kinds.values())) - numbers,
        values=values,
        unlisted=unlisted,
        once=sum(times == 1 for times in values.values()),
        points=points,
        error=error,
    )


def _words(column: Any) -> tuple[dict[str, int], int]:
    metric = column.get_metric("frequent_items")
    if metric is None:
        return {}, 0
    sketch = metric.frequent_strings.value
    found = {item.value: int(item.upper) for item in metric.strings}
    return found, int(sketch.get_upper_bound(_NOBODY))


def _numbers(column: Any) -> tuple[tuple[float, ...], float]:
    metric = column.get_metric("distribution")
    if metric is None or metric.kll.value.is_empty():
        return (), 0.0
    sketch = metric.kll.value
    points = sketch.get_quantiles([step / STEPS for step in range(STEPS + 1)])
    error = sketch.normalized_rank_error(False) if sketch.is_estimation_mode() else 0.0
    return tuple(points), float(error)
