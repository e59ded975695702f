"""Calibration and threshold come from rows the model had not seen, exactly as scikit-learn's."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import cross_val_predict

from mlops_assets.modeling import pipeline
from mlops_assets.modeling.folds import FOLD, LABEL, folds
from mlops_assets.modeling.metrics import best_threshold
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets.training import fitting
from mlops_assets.training.fitting import FittingError
from mlops_assets.training.spec import TrainingSpec
from mlops_assets_tests.builders import SCHEMA
from mlops_assets_tests.training.tables import held_out_rows, train_rows

BINARY = "binary_classification"
MULTI = "multiclass_classification"
LOGISTIC = ("sklearn.linear_model.LogisticRegression", {})
BOOSTED = ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 4})
HISTOGRAM = ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 3})
FOREST = ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 8})
LINEAR_SVC = ("sklearn.svm.LinearSVC", {})
ESTIMATORS = [LOGISTIC, BOOSTED, FOREST, LINEAR_SVC]
FEATURES = [*SCHEMA.names]


def fitted(
    train: pd.DataFrame,
    estimator: tuple[str, dict[str, Any]] = LOGISTIC,
    *,
    task: Any = BINARY,
    ordered: bool = False,
    **section: Any,
) -> fitting.Fitted:
    path, parameters = estimator
    return fitting.fit(
        train,
        spec=TrainingSpec(estimator=path, **section),
        task=task,
        schema=SCHEMA,
        parameters=parameters,
        ordered=ordered,
        seed=0,
    )


def unfitted(estimator: tuple[str, dict[str, Any]], task: Any) -> Any:
    path, parameters = estimator
    return pipeline.build(path, task=task, schema=SCHEMA, parameters=parameters, seed=0)


def partition(train: pd.DataFrame) -> list[tuple[Any, Any]]:
    return [(part.fit, part.held_out) for part in folds(train, ordered=False)]


@pytest.mark.parametrize("task", [BINARY, MULTI])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e[0].rpartition(".")[2])
def test_calibration_is_scikit_learns_on_the_same_folds(
    estimator: Any, method: Any, task: Any
) -> None:
    train, asked = train_rows(task), held_out_rows(task, seed=1)[FEATURES]
    theirs = CalibratedClassifierCV(
        unfitted(estimator, task), method=method, ensemble=False, cv=partition(train)
    ).fit(train[FEATURES], train[LABEL].to_numpy())
    ours = fitted(train, estimator, task=task, calibration=method).estimator
    assert ours.predict_proba(asked) == pytest.approx(theirs.predict_proba(asked), abs=1e-9)
    assert (ours.predict(asked) == theirs.predict(asked)).all()


@pytest.mark.parametrize("calibration", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", [LOGISTIC, BOOSTED, FOREST], ids=lambda e: e[0][-18:])
def test_the_threshold_is_the_best_on_rows_out_of_fold(estimator: Any, calibration: Any) -> None:
    train = train_rows()
    truth = train[LABEL].to_numpy()
    found = fitted(train, estimator, calibration=calibration, threshold="f1")
    parts = partition(train)
    asked: dict[str, Any] = {"cv": parts}
    model = unfitted(estimator, BINARY)
    if calibration == "none":
        out_of_fold = cross_val_predict(
            model, train[FEATURES], truth, method="predict_proba", **asked
        )[:, 1]
    else:
        # Calibrated on all rows out of fold, and asked about the same ones.
        method = "decision_function" if hasattr(model, "decision_function") else "predict_proba"
        response = cross_val_predict(model, train[FEATURES], truth, method=method, **asked)
        response = response if response.ndim == 1 else response[:, 1]
        (calibrated,) = found.estimator.calibrated_classifiers_
        out_of_fold = calibrated.calibrators[0].predict(response)
    assert found.threshold == pytest.approx(
        best_threshold(truth, out_of_fold, maximize="f1"), abs=1e-9
    )
    reached = f1_score(truth, out_of_fold >= found.threshold)
    assert reached == pytest.approx(max(f1_score(truth, out_of_fold >= p) for p in out_of_fold))


def test_what_the_threshold_maximises_is_the_yamls_choice() -> None:
    train, test = train_rows(rows=1500), held_out_rows(rows=1500)
    train = train[(train[LABEL] == 0) | (np.arange(len(train)) % 6 == 0)].reset_index(drop=True)
    thresholds = {
        words: fitted(train, threshold=words).threshold
        for words in ("f1", "accuracy", "balanced_accuracy")
    }
    assert thresholds["balanced_accuracy"] < thresholds["f1"] < thresholds["accuracy"]
    model = fitted(train, threshold="balanced_accuracy")
    outcome = fitting.outcome(
        model.estimator, test, task=BINARY, schema=SCHEMA, threshold=model.threshold
    )
    plain = fitting.predict_labels(outcome.probabilities, 0.5)
    assert balanced_accuracy_score(outcome.truth, outcome.predicted) > (
        balanced_accuracy_score(outcome.truth, plain) + 0.05
    )


@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
def test_a_fixed_threshold_is_kept(calibration: Any) -> None:
    assert fitted(train_rows(), calibration=calibration, threshold=0.3).threshold == 0.3


@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
def test_only_two_classes_have_a_threshold(calibration: Any) -> None:
    train = train_rows(MULTI)
    found = fitted(train, task=MULTI, calibration=calibration, threshold=0.3)
    assert found.threshold is None
    probabilities = found.estimator.predict_proba(train[FEATURES])
    assert probabilities.shape == (len(train), 3)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(train)))


def test_a_regression_is_neither_calibrated_nor_given_a_threshold() -> None:
    train = train_rows("regression")
    path = ("sklearn.linear_model.Ridge", {})
    found = fitted(train, path, task="regression")
    plain = unfitted(path, "regression").fit(train[FEATURES], train[LABEL])
    assert found.threshold is None
    assert (found.estimator.predict(train[FEATURES]) == plain.predict(train[FEATURES])).all()


def test_folds_in_order_calibrate_on_later_rows_only() -> None:
    train = train_rows(ordered=True)
    found = fitted(train, ordered=True, calibration="isotonic")
    parts = folds(train, ordered=True)
    truth, features = train[LABEL].to_numpy(), train[FEATURES]
    response, held_out = [], []
    for part in parts:
        assert train.index[part.fit].max() < train.index[part.held_out].min()
        model = unfitted(LOGISTIC, BINARY).fit(features.iloc[part.fit], truth[part.fit])
        response.append(model.decision_function(features.iloc[part.held_out]))
        held_out.append(part.held_out)
    rows = np.concatenate(held_out)
    assert len(rows) < len(train)
    (calibrated,) = found.estimator.calibrated_classifiers_
    probability = calibrated.calibrators[0].predict(np.concatenate(response))
    assert found.threshold == best_threshold(truth[rows], probability, maximize="f1")
    whole = unfitted(LOGISTIC, BINARY).fit(features, truth)
    assert (
        calibrated.estimator.decision_function(features) == whole.decision_function(features)
    ).all()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_class_of_three_rows_can_be_calibrated(method: Any) -> None:
    train = train_rows(rows=200)
    train[LABEL] = 0.0
    train[FOLD] = np.arange(len(train)) % 3
    train.loc[[3, 4, 5], LABEL] = 1.0
    found = fitted(train, calibration=method)
    assert np.isfinite(found.estimator.predict_proba(train[FEATURES])).all()


def test_a_fold_that_would_lack_a_class_is_refused() -> None:
    train = train_rows()
    train[LABEL] = (train[FOLD] == 0).astype(float)
    with pytest.raises(FittingError, match=r"lacks a class: lower features\.split\.folds"):
        fitted(train)


def test_a_model_without_probabilities_needs_calibration() -> None:
    train = train_rows()
    with pytest.raises(FittingError, match=r"LinearSVC gives no probabilities .* sigmoid"):
        fitted(train, LINEAR_SVC, calibration="none")
    assert fitted(train, LINEAR_SVC).estimator.predict_proba(train[FEATURES]).shape[1] == 2


@pytest.mark.parametrize("task", [BINARY, MULTI])
@pytest.mark.parametrize("method", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", [LOGISTIC, HISTOGRAM, FOREST], ids=lambda e: e[0][-18:])
def test_what_is_stored_without_pickle_predicts_the_same(
    estimator: Any, method: Any, task: Any, tmp_path: Path
) -> None:
    train = train_rows(task)
    model = fitted(train, estimator, task=task, calibration=method).estimator
    runtime.save(model, tmp_path / "model.skops")
    again = runtime.read(tmp_path / "model.skops")
    asked = held_out_rows(task, seed=2)[FEATURES]
    assert (again.predict_proba(asked) == model.predict_proba(asked)).all()


def test_fitting_twice_gives_one_model() -> None:
    train = train_rows()
    first, again = (fitted(train, FOREST) for _ in range(2))
    assert first.threshold == again.threshold
    answers = [m.estimator.predict_proba(train[FEATURES]) for m in (first, again)]
    assert (answers[0] == answers[1]).all()


def test_labels_follow_the_threshold_from_it_on() -> None:
    probabilities = np.array([[0.6, 0.4], [0.59, 0.41], [0.2, 0.8]])
    assert fitting.predict_labels(probabilities, 0.41).tolist() == [0.0, 1.0, 1.0]
    assert fitting.predict_labels(probabilities, None).tolist() == [0.0, 0.0, 1.0]
