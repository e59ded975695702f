"""Rows made to find a difference between a bundle and its estimator. Pure."""

from typing import TYPE_CHECKING, Any

from mlops_assets.serving.ensemble import LinearModel, TreeEnsemble
from mlops_assets.serving.schema import Column, InputSchema

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Columns = dict[str, list[Any]]
"""As a request's body holds them."""

MOST_SPLITS = 2_000
"""Splits tried per column; of a model with more, evenly spaced ones."""
_BASE_ROWS = 200
_UNSEEN = ("", " ", "\x00", "unseen", "☃", "0", "nan", "None")
_EXTREMES = (
    0, -0.0, 1, True, -1, 0.1, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-35, -1e-35, 1e-40,
    16777217, 2**53 + 1, 1e15, -1e15, 3.4028234663852886e38, -3.4028234663852886e38, 1e300, -1e300,
)  # fmt: skip


def rows(
    schema: InputSchema, model: TreeEnsemble | LinearModel | None, held_out: Columns
) -> dict[str, Columns]:
    """Rows by kind: `missing`, `unseen_category`, `extreme` and `threshold`.

    Args:
        schema: the inputs.
        model: whose splits are tried.
        held_out: real rows, of which single values are replaced.
    """
    count = len(held_out[schema.names[0]])
    base = [{n: v[i] for n, v in held_out.items()} for i in range(min(count, _BASE_ROWS))]
    if not base:
        base = [dict.fromkeys(schema.names)]
    missing = [
        {**row, column.name: None}
        for index, column in enumerate(schema.columns)
        for row in _some(base, index)
    ]
    words = [column for column in schema.columns if column.type == "categorical"]
    unseen = [
        {**row, column.name: word}
        for column in words
        for index, word in enumerate((*_UNSEEN, *_misspelt(column)))
        for row in _some(base, index)
    ]
    extreme = [
        {**base[index % len(base)], column.name: value}
        # Value by value, so that the rows an estimator refuses stand together.
        for value in _EXTREMES
        for index, column in enumerate(schema.columns)
        if column.type != "categorical"
    ]
    extreme += [
        {**base[index % len(base)], column.name: value}
        for index, column in enumerate(schema.columns)
        for value in (column.minimum, column.maximum, *column.categories)
        if value is not None
    ]
    kinds = {
        "missing": [*missing, dict.fromkeys(schema.names)],
        "unseen_category": unseen,
        "extreme": extreme,
        "threshold": _at_thresholds(schema, model, base),
    }
    return {
        kind: {name: [row[name] for row in made] for name in schema.names}
        for kind, made in kinds.items()
    }


def _some(base: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    return [base[(start + step) % len(base)] for step in range(3)]


def _misspelt(column: Column) -> list[str]:
    return (
        [f"{column.categories[0]} ", column.categories[-1].swapcase()] if column.categories else []
    )


def _at_thresholds(
    schema: InputSchema, model: TreeEnsemble | LinearModel | None, base: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each number tried in one row, beside others: in half of the columns, then in the rest."""
    import numpy as np

    if not isinstance(model, TreeEnsemble):
        return []
    tried = {
        name: list(schema.columns[index].categories) or _neighbours(model, index).tolist()
        for index, name in enumerate(schema.names)
    }
    count = max(map(len, tried.values()))
    random = np.random.default_rng(0)
    first = random.random((count, len(tried))) < 0.5
    made = []
    for chosen in (first, ~first):
        for index in range(count):
            row = dict(base[index % len(base)])
            for (name, values), use in zip(tried.items(), chosen[index], strict=True):
                if use and values:
                    row[name] = values[index % len(values)]
            made.append(row)
    return made


def _neighbours(model: TreeEnsemble, column: int) -> "Array":
    """The thresholds of a column, and the doubles and float32 next to them."""
    import numpy as np

    split = (model.feature == column) & ~model.differs & np.isfinite(model.threshold)
    at = np.unique(model.threshold[split])
    if len(at) > MOST_SPLITS:
        at = at[np.linspace(0, len(at) - 1, MOST_SPLITS).astype(int)]
    with np.errstate(over="ignore"):
        single = at.astype(np.float32)
    both = [
        np.nextafter(values, values.dtype.type(way))
        for values in (at, single)
        for way in (-np.inf, np.inf)
    ]
    found = np.unique(np.concatenate([at, single, *both]).astype(np.float64))
    return found[np.isfinite(found)]
