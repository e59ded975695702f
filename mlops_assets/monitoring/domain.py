"""Whether rows, and not only their columns, are distributed as in training: a classifier that tries
to tell them apart. Pure.

Every column may be as it was while their combinations are new. A classifier is fitted to tell rows
of the training from logged ones, and asked about rows it was not fitted on: where both are of one
distribution it can only guess (the classifier two-sample test, Lopez-Paz and Oquab, ICLR 2017). Its
area under the curve is averaged over folds; what chance allows follows from the variance of the
Mann-Whitney statistic under the null hypothesis, (n + m + 1) / 12nm, in each fold. Equal rows are
in one fold, or the classifier would know them again.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling import metrics, pipeline
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.threads import threads_for
from mlops_assets.monitoring.spec import DriftSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MOST_ROWS = 4000
"""Rows of either side that are looked at."""
_FOLDS = 5
_CLASSIFIER = "sklearn.ensemble.HistGradientBoostingClassifier"
_PARAMETERS = {"max_iter": 40, "max_leaf_nodes": 15, "early_stopping": False}


@dataclass(frozen=True)
class Separation:
    """How well rows of then and now are told apart."""

    auc: float
    """Out of fold: 0.5 for rows that cannot be told apart, 1 for such as always can."""
    by_chance: tuple[float, float]
    """Where it lies, but for the tolerated share of false alarms, when they cannot be told apart.
    """
    rows: tuple[int, int]
    """Of the training, and logged."""
    columns: tuple[tuple[str, float], ...]
    """What shuffling a column costs of the area, the most telling first."""
    drifted: bool

    @property
    def telling(self) -> tuple[str, ...]:
        """The columns that give anything away, the most telling first."""
        return tuple(name for name, cost in self.columns if cost > 0)


def separate(
    reference: "pd.DataFrame", current: "pd.DataFrame", spec: DriftSpec, *, seed: int = 0
) -> Separation:
    """Tell rows of two tables apart by the columns that both have; there is at least one.

    Args:
        reference: rows of the training; numbers and truths as floats, words as str or None.
        current: logged rows, the same.
        spec: how many false alarms are tolerated, and from which area on a difference matters.
        seed: of the rows that are taken of more than `MOST_ROWS`, and of the shuffles.

    Raises:
        ValueError: too few different rows to be divided.
    """
    import numpy as np
    import pandas as pd

    names = [name for name in reference.columns if name in current.columns]
    parts = [_sampled(table[names], seed) for table in (reference, current)]
    rows = pd.concat(parts, ignore_index=True)
    origin = np.repeat([0.0, 1.0], [len(part) for part in parts])
    fold = (pd.util.hash_pandas_object(rows, index=False) % _FOLDS).to_numpy()
    areas, variances, costs = [], [], []
    for number in range(_FOLDS):
        held_out = fold == number
        now = int(origin[held_out].sum())
        then = int(held_out.sum()) - now
        if not (now and then and len(set(origin[~held_out])) == 2):
            continue
        model = _fitted(rows[~held_out], origin[~held_out], seed)
        asked, truth = rows[held_out], origin[held_out]
        areas.append(_area(model, asked, truth))
        variances.append((now + then + 1) / (12 * now * then))
        if len(areas) == 1:  # of one fold: it ranks columns, it judges nothing
            costs = _costs(model, asked, truth, areas[0], seed)
    if not areas:
        raise ValueError("fewer different rows than can be divided")
    auc = float(np.mean(areas))
    allowed = _quantile(1 - spec.false_discovery_rate) * math.sqrt(sum(variances)) / len(areas)
    return Separation(
        auc,
        (0.5 - allowed, 0.5 + allowed),
        (len(parts[0]), len(parts[1])),
        tuple(costs),
        auc > 0.5 + allowed and auc >= spec.rows_auc,
    )


def _sampled(table: "pd.DataFrame", seed: int) -> "pd.DataFrame":
    return table if len(table) <= MOST_ROWS else table.sample(MOST_ROWS, random_state=seed)


def _fitted(rows: "pd.DataFrame", origin: "NDArray[np.float64]", seed: int) -> Any:
    return pipeline.fitted(
        _CLASSIFIER, rows, origin, task="binary_classification", parameters=_PARAMETERS, seed=seed
    )


def _area(model: Any, rows: "pd.DataFrame", origin: "NDArray[np.float64]") -> float:
    with threads_for(len(rows)):
        probabilities = model.predict_proba(rows)
    return metrics.point("roc_auc", Outcome(origin, origin, probabilities))


def _costs(
    model: Any, rows: "pd.DataFrame", origin: "NDArray[np.float64]", area: float, seed: int
) -> list[tuple[str, float]]:
    import numpy as np

    generator, found = np.random.default_rng(seed), []
    for name in rows.columns:
        shuffled = rows.assign(**{name: generator.permutation(rows[name].to_numpy())})
        found.append((str(name), area - _area(model, shuffled, origin)))
    return sorted(found, key=lambda each: -each[1])


def _quantile(share: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(share))
