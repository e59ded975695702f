"""Metrics and their confidence intervals, one definition for both.

A metric is a function of an outcome and a matrix of row weights: a row of ones gives the point
estimate, rows of resampling counts give the bootstrap distribution, without a Python loop over
resamples. Definitions follow scikit-learn's functions of the same name (tests hold them equal);
`calibration_error` is the expected calibration error of Naeini et al. (AAAI 2015), ten equal bins.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.records import Metric
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]
else:
    Vector = Matrix = Any

_CELLS = 4_000_000
"""Weights held in memory at once: resamples are taken in chunks of this many cells."""


@dataclass(frozen=True)
class Outcome:
    """What was true and what was predicted, row by row."""

    truth: Vector
    """(n,) encoded labels, the positive class 1 in a binary task; values in a regression."""
    predicted: Vector
    """(n,) encoded labels after the decision threshold; values in a regression."""
    probabilities: Matrix | None
    """(n, classes); None in a regression."""

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Any) -> "Outcome":
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return Outcome(self.truth[rows], self.predicted[rows], probabilities)


def point(name: MetricName, outcome: Outcome) -> float:
    """The metric on the rows as they are; NaN where it is undefined (one class only)."""
    import numpy as np

    return float(_FUNCTIONS[name](outcome, np.ones((1, len(outcome))))[0])


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
            values[name].append(_FUNCTIONS[name](outcome, weights))
    result = {}
    for name in names:
        low, high = _interval(np.concatenate(values[name]), confidence)
        result[str(name)] = Metric(value=point(name, outcome), low=low, high=high)
    return result


def paired_difference(
    name: MetricName,
    first: Outcome,
    second: Outcome,
    *,
    stratify: bool,
    resamples: int,
    confidence: float,
    seed: int,
) -> Metric:
    """`first` minus `second` on the same rows, both scored on the same resamples."""
    import numpy as np

    function = _FUNCTIONS[name]
    drawn = _resamples(first, stratify=stratify, resamples=resamples, seed=seed)
    differences = np.concatenate([function(first, w) - function(second, w) for w in drawn])
    low, high = _interval(differences, confidence)
    return Metric(value=point(name, first) - point(name, second), low=low, high=high)


def best_threshold(truth: Vector, probability: Vector, *, maximize: str) -> float:
    """The smallest probability at which calling a row positive maximises a metric.

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
    return float((sorted_probability[at] + below) / 2)


def _resamples(outcome: Outcome, *, stratify: bool, resamples: int, seed: int) -> Iterator[Matrix]:
    import numpy as np

    generator = np.random.default_rng(seed)
    n = len(outcome)
    groups = (
        [np.flatnonzero(outcome.truth == label) for label in np.unique(outcome.truth)]
        if stratify
        else [np.arange(n)]
    )
    chunk = max(1, _CELLS // n)
    for start in range(0, resamples, chunk):
        weights = np.empty((min(chunk, resamples - start), n))
        for rows in groups:
            share = np.full(len(rows), 1 / len(rows))
            weights[:, rows] = generator.multinomial(len(rows), share, size=len(weights))
        yield weights


def _interval(values: Vector, confidence: float) -> tuple[float, float]:
    import numpy as np

    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _mean(per_row: Vector, weights: Matrix) -> Vector:
    return weights @ per_row / weights.sum(axis=1)


def _positive(outcome: Outcome) -> Vector:
    if outcome.probabilities is None:
        raise ValueError("a classification metric needs probabilities")
    return outcome.probabilities[:, -1]


def _tied_groups(score: Vector, truth: Vector, weights: Matrix) -> tuple[Matrix, Matrix]:
    """Weight of positives and of negatives per distinct score, highest score first: (B, g)."""
    import numpy as np

    order = np.argsort(-score, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(score[order])) + 1)
    positive = np.add.reduceat((weights * truth)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * (1 - truth))[:, order], starts, axis=1)
    return positive, negative


def _auc(score: Vector, truth: Vector, weights: Matrix) -> Vector:
    import numpy as np

    positive, negative = _tied_groups(score, truth, weights)
    above = np.cumsum(positive, axis=1) - positive / 2
    with np.errstate(invalid="ignore"):
        area = (negative * above).sum(axis=1)
        return area / (positive.sum(axis=1) * negative.sum(axis=1))


def _roc_auc(outcome: Outcome, weights: Matrix) -> Vector:
    return _auc(_positive(outcome), outcome.truth, weights)


def _roc_auc_ovr(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    assert outcome.probabilities is not None  # noqa: S101
    classes = range(outcome.probabilities.shape[1])
    each = [
        _auc(outcome.probabilities[:, k], (outcome.truth == k).astype(float), weights)
        for k in classes
    ]
    return np.mean(each, axis=0)


def _average_precision(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    positive, negative = _tied_groups(_positive(outcome), outcome.truth, weights)
    hits, called = np.cumsum(positive, axis=1), np.cumsum(positive + negative, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(called > 0, hits / called, 0.0)
        return (positive * precision).sum(axis=1) / positive.sum(axis=1)


def _log_loss(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    assert outcome.probabilities is not None  # noqa: S101
    epsilon = np.finfo(np.float64).eps
    rows = np.arange(len(outcome))
    of_truth = outcome.probabilities[rows, outcome.truth.astype(int)]
    return _mean(-np.log(np.clip(of_truth, epsilon, 1 - epsilon)), weights)


def _brier(outcome: Outcome, weights: Matrix) -> Vector:
    return _mean((_positive(outcome) - outcome.truth) ** 2, weights)


def _calibration_error(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    score = _positive(outcome)
    bins = np.clip((score * 10).astype(int), 0, 9)
    gap = np.zeros(len(weights))
    for index in range(10):
        rows = bins == index
        gap += np.abs(weights[:, rows] @ (score - outcome.truth)[rows])
    return gap / weights.sum(axis=1)


def _accuracy(outcome: Outcome, weights: Matrix) -> Vector:
    return _mean((outcome.truth == outcome.predicted).astype(float), weights)


def _balanced_accuracy(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    right = (outcome.truth == outcome.predicted).astype(float)
    each = []
    for label in np.unique(outcome.truth):
        rows = outcome.truth == label
        with np.errstate(invalid="ignore"):
            each.append(weights[:, rows] @ right[rows] / weights[:, rows].sum(axis=1))
    return np.mean(each, axis=0)


def _counts(outcome: Outcome, weights: Matrix, label: float) -> tuple[Vector, Vector, Vector]:
    """Weighted true positives, predicted positives and actual positives of one class."""
    truth = (outcome.truth == label).astype(float)
    predicted = (outcome.predicted == label).astype(float)
    return weights @ (truth * predicted), weights @ predicted, weights @ truth


def _ratio(numerator: Vector, denominator: Vector) -> Vector:
    import numpy as np

    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _precision(outcome: Outcome, weights: Matrix) -> Vector:
    hits, called, _ = _counts(outcome, weights, 1)
    return _ratio(hits, called)


def _recall(outcome: Outcome, weights: Matrix) -> Vector:
    hits, _, actual = _counts(outcome, weights, 1)
    return _ratio(hits, actual)


def _f1(outcome: Outcome, weights: Matrix) -> Vector:
    hits, called, actual = _counts(outcome, weights, 1)
    return _ratio(2 * hits, called + actual)


def _f1_macro(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    labels = np.union1d(outcome.truth, outcome.predicted)
    each = []
    for label in labels:
        hits, called, actual = _counts(outcome, weights, label)
        each.append(_ratio(2 * hits, called + actual))
    return np.mean(each, axis=0)


def _rmse(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    return np.sqrt(_mean((outcome.truth - outcome.predicted) ** 2, weights))


def _mae(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    return _mean(np.abs(outcome.truth - outcome.predicted), weights)


def _median_absolute_error(outcome: Outcome, weights: Matrix) -> Vector:
    """The median of the resampled errors: the mean of the middle two when their count is even."""
    import numpy as np

    error = np.abs(outcome.truth - outcome.predicted)
    order = np.argsort(error, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    half = cumulative[:, -1:] / 2
    lower = (cumulative >= half).argmax(axis=1)
    upper = (cumulative > half).argmax(axis=1)
    return (error[order][lower] + error[order][upper]) / 2


def _r2(outcome: Outcome, weights: Matrix) -> Vector:
    total = weights.sum(axis=1)
    center = outcome.truth.mean()
    shifted = outcome.truth - center
    spread = weights @ shifted**2 - (weights @ shifted) ** 2 / total
    return 1 - weights @ (outcome.truth - outcome.predicted) ** 2 / spread


_FUNCTIONS: dict[MetricName, Callable[[Outcome, Matrix], Vector]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
    "calibration_error": _calibration_error,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "f1_macro": _f1_macro,
    "roc_auc_ovr": _roc_auc_ovr,
    "rmse": _rmse,
    "mae": _mae,
    "median_absolute_error": _median_absolute_error,
    "r2": _r2,
}


def stratified(task: Task) -> bool:
    """Whether resampling keeps the class counts: in classification, so that none vanishes."""
    return task != "regression"
