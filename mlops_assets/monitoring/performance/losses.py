"""How large the errors of a regression are to be expected before any label is known. Pure; an
estimate is never a measurement.

Direct loss estimation (DLE, NannyML's documentation): a second model, fitted on held-out rows whose
truth is known, predicts the size of an error from the features and the prediction; its mean over a
window is the error to expect there. The interval says where the realised error is to fall: rows are
drawn with replacement, and each row's expected error is multiplied with a ratio of real to expected
error, of the held-out rows when a model that had not seen them predicted theirs.

It assumes that errors depend on the inputs as on the held-out rows: concept drift does not show in
it, and of inputs unlike any held-out row it knows no more than of the nearest ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.records import Metric
from mlops_assets.modeling import pipeline
from mlops_assets.modeling.outcome import Vector
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.modeling.threads import threads_for

if TYPE_CHECKING:
    import pandas as pd

ESTIMABLE: tuple[MetricName, ...] = ("rmse", "mae")
LEAST_ROWS = 200
"""Held-out rows from which on errors are predicted."""
_FOLDS = 4
_REGRESSOR = "sklearn.ensemble.HistGradientBoostingRegressor"
_PARAMETERS = {
    "max_iter": 40,
    "learning_rate": 0.1,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 40,
    "early_stopping": False,
}


@dataclass(frozen=True)
class _Loss:
    """What is known of one kind of loss."""

    model: Any
    least: float
    """No row is expected to lose less."""
    expected: Vector
    """(held-out rows,) by models that had not seen them."""
    ratios: Vector
    """(held-out rows,) real by expected loss."""

    def of(self, rows: "pd.DataFrame") -> Vector:
        return _predicted(self.model, rows, self.least)


@dataclass(frozen=True)
class Losses:
    """What errors of one version look like."""

    columns: tuple[str, ...]
    """What they are predicted from."""
    by_metric: Mapping[MetricName, _Loss]


def fit(rows: "pd.DataFrame", errors: Vector, *, seed: int) -> Losses | None:
    """Learn the size of errors; None of fewer rows than `LEAST_ROWS`.

    Args:
        rows: held-out rows: features and the prediction, numbers and truths as floats, words as str
            or None.
        errors: (rows,) truth less prediction.
        seed: of the folds.
    """
    if len(rows) < LEAST_ROWS:
        return None
    losses: dict[MetricName, Vector] = {"mae": abs(errors), "rmse": errors**2}
    found = {name: _learned(rows, loss, seed) for name, loss in losses.items()}
    return Losses(tuple(map(str, rows.columns)), found)


def estimate(
    losses: Losses, rows: "pd.DataFrame", *, resamples: int, confidence: float, seed: int
) -> dict[str, Metric]:
    """What `ESTIMABLE` metrics of a window are expected to be, with the interval in which they are
    to fall once labels are known.

    Args:
        losses: of the version that answered.
        rows: at least one, with the columns of `losses`.
        resamples: how often rows and errors are drawn.
        confidence: of the interval.
        seed: of the draws.
    """
    import numpy as np

    tail = (1 - confidence) / 2
    found = {}
    for name in ESTIMABLE:
        loss = losses.by_metric[name]
        expected = loss.of(rows[[*losses.columns]])
        value = expected.mean() * (loss.expected @ loss.ratios) / loss.expected.sum()
        drawn = _drawn(loss, expected, resamples, np.random.default_rng(seed))
        numbers = [value, *np.quantile(drawn, [tail, 1 - tail])]
        shown = np.sqrt(numbers) if name == "rmse" else numbers
        found[str(name)] = Metric(*map(float, shown))
    return found


def _drawn(loss: _Loss, expected: Vector, resamples: int, generator: Any) -> Vector:
    """Mean losses of (resamples,) windows. The held-out rows are drawn anew for each, so that what
    they leave unknown widens the interval; of these a ratio is drawn as often as its row weighs, so
    that the mean of the products is that of the losses."""
    import numpy as np

    held_out, n = len(loss.ratios), len(expected)
    means = np.empty(resamples)
    for number in range(resamples):
        weights = loss.expected * np.bincount(
            generator.integers(held_out, size=held_out), minlength=held_out
        )
        sums = np.cumsum(weights)
        places = np.searchsorted(sums, generator.random(n) * sums[-1], side="right")
        ratios = loss.ratios[np.minimum(places, held_out - 1)]
        means[number] = (expected[generator.integers(n, size=n)] * ratios).mean()
    return means


def _learned(rows: "pd.DataFrame", loss: Vector, seed: int) -> _Loss:
    import numpy as np

    # Errors of a perfect model are expected to be small, not none.
    least = max(float(loss.mean()) * 0.01, np.finfo(float).tiny)
    fold = np.random.default_rng(seed).permutation(len(rows)) % _FOLDS
    expected = np.empty(len(rows))
    for number in range(_FOLDS):
        held_out = fold == number
        model = _fitted(rows[~held_out], loss[~held_out], seed)
        expected[held_out] = _predicted(model, rows[held_out], least)
    return _Loss(_fitted(rows, loss, seed), least, expected, loss / expected)


def _fitted(rows: "pd.DataFrame", loss: Vector, seed: int) -> Any:
    return pipeline.fitted(
        _REGRESSOR, rows, loss, task="regression", parameters=_PARAMETERS, seed=seed
    )


def _predicted(model: Any, rows: "pd.DataFrame", least: float) -> Vector:
    import numpy as np

    with threads_for(len(rows)):
        found: Vector = np.maximum(model.predict(rows), least)
    return found
