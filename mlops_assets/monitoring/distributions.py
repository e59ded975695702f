"""Distributions out of whylogs profiles: shares per bin, then and now, on the same bins.

Reads the views of `monitoring.profiles`; only numbers leave this module.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MISSING = "(missing)"
OTHER = "(other)"
_BINS = 10
_VALUES = 20


@dataclass(frozen=True)
class Histogram:
    """One column in two profiles, counted on the same bins."""

    column: str
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    """Rows per bin."""
    current: tuple[float, ...]
    """Rows per bin."""


def histograms(reference: Any, current: Any) -> tuple[Histogram, ...]:
    """Every column of the reference that the current profile holds too.

    Numeric columns are cut at the deciles of the reference (of the KLL sketch: rank error about
    1%) and at its ends; others at its most frequent values, with the rest as one bin. Missing
    values are a bin.
    """
    now = current.get_columns()
    return tuple(
        _histogram(name, column, now[name])
        for name, column in sorted(reference.get_columns().items())
        if name in now
    )


def _histogram(name: str, reference: Any, current: Any) -> Histogram:
    bins, count = _numeric(reference) if _kll(reference) else _words(reference)
    return Histogram(name, (*bins, MISSING), count(reference), count(current))


def _numeric(reference: Any) -> tuple[list[str], Callable[[Any], tuple[float, ...]]]:
    edges = _edges(_kll(reference))

    def count(column: Any) -> tuple[float, ...]:
        missing, total = _missing(column)
        sketch = _kll(column)
        shares = sketch.get_pmf(edges) if sketch else [0.0] * (len(edges) + 1)
        return (*(share * (total - missing) for share in shares), missing)

    shown = [_shown(edge, edges) for edge in edges]
    inner = [a if a == b else f"{a} to {b}" for a, b in itertools.pairwise(shown)]
    return [f"< {shown[0]}", *inner, f"> {shown[-1]}"], count


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
