"""Every metric is scikit-learn's, with weights and without; the bootstrap around them is sound."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mlops_assets.modeling import metrics
from mlops_assets.modeling.measures import MEASURES
from mlops_assets.modeling.metrics import (
    best_threshold,
    estimate,
    paired_differences,
    point,
    stratified,
)
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.tasks import METRICS, metrics_for

TASKS = ("binary_classification", "multiclass_classification", "regression")
RESAMPLING: dict[str, Any] = {"resamples": 400, "confidence": 0.95, "seed": 3}


def in_bins(outcome: Outcome, weights: np.ndarray) -> float:
    """The expected calibration error, from its definition, one row at a time."""
    total = 0.0
    many = outcome.probabilities.shape[1] > 2
    said = [max(row) if many else row[1] for row in outcome.probabilities]
    right = [
        float(np.argmax(row) == t) if many else t
        for row, t in zip(outcome.probabilities, outcome.truth, strict=True)
    ]
    ranked, size = sorted(said), len(said)
    # The last row of each tenth; what equals it belongs there too.
    ends = [ranked[-(-tenth * size // 10) - 1] for tenth in range(1, 10)]
    for index in range(10):
        score, truth, weight = [], [], []
        for p, t, w in zip(said, right, weights, strict=True):
            if sum(end < p for end in ends) == index:
                score.append(p)
                truth.append(t)
                weight.append(w)
        if sum(weight):
            gap = np.average(score, weights=weight) - np.average(truth, weights=weight)
            total += sum(weight) * abs(gap)
    return total / sum(weights)


def by_sklearn(name: str, o: Outcome, w: np.ndarray) -> float:
    """What scikit-learn says (calibration error apart, which it does not have)."""
    score = None if o.probabilities is None else o.probabilities[:, -1]
    ask = {
        "roc_auc": lambda: reference.roc_auc_score(o.truth, score, sample_weight=w),
        "average_precision": lambda: reference.average_precision_score(
            o.truth, score, sample_weight=w
        ),
        "log_loss": lambda: reference.log_loss(
            o.truth, o.probabilities, sample_weight=w, labels=range(o.probabilities.shape[1])
        ),
        "brier": lambda: reference.brier_score_loss(o.truth, score, sample_weight=w),
        "calibration_error": lambda: in_bins(o, w),
        "accuracy": lambda: reference.accuracy_score(o.truth, o.predicted, sample_weight=w),
        "balanced_accuracy": lambda: reference.balanced_accuracy_score(
            o.truth, o.predicted, sample_weight=w
        ),
        "f1": lambda: reference.f1_score(o.truth, o.predicted, sample_weight=w, zero_division=0),
        "precision": lambda: reference.precision_score(
            o.truth, o.predicted, sample_weight=w, zero_division=0
        ),
        "recall": lambda: reference.recall_score(
            o.truth, o.predicted, sample_weight=w, zero_division=0
        ),
        "f1_macro": lambda: reference.f1_score(
            o.truth, o.predicted, sample_weight=w, average="macro", zero_division=0
        ),
        "roc_auc_ovr": lambda: reference.roc_auc_score(
            o.truth, o.probabilities, sample_weight=w, multi_class="ovr"
        ),
        "rmse": lambda: reference.root_mean_squared_error(o.truth, o.predicted, sample_weight=w),
        "mae": lambda: reference.mean_absolute_error(o.truth, o.predicted, sample_weight=w),
        "median_absolute_error": lambda: reference.median_absolute_error(
            o.truth, o.predicted, sample_weight=w
        ),
        "r2": lambda: reference.r2_score(o.truth, o.predicted, sample_weight=w),
    }
    return float(ask[name]())


@st.composite
def outcomes(draw: Any, task: str) -> tuple[Outcome, np.ndarray]:
    """Rows with ties among the scores, and resampling counts with zeros among them."""
    size = draw(st.integers(6, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(0, 4, size).astype(float)
    if task == "regression":
        weights[:2] = 1.0
        truth = np.round(rng.normal(100, 30, size), draw(st.integers(0, 2)))
        truth[:2] = 10.0, 200.0  # R² needs a spread
        return Outcome(truth, np.round(truth + rng.normal(0, 20, size)), None), weights
    classes = 2 if task == "binary_classification" else 3
    truth = rng.integers(0, classes, size).astype(float)
    truth[:classes] = range(classes)
    weights[:classes] = 1.0  # a class without weight has no metric, in scikit-learn neither
    grid = draw(st.sampled_from([2, 5, 1000]))
    parts = rng.integers(0, grid, (size, classes)) + rng.integers(0, 2) * 0.5
    parts[parts.sum(axis=1) == 0] = 1
    probabilities = parts / parts.sum(axis=1, keepdims=True)
    predicted = (
        (probabilities[:, 1] >= draw(st.sampled_from([0.2, 0.5, 0.9]))).astype(float)
        if classes == 2
        else probabilities.argmax(axis=1).astype(float)
    )
    return Outcome(truth, predicted, probabilities), weights


def sample(task: str, rows: int = 300, seed: int = 0) -> Outcome:
    """A model that is right more often than not."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        truth = rng.normal(0, 1, rows)
        return Outcome(truth, truth + rng.normal(0, 0.5, rows), None)
    classes = 2 if task == "binary_classification" else 3
    truth = rng.integers(0, classes, rows)
    parts = rng.random((rows, classes)) + 0.7 * np.eye(classes)[truth]
    probabilities = parts / parts.sum(axis=1, keepdims=True)
    return Outcome(truth.astype(float), probabilities.argmax(axis=1).astype(float), probabilities)


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_metric_is_that_of_scikit_learn(task: str, data: Any) -> None:
    outcome, weights = data.draw(outcomes(task))
    for name in metrics_for(task):
        alike = MEASURES[name](outcome, np.vstack([np.ones(len(weights)), weights]))
        wanted = [by_sklearn(name, outcome, w) for w in (np.ones(len(weights)), weights)]
        assert alike == pytest.approx(wanted, rel=1e-9, abs=1e-12), name
        assert point(name, outcome) == pytest.approx(wanted[0], rel=1e-9, abs=1e-12)


def test_there_is_a_measure_for_every_metric_and_no_other() -> None:
    assert set(MEASURES) == set(METRICS)


def test_a_curve_needs_both_classes() -> None:
    lonely = Outcome(np.ones(4), np.ones(4), np.tile([0.3, 0.7], (4, 1)))
    assert np.isnan(point("roc_auc", lonely))


def test_a_classification_metric_refuses_an_outcome_without_probabilities() -> None:
    with pytest.raises(ValueError, match="probabilities"):
        point("roc_auc", Outcome(np.array([0.0, 1.0]), np.array([0.0, 1.0]), None))


@pytest.mark.parametrize("task", TASKS)
def test_the_bootstrap_is_reproducible_and_holds_the_point(task: str) -> None:
    outcome, names = sample(task), metrics_for(task)
    first = estimate(names, outcome, stratify=stratified(task), **RESAMPLING)
    again = estimate(names, outcome, stratify=stratified(task), **RESAMPLING)
    other = estimate(names, outcome, stratify=stratified(task), **{**RESAMPLING, "seed": 4})
    assert first == again
    assert list(first) == list(names)
    for name, metric in first.items():
        assert metric.value == point(name, outcome)
        if name != "calibration_error":  # resampling adds to it: its interval lies higher
            assert metric.low <= metric.value <= metric.high
        assert metric.high > metric.low
        assert other[name] != metric


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Accuracy 0.7 by construction, 200 samples, intervals of 90%."""
    rng, covered = np.random.default_rng(0), 0
    for seed in range(200):
        truth = np.repeat([0.0, 1.0], 75)
        predicted = np.where(rng.random(150) < 0.7, truth, 1 - truth)
        outcome = Outcome(truth, predicted, np.eye(2)[predicted.astype(int)])
        found = estimate(
            ("accuracy",), outcome, stratify=True, resamples=200, confidence=0.9, seed=seed
        )["accuracy"]
        covered += found.low <= 0.7 <= found.high
    assert 0.82 <= covered / 200 <= 0.96


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    outcome = sample("binary_classification")
    narrow, wide = (
        estimate(("brier",), outcome, stratify=True, resamples=500, confidence=c, seed=0)["brier"]
        for c in (0.6, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60).map(lambda c: [0, 1, 2, *c]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_resamples_keep_the_number_of_rows_and_of_each_class(
    truth: list[int], stratify: bool
) -> None:
    labels = np.array(truth, dtype=float)
    outcome = Outcome(labels, labels, None)
    drawn = list(metrics._resamples(outcome, stratify=stratify, resamples=30, seed=0))
    weights = np.concatenate(drawn)
    assert weights.shape == (30, len(truth))
    assert (weights.sum(axis=1) == len(truth)).all()
    assert (weights >= 0).all()
    if stratify:
        for label in (0, 1, 2):
            rows = labels == label
            assert (weights[:, rows].sum(axis=1) == rows.sum()).all()


def test_every_row_is_drawn_equally_often() -> None:
    outcome = Outcome(np.zeros(50), np.zeros(50), None)
    (weights,) = metrics._resamples(outcome, stratify=False, resamples=4000, seed=1)
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.08)
    assert weights.var(axis=0) == pytest.approx(np.full(50, 49 / 50), abs=0.15)


def test_chunks_change_how_much_is_held_but_not_what_is_drawn() -> None:
    outcome = sample("multiclass_classification", rows=101)
    asked: dict[str, Any] = {"stratify": True, "resamples": 20, "seed": 0}
    (whole,) = metrics._resamples(outcome, **asked)
    chunks = list(metrics._resamples(outcome, **asked, cells=7 * 101 + 5))
    assert [len(chunk) for chunk in chunks] == [7, 7, 6]
    assert (np.concatenate(chunks) == whole).all()


@pytest.mark.parametrize("task", TASKS)
def test_a_model_does_not_differ_from_itself(task: str) -> None:
    outcome = sample(task)
    for name in metrics_for(task):
        asked: dict[str, Any] = {"stratify": stratified(task), **RESAMPLING}
        found = paired_differences((name,), outcome, outcome, **asked)[name]
        assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_difference_is_first_minus_second_and_tighter_than_unpaired() -> None:
    good = sample("regression")
    worse = Outcome(good.truth, good.predicted + 0.05, None)
    found = paired_differences(("rmse",), good, worse, stratify=False, **RESAMPLING)["rmse"]
    assert found.value == point("rmse", good) - point("rmse", worse)
    assert found.low <= found.value <= found.high
    alone = estimate(("rmse",), good, stratify=False, **RESAMPLING)["rmse"]
    assert found.high - found.low < (alone.high - alone.low) / 2


@st.composite
def scored(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(2, 30))
    truth = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), dtype=float)
    truth[:2] = 0, 1
    levels = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5 + 2**-53, 0.75, 1.0])
    return truth, np.array(draw(st.lists(levels, min_size=size, max_size=size)))


@pytest.mark.parametrize(
    ("maximize", "score"),
    [
        ("f1", reference.f1_score),
        ("accuracy", reference.accuracy_score),
        ("balanced_accuracy", reference.balanced_accuracy_score),
    ],
)
@given(rows=scored())
@settings(max_examples=40, deadline=None)
def test_no_other_threshold_is_better(maximize: str, score: Any, rows: Any) -> None:
    truth, probability = rows
    chosen = best_threshold(truth, probability, maximize=maximize)
    reached = score(truth, probability >= chosen)
    assert reached == pytest.approx(max(score(truth, probability >= p) for p in probability))
    assert (probability >= chosen).any()


def test_the_threshold_lies_halfway_between_the_rows_it_divides() -> None:
    truth, probability = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.6, 0.9])
    assert best_threshold(truth, probability, maximize="accuracy") == pytest.approx(0.45)
