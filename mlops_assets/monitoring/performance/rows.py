"""Columns of two tables, counted on the same bins: what profiles give elsewhere. Pure."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_assets.monitoring.distributions import MISSING, OTHER, Distributions

if TYPE_CHECKING:
    import pandas as pd

_BINS = 10
_VALUES = 12


def compare(
    reference: "pd.DataFrame", current: "pd.DataFrame", columns: Sequence[str]
) -> list[Distributions]:
    """Numbers are cut at the deciles of the reference, words at its most frequent values.

    Args:
        reference: rows of then; numbers as floats, words as str or None.
        current: rows of now, the same.
        columns: that both have.
    """
    import pandas as pd

    return [
        _numbers(name, reference[name], current[name])
        if pd.api.types.is_numeric_dtype(reference[name])
        and pd.api.types.is_numeric_dtype(current[name])
        else _words(name, reference[name], current[name])
        for name in columns
    ]


def _numbers(name: str, then: "pd.Series", now: "pd.Series") -> Distributions:
    import numpy as np

    known = then.to_numpy(dtype=float)
    known = known[np.isfinite(known)]
    if len(np.unique(known)) <= _BINS:
        return _words(name, _spoken(then), _spoken(now))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
    ends = [f"{edge:.4g}" for edge in edges]
    inner = [f"{a} to {b}" for a, b in itertools.pairwise(ends)]

    def count(column: "pd.Series") -> tuple[float, ...]:
        values = column.to_numpy(dtype=float)
        there = values[~np.isnan(values)]
        # The last edge belongs to the last bin.
        bins = np.searchsorted(edges, there, side="right")
        bins[there == edges[-1]] = len(edges) - 1
        counts = np.bincount(bins, minlength=len(inner) + 2)
        return (*map(float, counts), float(len(values) - len(there)))

    bins = (f"< {ends[0]}", *inner, f"> {ends[-1]}", MISSING)
    return Distributions(name, bins, count(then), count(now))


def _spoken(numbers: "pd.Series") -> "pd.Series":
    """Numbers of few values, as words."""
    return numbers.map("{:g}".format, na_action="ignore").astype(object)


def _words(name: str, then: "pd.Series", now: "pd.Series") -> Distributions:
    frequent = [str(value) for value in then.astype(str)[then.notna()].value_counts().index]
    known = frequent[:_VALUES]

    def count(column: "pd.Series") -> tuple[float, ...]:
        there = column.astype(str)[column.notna()].value_counts()
        each = [float(there.get(value, 0)) for value in known]
        return (*each, float(there.sum()) - sum(each), float(column.isna().sum()))

    return Distributions(name, (*known, OTHER, MISSING), count(then), count(now))
