"""Distributions out of whylogs profiles: the same column then and now, as numbers.

Reads the views of `monitoring.profiles`; only numbers leave this module.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MISSING = "(missing)"
NO_NUMBER = "(no number)"
"""Words in a column of numbers, where one side has any."""
OTHER = "(other)"
_BINS = 10
_VALUES = 20
_POINTS = 256


@dataclass(frozen=True)
class Ranks:
    """Two distribution functions of numbers, on the same points."""

    points: tuple[float, ...]
    """Ascending: quantiles of both samples, their ends, and the next float above each, so that a
    step at a value that many rows share is seen whole."""
    reference: tuple[float, ...]
    """Share of the values that are there, below each point."""
    current: tuple[float, ...]
    """The same."""
    rows: tuple[float, float]
    """Values that are there: of the reference, and now."""
    spread: float
    """Standard deviation of the reference; 0 or NaN where it has none."""
    error: float
    """What both sketches together may be off in a share, at every point (99% confidence); 0 while
    they still hold every value."""


@dataclass(frozen=True)
class Distributions:
    """One column in two profiles, counted on the same bins."""

    column: str
    bins: tuple[str, ...]
    """The last one holds the missing values; in a column of numbers the one before it holds words,
    where there are any."""
    reference: tuple[float, ...]
    """Rows per bin."""
    current: tuple[float, ...]
    """Rows per bin."""
    ranks: Ranks | None = None
    """Of a column of numbers that both profiles hold values of."""

    @property
    def beside(self) -> int:
        """How many of the last bins hold no numbers, in a column of numbers."""
        return 2 if NO_NUMBER in self.bins else 1


def compare(reference: Any, current: Any) -> tuple[Distributions, ...]:
    """Every column of the reference that the current profile holds too.

    Numeric columns are cut at the deciles of the reference and at its ends; others at its most
    frequent values, with the rest as one bin. Missing values are a bin, and so are words in a
    column of numbers: of a column with both, what most values are counts.
    """
    now = current.get_columns()
    return tuple(
        _compared(name, column, now[name])
        for name, column in sorted(reference.get_columns().items())
        if name in now
    )


def _compared(name: str, reference: Any, current: Any) -> Distributions:
    if not _is_of_numbers(reference):
        bins, count = _words(reference)
        return Distributions(name, (*bins, MISSING), count(reference), count(current))
    sketches = _kll(reference), _kll(current)
    bins, count = _numeric(sketches[0], mixed=any(map(_no_numbers, (reference, current))))
    return Distributions(
        name,
        (*bins, MISSING),
        count(reference),
        count(current),
        _ranks(reference, *sketches) if all(sketches) else None,
    )


def _is_of_numbers(column: Any) -> bool:
    sketch = _kll(column)
    return sketch is not None and sketch.get_n() >= _no_numbers(column)


def _no_numbers(column: Any) -> float:
    """Values that are there and in no sketch of numbers."""
    missing, total = _missing(column)
    sketch = _kll(column)
    return max(0.0, total - missing - (sketch.get_n() if sketch else 0))


def _ranks(reference: Any, then: Any, now: Any) -> Ranks:
    quantiles = [k / _POINTS for k in range(_POINTS + 1)]
    values = {*then.get_quantiles(quantiles), *now.get_quantiles(quantiles)}
    points = sorted(values | {math.nextafter(value, math.inf) for value in values})
    # The last share is of everything above the last point.
    return Ranks(
        points=tuple(points),
        reference=tuple(then.get_cdf(points)[:-1]),
        current=tuple(now.get_cdf(points)[:-1]),
        rows=(float(then.get_n()), float(now.get_n())),
        spread=float(reference.get_metric("distribution").stddev),
        error=sum(s.normalized_rank_error(False) for s in (then, now) if s.is_estimation_mode()),
    )


def _numeric(sketch: Any, *, mixed: bool) -> tuple[list[str], Callable[[Any], tuple[float, ...]]]:
    edges = _edges(sketch)

    def count(column: Any) -> tuple[float, ...]:
        missing, _ = _missing(column)
        sketch = _kll(column)
        counts = (
            [share * sketch.get_n() for share in sketch.get_pmf(edges)]
            if sketch
            else [0.0] * (len(edges) + 1)
        )
        return (*counts, *([_no_numbers(column)] if mixed else []), missing)

    shown = [_shown(edge, edges) for edge in edges]
    inner = [a if a == b else f"{a} to {b}" for a, b in itertools.pairwise(shown)]
    return [
        f"< {shown[0]}",
        *inner,
        f"> {shown[-1]}",
        *([NO_NUMBER] if mixed else []),
    ], count


def _edges(sketch: Any) -> list[float]:
    """Where bins begin: at the deciles, and at both ends, so that values never seen before have a
    bin. A value that several deciles share is a bin of its own, apart from those above it."""
    low, *deciles, high = sketch.get_quantiles([k / _BINS for k in range(_BINS + 1)])
    heavy = {value for value in deciles if deciles.count(value) > 1}
    above = {math.nextafter(value, math.inf) for value in heavy | {high}}
    return sorted({low, *deciles} | above)


def _shown(edge: float, edges: list[float]) -> str:
    """The edge as people read it: one just above another is that other."""
    below = math.nextafter(edge, -math.inf)
    return f"{below if below in edges else edge:.4g}"


def _words(reference: Any) -> tuple[list[str], Callable[[Any], tuple[float, ...]]]:
    values = sorted(_frequent(reference).items(), key=lambda item: (-item[1], item[0]))
    known = [value for value, _ in values[:_VALUES]]

    def count(column: Any) -> tuple[float, ...]:
        missing, total = _missing(column)
        frequent = _frequent(column)
        each = [frequent.get(value, 0.0) for value in known]
        return (*each, max(0.0, total - missing - sum(each)), missing)

    return [*known, OTHER], count


def _kll(column: Any) -> Any:
    """The quantile sketch, or None when the column holds no number."""
    metric = column.get_metric("distribution")
    if metric is None or metric.kll.value.is_empty():
        return None
    return metric.kll.value


def _frequent(column: Any) -> dict[str, float]:
    metric = column.get_metric("frequent_items")
    return {} if metric is None else {i.value: float(i.est) for i in metric.strings}


def _missing(column: Any) -> tuple[float, float]:
    """Missing and all rows."""
    counts = column.get_metric("counts")
    return float(counts.null.value), float(counts.n.value)
