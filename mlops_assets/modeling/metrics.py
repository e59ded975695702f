"""Metrics and their confidence intervals, one definition for both.

A metric is a function of an outcome and a matrix of row weights: a row of ones gives the point
estimate, rows of resampling counts give the bootstrap distribution, without a Python loop over
resamples. What each metric computes stands in `measures`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlops_assets.gateways.records import Metric
from mlops_assets.modeling.measures import MEASURES
from mlops_assets.modeling.outcome import Matrix, Outcome, Vector
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    import numpy as np

_CELLS = 4_000_000
"""Weights held in memory at once: resamples are taken in chunks of this many cells."""


def point(name: MetricName, outcome: Outcome) -> float:
    """The metric on the rows as they are; NaN where it is undefined (one class only)."""
    import numpy as np

    return float(MEASURES[name](outcome, np.ones((1, len(outcome))))[0])


def estimate(
    names: tuple[MetricName, ...],
    outcome: Outcome,
    *,
    stratify: bool,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Metric]:
    """Point estimates with percentile-bootstrap intervals (Efron 1979), rows resampled within
    classes when `stratify`. Intervals are NaN-free wherever the point estimate is."""
    import numpy as np

    values: dict[MetricName, list[Vector]] = {name: [] for name in names}
    for weights in _resamples(outcome, stratify=stratify, resamples=resamples, seed=seed):
        for name in names:
            values[name].append(MEASURES[name](outcome, weights))
    result = {}
    for name in names:
        low, high = _interval(np.concatenate(values[name]), confidence)
        result[str(name)] = Metric(value=point(name, outcome), low=low, high=high)
    return result


def paired_differences(
    names: tuple[MetricName, ...],
    first: Outcome,
    second: Outcome,
    *,
    stratify: bool,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Metric]:
    """`first` minus `second` on the same rows, both scored on the same resamples.

    A row keeps both its predictions when it is drawn, so that what the two models have in common
    cancels; the interval holds the middle of the differences (the percentile interval of Efron &
    Tibshirani 1993, chapter 13, on pairs).
    """
    import numpy as np

    values: dict[MetricName, list[Vector]] = {name: [] for name in names}
    for weights in _resamples(first, stratify=stratify, resamples=resamples, seed=seed):
        for name in names:
            function = MEASURES[name]
            values[name].append(function(first, weights) - function(second, weights))
    result = {}
    for name in names:
        low, high = _interval(np.concatenate(values[name]), confidence)
        gap = point(name, first) - point(name, second)
        result[str(name)] = Metric(value=gap, low=low, high=high)
    return result


def best_threshold(truth: Vector, probability: Vector, *, maximize: str) -> float:
    """The threshold from which on rows are called positive that maximises a metric: halfway
    between the last row called and the next one. Of equally good ones the highest; at least one
    row is called.

    Args:
        truth: (n,) zeros and ones.
        probability: (n,) probabilities of the positive class, out of fold.
        maximize: `f1`, `accuracy` or `balanced_accuracy`.
    """
    import numpy as np

    order = np.argsort(-probability, kind="stable")
    sorted_truth, sorted_probability = truth[order], probability[order]
    last = np.append(np.flatnonzero(np.diff(sorted_probability)), len(truth) - 1)
    hits, called = np.cumsum(sorted_truth)[last], last + 1.0
    positives, n = truth.sum(), len(truth)
    negatives_right = (n - positives) - (called - hits)
    if maximize == "f1":
        value = 2 * hits / (called + positives)
    elif maximize == "accuracy":
        value = (hits + negatives_right) / n
    else:
        value = hits / positives + negatives_right / (n - positives)
    at = last[int(np.argmax(value))]
    below = sorted_probability[at + 1] if at + 1 < n else 0.0
    halfway = float((sorted_probability[at] + below) / 2)
    # Between neighbouring floats there is no halfway.
    return halfway if halfway > below else float(sorted_probability[at])


def _resamples(
    outcome: Outcome, *, stratify: bool, resamples: int, seed: int, cells: int = _CELLS
) -> Iterator[Matrix]:
    import numpy as np

    n = len(outcome)
    groups = (
        [np.flatnonzero(outcome.truth == label) for label in np.unique(outcome.truth)]
        if stratify
        else [np.arange(n)]
    )
    # One generator per group, so that what is drawn does not depend on the chunks.
    generators = np.random.default_rng(seed).spawn(len(groups))
    chunk = max(1, cells // n)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        weights = np.empty((size, n))
        for rows, generator in zip(groups, generators, strict=True):
            weights[:, rows] = _drawn(generator, size, len(rows))
        yield weights


def _drawn(generator: "np.random.Generator", resamples: int, rows: int) -> Matrix:
    """How often each row is drawn when as many rows as there are are drawn with replacement."""
    import numpy as np

    drawn = generator.integers(rows, size=(resamples, rows))
    drawn += np.arange(resamples)[:, None] * rows
    counts = np.bincount(drawn.ravel(), minlength=resamples * rows)
    return counts.reshape(resamples, rows).astype(np.float64)


def _interval(values: Vector, confidence: float) -> tuple[float, float]:
    import numpy as np

    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def stratified(task: Task) -> bool:
    """Whether resampling keeps the class counts: in classification, so that none vanishes."""
    return task != "regression"
