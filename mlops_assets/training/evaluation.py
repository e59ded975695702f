"""What the held-out rows say of a model: slices, importances, calibration. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.records import Json
from mlops_assets.modeling.metrics import estimate, point, stratified
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.tasks import METRICS, MetricName
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MIN_SLICE = 30
"""Rows below which a slice's metric says nothing worth reading."""
_QUANTILES = 4
_MOST_VALUES = 12


def slices(
    rows: "pd.DataFrame",
    outcome: Outcome,
    columns: tuple[str, ...],
    *,
    metric: MetricName,
    task: Task,
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[Json, ...]:
    """The metric on the rows of each value of each column, numeric columns in quarters.

    Slices of fewer than `MIN_SLICE` rows, or of one class, carry no value and say why.
    """
    found: list[Json] = []
    for column, value, inside in divided(rows, columns, most=_MOST_VALUES):
        part = outcome.take(inside)
        entry: Json = {"column": column, "value": value, "rows": len(part)}
        if note := says_nothing(part, outcome, task=task, smallest=MIN_SLICE):
            entry["note"] = note
        else:
            interval = estimate(
                (metric,),
                part,
                stratify=stratified(task),
                resamples=resamples,
                confidence=confidence,
                seed=seed,
            )[metric]
            entry |= {"metric": metric, "value_of": interval.value}
            entry |= {"low": interval.low, "high": interval.high}
        found.append(entry)
    return tuple(found)


def divided(
    rows: "pd.DataFrame", columns: tuple[str, ...], *, most: int | None = None
) -> Iterator[tuple[str, str, "NDArray[np.bool_]"]]:
    """Column, value and mask of each slice, the largest of a column first, `most` of a column."""
    import pandas as pd

    for column in columns:
        values = rows[column]
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > _QUANTILES:
            values = pd.qcut(values, _QUANTILES, duplicates="drop")
        values = values.astype("string").fillna("(missing)")
        for value in values.value_counts().head(len(values) if most is None else most).index:
            yield column, str(value), (values == value).to_numpy(dtype=bool)


def says_nothing(part: Outcome, whole: Outcome, *, task: Task, smallest: int) -> str:
    """Why metrics of a slice are not worth reading; empty when they are."""
    if len(part) < smallest:
        return f"fewer than {smallest} rows"
    if task != "regression" and len(set(part.truth)) < len(set(whole.truth)):
        return "a class is absent"
    return ""


def importances(
    predict: Any,
    rows: "pd.DataFrame",
    schema: InputSchema,
    *,
    metric: MetricName,
    seed: int,
    repeats: int = 5,
    most_rows: int = 5000,
) -> tuple[Json, ...]:
    """Permutation importance (Breiman 2001): how much the metric worsens when a column is
    shuffled, mean and standard deviation over the repeats, most important first.

    Args:
        predict: rows -> Outcome.
        rows: held-out rows with labels.
        schema: the feature columns.
        metric: whose change is measured; positive is worse, whichever way the metric goes.
        seed: of the shuffles.
        repeats: shuffles per column.
        most_rows: a sample of this size is used when there are more rows.
    """
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(seed)
    if len(rows) > most_rows:
        rows = rows.iloc[np.sort(generator.choice(len(rows), most_rows, replace=False))]
    sign = 1 if METRICS[metric].greater_is_better else -1
    base = point(metric, predict(rows))
    found = []
    for name in schema.names:
        values, row = rows[name].to_numpy(), np.arange(len(rows))
        codes, known = pd.factorize(values, use_na_sentinel=False)
        shuffles = [generator.permutation(len(rows)) for _ in range(repeats)]
        # Where a column has few values the repeats ask the same of a row: it is asked once. And
        # all in one call, whose fixed cost outweighs its rows.
        pairs = np.concatenate([row * len(known) + codes[shuffle] for shuffle in shuffles])
        distinct, place = np.unique(pairs, return_inverse=True)
        first = np.unique(codes, return_index=True)[1]
        asked = rows.iloc[distinct // len(known)].reset_index(drop=True)
        asked[name] = values[first[distinct % len(known)]]
        together = predict(asked).take(place)
        drops = [
            sign * (base - point(metric, together.take(slice(k * len(rows), (k + 1) * len(rows)))))
            for k in range(repeats)
        ]
        found.append(
            {"column": name, "importance": float(np.mean(drops)), "sd": float(np.std(drops))}
        )
    return tuple(sorted(found, key=lambda entry: -entry["importance"]))


def golden_rows(rows: "pd.DataFrame", schema: InputSchema, *, most: int = 20) -> "pd.DataFrame":
    """Held-out rows worth replaying: the first ones, and for each column that can be missing
    one row where it is."""
    import pandas as pd

    missing = [
        rows[rows[column.name].isna()].head(1)
        for column in schema.columns
        if column.nullable and rows[column.name].isna().any()
    ]
    chosen = pd.concat([rows.head(most), *missing])
    return chosen[~chosen.index.duplicated()]
