"""A graph predicts what its estimator does, whatever the data: each family, on made-up rows."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.serving.ensemble import LinearModel, TreeEnsemble
from mlops_assets_tests.training.graphs import (
    BINARY,
    MULTI,
    REGRESSION,
    STANDARD,
    compared,
    executed,
    fit,
    make_rows,
)  # fmt: skip

SMALL = {"n_estimators": 5}
LEAVES = {"verbose": -1, "n_jobs": 1, "min_child_samples": 2, **SMALL}
CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    ("sklearn.tree.DecisionTreeClassifier", {}),
    ("sklearn.ensemble.RandomForestClassifier", {**SMALL, "class_weight": "balanced"}),
    ("sklearn.ensemble.ExtraTreesClassifier", SMALL),
    ("sklearn.ensemble.BaggingClassifier", {**SMALL, "max_features": 0.6}),
    ("sklearn.ensemble.AdaBoostClassifier", SMALL),
    ("sklearn.ensemble.GradientBoostingClassifier", SMALL),
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5, "min_samples_leaf": 2}),
    ("lightgbm.LGBMClassifier", LEAVES),
    ("xgboost.XGBClassifier", SMALL),
    ("xgboost.XGBRFClassifier", SMALL),
    ("sklearn.linear_model.LogisticRegression", {}),
    ("sklearn.linear_model.SGDClassifier", {"loss": "modified_huber"}),
    ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {}),
    ("sklearn.neural_network.MLPClassifier", {"max_iter": 5}),
]
REGRESSORS: list[tuple[str, dict[str, Any]]] = [
    ("sklearn.tree.ExtraTreeRegressor", {}),
    ("sklearn.ensemble.RandomForestRegressor", SMALL),
    ("sklearn.ensemble.BaggingRegressor", SMALL),
    ("sklearn.ensemble.GradientBoostingRegressor", {**SMALL, "loss": "huber"}),
    ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5, "loss": "gamma"}),
    ("lightgbm.LGBMRegressor", {**LEAVES, "objective": "tweedie"}),
    ("xgboost.XGBRegressor", {**SMALL, "objective": "count:poisson"}),
    ("sklearn.linear_model.Ridge", {}),
    ("sklearn.linear_model.GammaRegressor", {}),
    ("sklearn.cross_decomposition.PLSRegression", {}),
    ("sklearn.neural_network.MLPRegressor", {"max_iter": 5, "activation": "tanh"}),
]
FLOAT32 = 2e-7
"""Of a value: XGBoost answers in float32, whose last bit its exponential decides."""


def tolerance(path: str) -> float:
    return FLOAT32 if path.startswith("xgboost") else 1e-11


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def name(value: Any) -> str:
    return value.rpartition(".")[2] if isinstance(value, str) else "-"


made_up = settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize(("path", "parameters"), CLASSIFIERS, ids=name)
@made_up
@given(
    seed=st.integers(0, 10_000),
    several=st.booleans(),
    encoded=st.booleans(),
    calibration=st.sampled_from(["none", "sigmoid", "isotonic"]),
)
def test_every_classifier_answers_as_its_estimator(
    path: str, parameters: Any, seed: int, *, several: bool, encoded: bool, calibration: str
) -> None:
    task = MULTI if several else BINARY
    rows = make_rows(seed, task)
    preprocessing = STANDARD if encoded else None
    fitted = fit(
        rows, path, task, calibration=calibration, preprocessing=preprocessing, **parameters
    )
    worst, flips, _ = compared(rows, fitted, task)
    assert worst <= tolerance(path)
    assert flips == 0


@pytest.mark.parametrize(("path", "parameters"), REGRESSORS, ids=name)
@made_up
@given(seed=st.integers(0, 10_000), encoded=st.booleans())
def test_every_regressor_answers_as_its_estimator(
    path: str, parameters: Any, seed: int, *, encoded: bool
) -> None:
    rows = make_rows(seed, REGRESSION)
    preprocessing = STANDARD if encoded else None
    fitted = fit(rows, path, REGRESSION, preprocessing=preprocessing, **parameters)
    worst, _, _ = compared(rows, fitted, REGRESSION)
    assert worst <= tolerance(path)


@pytest.mark.parametrize("path", ["sklearn.tree.DecisionTreeClassifier", "xgboost.XGBClassifier"])
def test_a_tree_of_one_leaf_is_a_constant(path: str) -> None:
    rows = make_rows(0, BINARY)
    never = {"max_leaf_nodes": None, "min_samples_split": 10**6} if "sklearn" in path else {
        **SMALL, "gamma": 1e9,
    }  # fmt: skip
    fitted = fit(rows, path, BINARY, **never)
    worst, flips, converted = compared(rows, fitted, BINARY)
    assert (worst, flips) == (pytest.approx(0, abs=1e-7), 0)
    assert isinstance(converted.explained, TreeEnsemble)
    assert (converted.explained.feature == -1).all()


@pytest.mark.parametrize("base_score", [0.02, 0.5, 0.97])
def test_xgboost_starts_from_its_base_score(base_score: float) -> None:
    rows = make_rows(3, BINARY)
    fitted = fit(rows, "xgboost.XGBClassifier", BINARY, base_score=base_score, **SMALL)
    worst, flips, converted = compared(rows, fitted, BINARY)
    assert worst <= FLOAT32
    assert flips == 0
    odds = np.log(base_score / (1 - base_score))
    assert converted.explained is not None
    assert converted.explained.base == pytest.approx([odds], abs=1e-5)


@pytest.mark.parametrize("parameters", [
    {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    {"boosting_type": "dart"},
    {"objective": "cross_entropy"},
    {"objective": "binary", "sigmoid": 2.5},
])  # fmt: skip
def test_lightgbm_in_its_other_ways(parameters: Any) -> None:
    rows = make_rows(4, BINARY)
    fitted = fit(rows, "lightgbm.LGBMClassifier", BINARY, **LEAVES, **parameters)
    worst, flips, _ = compared(rows, fitted, BINARY)
    assert worst <= 1e-12
    assert flips == 0


def test_forests_of_several_classes_tie_as_their_estimator_does() -> None:
    rows = make_rows(5, MULTI, rows=60)
    fitted = fit(rows, "sklearn.ensemble.RandomForestClassifier", MULTI, n_estimators=4)
    worst, flips, _ = compared(rows, fitted, MULTI)
    assert (worst, flips) == (0.0, 0)
    probabilities = fitted.estimator.predict_proba(rows.table[[*rows.schema.names]])
    top = np.sort(probabilities, axis=1)
    assert (top[:, -1] == top[:, -2]).any(), "no row is tied"


@pytest.mark.parametrize("preprocessing", [None, STANDARD])
@pytest.mark.parametrize("path", [
    "sklearn.ensemble.HistGradientBoostingClassifier",
    "sklearn.ensemble.RandomForestClassifier",
    "sklearn.linear_model.LogisticRegression",
])  # fmt: skip
def test_the_arrays_to_explain_sum_to_what_the_model_sums(path: str, preprocessing: Any) -> None:
    rows = make_rows(6, BINARY)
    fitted = fit(rows, path, BINARY, preprocessing=preprocessing)
    features = rows.table[[*rows.schema.names]]
    estimator = fitted.estimator
    forest = "Forest" in path
    wanted = (
        estimator.predict_proba(features)[:, 1] if forest else estimator.decision_function(features)
    )
    _, _, converted = compared(rows, fitted, BINARY)
    model = converted.explained
    assert model is not None
    assert model.scale == ("probability" if forest else "log_odds")
    if isinstance(model, LinearModel):
        encoded = estimator[0].transform(features)
        assert model.mean == pytest.approx(encoded.mean(axis=0))
        assert (encoded @ model.weights + model.intercept)[:, 0] == pytest.approx(wanted)
        return
    reached = model.cover[model.roots]
    inner = model.feature >= 0
    assert (reached >= len(features) * 0.5).all()
    below = model.cover[model.true[inner]] + model.cover[model.false[inner]]
    assert below == pytest.approx(model.cover[inner])
    assert executed(converted) is not None
    assert _walked(model, fitted, features, rows) == pytest.approx(wanted, abs=1e-12)


def _walked(model: TreeEnsemble, fitted: Any, features: Any, rows: Any) -> Any:
    from mlops_assets.modeling.conversion import features as read_features
    from mlops_assets.modeling.scoring import columns

    _, encoding = read_features.read(fitted.estimator[0], rows.schema)
    matrix = encoding.matrix(columns(features, rows.schema))
    sums = np.zeros(len(matrix)) + model.base[0]
    for index, row in enumerate(matrix):
        for root in model.roots:
            node = root
            while model.feature[node] >= 0:
                value, threshold = row[model.feature[node]], model.threshold[node]
                holds = value != threshold if model.differs[node] else value <= threshold
                holds = model.missing_true[node] if np.isnan(value) else holds
                node = model.true[node] if holds else model.false[node]
            sums[index] += model.value[node, 0]
    return sums


@pytest.mark.parametrize(("path", "parameters", "reason"), [
    ("sklearn.svm.SVC", {"probability": True}, "SVC does not become an ONNX graph"),
    ("lightgbm.LGBMClassifier", {**LEAVES, "linear_tree": True}, "linear_tree=True"),
    ("xgboost.XGBClassifier", {**SMALL, "booster": "dart"}, "booster='dart'"),
    ("xgboost.XGBClassifier", {**SMALL, "missing": 0.0}, "missing= another value"),
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"categorical_features": [5]},
     "categorical_features"),
])  # fmt: skip
def test_what_does_not_convert_is_named(path: str, parameters: Any, reason: str) -> None:
    rows = make_rows(7, BINARY, missing=0.0)
    fitted = fit(rows, path, BINARY, **parameters)
    with pytest.raises(ConversionError, match=reason):
        compared(rows, fitted, BINARY)
