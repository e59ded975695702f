"""Every metric as a function of an outcome and a matrix of row weights, one value per row of it.

Definitions follow scikit-learn's functions of the same name (tests hold them equal);
`calibration_error` is the expected calibration error (Naeini et al., AAAI 2015) over ten bins of
equally many rows, whose bias is smaller than that of equally wide ones (Roelofs et al., AISTATS
2022); of the positive class, with more than two classes of the most probable one (Guo et al., ICML
2017).
"""

from collections.abc import Callable
from typing import Any

from mlops_assets.modeling.outcome import Matrix, Outcome, Vector
from mlops_assets.modeling.tasks import MetricName


def _mean(per_row: Vector, weights: Matrix) -> Vector:
    result: Vector = weights @ per_row / weights.sum(axis=1)
    return result


def _positive(outcome: Outcome) -> Vector:
    if outcome.probabilities is None:
        raise ValueError("a classification metric needs probabilities")
    return outcome.probabilities[:, -1]


def _sums_downwards(
    score: Vector, truth: Vector, weights: Matrix
) -> tuple[Vector, Matrix, Vector, Matrix]:
    """Positives and negatives apart, each by falling score: their scores negated, so that they
    rise, and the sums of the first k of their weights, k from 0, per row of `weights`.

    Apart, because what a curve needs of one side is a look-up in the sums of the other: the
    columns are copied once, and equal scores need no grouping.
    """
    import numpy as np

    falling = np.argsort(-score, kind="stable")
    parts: list[Any] = []
    for label in (1, 0):
        rows = falling[truth[falling] == label]
        sums = np.zeros((len(weights), len(rows) + 1))
        np.cumsum(weights.take(rows, axis=1), axis=1, out=sums[:, 1:])
        parts += [-score[rows], sums]
    return parts[0], parts[1], parts[2], parts[3]


def _auc(score: Vector, truth: Vector, weights: Matrix) -> Vector:
    import numpy as np

    of_positives, positives, of_negatives, negatives = _sums_downwards(score, truth, weights)
    above = positives.take(np.searchsorted(of_positives, of_negatives, side="left"), axis=1)
    above += positives.take(np.searchsorted(of_positives, of_negatives, side="right"), axis=1)
    with np.errstate(invalid="ignore"):
        area = np.einsum("ij,ij->i", np.diff(negatives, axis=1), above) / 2
        result: Vector = area / (positives[:, -1] * negatives[:, -1])
        return result


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
    result: Vector = np.mean(each, axis=0)
    return result


def _average_precision(outcome: Outcome, weights: Matrix) -> Vector:
    import numpy as np

    of_positives, positives, of_negatives, negatives = _sums_downwards(
        _positive(outcome), outcome.truth, weights
    )
    hits = positives.take(np.searchsorted(of_positives, of_positives, side="right"), axis=1)
    misses = negatives.take(np.searchsorted(of_negatives, of_positives, side="right"), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits > 0, hits / (hits + misses), 0.0)
        gained = np.einsum("ij,ij->i", np.diff(positives, axis=1), precision)
        result: Vector = gained / positives[:, -1]
        return result


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

    assert outcome.probabilities is not None  # noqa: S101
    binary = outcome.probabilities.shape[1] == 2
    score = outcome.probabilities[:, 1] if binary else outcome.probabilities.max(axis=1)
    most = outcome.probabilities.argmax(axis=1)
    happened = outcome.truth if binary else (outcome.truth == most).astype(float)
    # By value, so that equal scores share a bin whatever the order of the rows.
    last = [-(-tenth * len(score) // 10) - 1 for tenth in range(1, 10)]
    edges = np.sort(score)[last]
    bins = np.searchsorted(edges, score, side="left")
    gap = np.zeros(len(weights))
    for index in range(10):
        rows = bins == index
        gap += np.abs(weights[:, rows] @ (score - happened)[rows])
    result: Vector = gap / weights.sum(axis=1)
    return result


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
    result: Vector = np.mean(each, axis=0)
    return result


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
    result: Vector = np.mean(each, axis=0)
    return result


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
    result: Vector = (error[order][lower] + error[order][upper]) / 2
    return result


def _r2(outcome: Outcome, weights: Matrix) -> Vector:
    total = weights.sum(axis=1)
    center = outcome.truth.mean()
    shifted = outcome.truth - center
    spread = weights @ shifted**2 - (weights @ shifted) ** 2 / total
    result: Vector = 1 - weights @ (outcome.truth - outcome.predicted) ** 2 / spread
    return result


MEASURES: dict[MetricName, Callable[[Outcome, Matrix], Vector]] = {
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
