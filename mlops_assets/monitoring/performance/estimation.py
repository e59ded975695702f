"""What quality to expect before any label is known. Pure; an estimate is never a measurement.

Confidence-based performance estimation (CBPE; Kivimaki, Bialek, Kuberski and Nurminen 2025,
"Performance Estimation in Binary Classification Using Calibrated Confidence", and NannyML's
documentation): if probabilities are calibrated, a row predicted with probability p is of that class
with probability p, so that the confusion matrix to expect is a sum over rows, at every threshold.
Here each row becomes one row per class that weighs as much as its probability, and every metric is
computed on these as on any others; metrics of ratios are ratios of expectations.

It assumes that labels depend on the inputs as in training: concept drift does not show in it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlops_assets.gateways.records import Metric
from mlops_assets.modeling.measures import MEASURES
from mlops_assets.modeling.outcome import Matrix, Outcome, Vector
from mlops_assets.modeling.tasks import MetricName, metrics_for
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    import numpy as np

_CELLS = 4_000_000


def estimable(task: Task) -> tuple[MetricName, ...]:
    """The metrics of a task that can be estimated so: none of a regression, for which `losses` are
    there, and not the error of the calibration that is assumed."""
    if task == "regression":
        return ()
    return tuple(name for name in metrics_for(task) if name != "calibration_error")


def estimate(
    names: tuple[MetricName, ...],
    predicted: Vector,
    probabilities: Matrix,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Metric]:
    """What each metric is expected to be, with the interval in which it is to fall once labels are
    known: rows are drawn with replacement, and for each row drawn a label by its probabilities.

    Args:
        names: metrics, of `estimable`.
        predicted: (n,) encoded labels after the decision threshold.
        probabilities: (n, classes), calibrated; each row is brought to sum to 1.
        resamples: how often rows and labels are drawn.
        confidence: of the interval.
        seed: of the draws.
    """
    import numpy as np

    n, classes = probabilities.shape
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)
    every = Outcome(
        truth=np.tile(np.arange(classes, dtype=float), n),
        predicted=np.repeat(predicted, classes),
        probabilities=np.repeat(probabilities, classes, axis=0),
    )
    expected = shares.reshape(1, -1)
    drawn: dict[MetricName, list[Vector]] = {name: [] for name in names}
    for weights in _drawn(shares, resamples, np.random.default_rng(seed)):
        for name in names:
            drawn[name].append(MEASURES[name](every, weights))
    tail, found = (1 - confidence) / 2, {}
    for name in names:
        value = float(MEASURES[name](every, expected)[0])
        if np.isfinite(value):
            low, high = np.nanquantile(np.concatenate(drawn[name]), [tail, 1 - tail])
            found[str(name)] = Metric(value, float(low), float(high))
    return found


def _drawn(shares: Matrix, resamples: int, generator: "np.random.Generator") -> Iterator[Matrix]:
    """Weights (draws, n * classes): how often each row was drawn with each label."""
    import numpy as np

    n, classes = shares.shape
    below = np.cumsum(shares, axis=1)[:, :-1]
    chunk = max(1, _CELLS // (n * classes))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        rows = generator.integers(n, size=(size, n))
        labels = (generator.random((size, n, 1)) >= below[rows]).sum(axis=2)
        cells = rows * classes + labels + np.arange(size)[:, None] * (n * classes)
        counts = np.bincount(cells.ravel(), minlength=size * n * classes)
        yield counts.reshape(size, n * classes).astype(np.float64)
