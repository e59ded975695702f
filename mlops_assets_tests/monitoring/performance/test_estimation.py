"""Estimates against closed forms, and against the truth of calibrated and of changed worlds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.modeling import metrics
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.monitoring.performance import estimation

BINARY = estimation.estimable("binary_classification")
MULTI = estimation.estimable("multiclass_classification")


def estimated(names, probabilities, *, resamples=20, threshold=None):
    p = np.asarray(probabilities, dtype=float)
    predicted = p.argmax(axis=1) if threshold is None else p[:, 1] >= threshold
    return estimation.estimate(
        names, predicted.astype(float), p, resamples=resamples, confidence=0.95, seed=0
    )


def binary(positive):
    p = np.asarray(positive, dtype=float)
    return np.column_stack([1 - p, p])


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=30))
@settings(max_examples=25, deadline=None)
def test_the_expected_confusion_matrix(positive):
    """Each metric from the sums of probabilities, as NannyML's documentation writes them."""
    p = np.array(positive)
    called = p >= 0.4
    hits, misses, false = p[called].sum(), p[~called].sum(), (1 - p)[called].sum()
    found = estimated(BINARY, binary(p), threshold=0.4)
    right = hits + (1 - p)[~called].sum()
    assert found["accuracy"].value == pytest.approx(right / len(p))
    assert found["precision"].value == pytest.approx(hits / (hits + false) if called.any() else 0)
    assert found["recall"].value == pytest.approx(hits / (hits + misses))
    assert found["f1"].value == pytest.approx(2 * hits / (2 * hits + false + misses))
    assert found["brier"].value == pytest.approx((p * (1 - p)).mean())
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert found["log_loss"].value == pytest.approx(entropy)


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=25))
@settings(max_examples=25, deadline=None)
def test_the_expected_area_is_that_over_all_pairs(positive):
    p = np.array(positive)
    above = (p[:, None] > p[None, :]) + 0.5 * (p[:, None] == p[None, :])
    pairs = p[:, None] * (1 - p)[None, :]
    found = estimated(("roc_auc",), binary(p))["roc_auc"]
    assert found.value == pytest.approx((pairs * above).sum() / pairs.sum())


@pytest.mark.parametrize("classes", [2, 3])
def test_where_probabilities_are_calibrated_the_truth_falls_into_the_interval(classes):
    """Of 30 worlds; at 95 %, five misses of one metric would happen once in 60 times."""
    rng = np.random.default_rng(1)
    names = BINARY if classes == 2 else MULTI
    missed = dict.fromkeys(names, 0)
    for _ in range(30):
        p = rng.dirichlet(np.full(classes, 0.8), size=600)
        truth = (rng.random((600, 1)) >= np.cumsum(p, axis=1)[:, :-1]).sum(axis=1).astype(float)
        found = estimated(names, p, resamples=120)
        predicted = p.argmax(axis=1).astype(float)
        for name in names:
            true = metrics.point(name, Outcome(truth, predicted, p))
            missed[name] += not found[name].low <= true <= found[name].high
    assert max(missed.values()) <= 5


def test_inputs_that_drift_show_and_a_concept_that_drifts_does_not():
    """More doubtful rows lower the estimate; turned labels, which nobody has seen yet, cannot."""
    rng = np.random.default_rng(2)
    sure, unsure = rng.beta(0.3, 0.3, 4000), rng.beta(4, 4, 4000)
    before, after = (estimated(("roc_auc",), binary(p))["roc_auc"] for p in (sure, unsure))
    assert after.high < before.low
    turned = (rng.random(4000) >= sure).astype(float)
    outcome = Outcome(turned, (sure >= 0.5).astype(float), binary(sure))
    assert metrics.point("roc_auc", outcome) < 0.5 < before.low


def test_it_is_the_same_each_time():
    p = binary(np.random.default_rng(3).random(200))
    first = estimated(BINARY, p, resamples=50)
    assert estimated(BINARY, p, resamples=50) == first
    assert {name for name, metric in first.items() if metric.low <= metric.high} == set(BINARY)


def test_probabilities_tell_nothing_of_a_regression_or_of_their_own_calibration():
    assert estimation.estimable("regression") == ()
    assert "calibration_error" not in BINARY
