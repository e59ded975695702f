"""Any estimator of the allowed libraries fits tables with gaps and words, and answers new words."""

import importlib.util
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_assets.modeling import pipeline
from mlops_assets.modeling.pipeline import EstimatorError
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets.serving.schema import InputSchema
from mlops_assets_tests.builders import SCHEMA, make_columns

BINARY = "binary_classification"
MULTI = "multiclass_classification"

lightgbm = pytest.mark.skipif(
    importlib.util.find_spec("lightgbm") is None, reason="lightgbm is not installed"
)

CLASSIFIERS = [
    ("sklearn.linear_model.LogisticRegression", {}),
    ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 3}),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5}),
    ("sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 5}),
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5}),
    ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 5}),
    ("sklearn.neighbors.KNeighborsClassifier", {}),
    ("sklearn.svm.SVC", {}),
    ("sklearn.svm.LinearSVC", {}),
    ("sklearn.neural_network.MLPClassifier", {"max_iter": 300, "hidden_layer_sizes": [4]}),
    ("sklearn.naive_bayes.GaussianNB", {}),
    ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {}),
    pytest.param("lightgbm.LGBMClassifier", {"n_estimators": 5, "verbosity": -1}, marks=lightgbm),
]
REGRESSORS = [
    ("sklearn.linear_model.ElasticNet", {"alpha": 0.01}),
    ("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 5}),
    ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5}),
    ("sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 5}),
    ("sklearn.neighbors.KNeighborsRegressor", {}),
    ("sklearn.svm.SVR", {}),
    ("sklearn.kernel_ridge.KernelRidge", {}),
    pytest.param("lightgbm.LGBMRegressor", {"n_estimators": 5, "verbosity": -1}, marks=lightgbm),
]


def table(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    return runtime.frame(SCHEMA, make_columns(rows, seed=seed))


def score(frame: pd.DataFrame) -> Any:
    return (frame["tenure"] / 72 + frame["senior"] + (frame["contract"] == "monthly")).to_numpy()


def strange(frame: pd.DataFrame) -> pd.DataFrame:
    """What training never saw: a new word, and gaps in every column."""
    asked = frame.head(8).copy()
    asked.loc[0, "contract"] = "for life"
    for row, name in enumerate(frame.columns, 1):
        asked.loc[row, name] = None if name == "contract" else np.nan
    return asked.astype({"contract": object})


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("task", [BINARY, MULTI])
@pytest.mark.parametrize(("path", "parameters"), CLASSIFIERS)
def test_classifiers_take_gaps_and_new_words(path: str, parameters: Any, task: Any) -> None:
    frame = table()
    labels = pd.qcut(score(frame), 2 if task == BINARY else 3, labels=False).astype(float)
    models = [
        pipeline.build(path, task=task, schema=SCHEMA, parameters=parameters, seed=3).fit(
            frame, labels
        )
        for _ in range(2)
    ]
    assert (models[0].predict(frame) == labels).mean() > 0.6
    answers = [model.predict(strange(frame)) for model in models]
    assert set(answers[0]) <= set(labels)
    assert (answers[0] == answers[1]).all()
    if hasattr(models[0], "predict_proba"):
        first, second = (model.predict_proba(strange(frame)) for model in models)
        assert (first == second).all()
        assert np.isfinite(first).all()


@pytest.mark.parametrize(("path", "parameters"), REGRESSORS)
def test_regressors_take_gaps_and_new_words(path: str, parameters: Any) -> None:
    frame = table()
    model = pipeline.build(path, task="regression", schema=SCHEMA, parameters=parameters)
    model.fit(frame, score(frame))
    assert np.corrcoef(model.predict(frame), score(frame))[0, 1] > 0.5
    assert np.isfinite(model.predict(strange(frame))).all()


def fitted_columns(path: str, **choices: str) -> np.ndarray:
    """What the estimator sees."""
    built = pipeline.build(path, task=BINARY, schema=SCHEMA, parameters={}, **choices)
    return np.asarray(built.named_steps["columns"].fit_transform(table(100)), dtype=float)


def test_trees_get_ordinal_words_and_keep_gaps_they_can_take() -> None:
    seen = fitted_columns("sklearn.ensemble.HistGradientBoostingClassifier")
    raw = table(100)
    assert seen.shape == (100, 4)
    assert np.array_equal(seen[:, 1], raw["charges"].to_numpy(), equal_nan=True)
    assert set(seen[raw["contract"].isna(), 3]) == {3.0}
    assert set(seen[raw["contract"].notna(), 3]) == {0.0, 1.0, 2.0}


def test_trees_that_take_no_gaps_get_them_filled_and_marked() -> None:
    seen, raw = fitted_columns("sklearn.ensemble.GradientBoostingClassifier"), table(100)
    assert seen.shape == (100, 5)
    assert np.isfinite(seen).all()
    assert (seen[:, 3] == raw["charges"].isna()).all()
    assert set(seen[raw["charges"].isna(), 1]) == {raw["charges"].median()}
    assert set(seen[raw["contract"].isna(), 4]) == {3.0}


def test_linear_models_get_scaled_numbers_and_one_column_per_word() -> None:
    seen = fitted_columns("sklearn.linear_model.LogisticRegression")
    assert seen.shape == (100, 4 + 4)
    assert seen[:, :3].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert seen[:, :3].std(axis=0) == pytest.approx(np.ones(3))
    assert (seen[:, 4:].sum(axis=1) == 1).all()


def test_the_yaml_overrules_what_an_estimator_would_get() -> None:
    path = "sklearn.ensemble.HistGradientBoostingClassifier"
    assert fitted_columns(path, categorical="onehot").shape == (100, 7)
    assert np.isfinite(fitted_columns(path, numeric="impute")[:, :4]).all()
    assert fitted_columns(path, numeric="standardize")[:, 0].mean() == pytest.approx(0, abs=1e-9)


def test_a_table_of_words_or_of_numbers_alone_is_enough() -> None:
    for kept in ({"contract"}, {"tenure", "charges"}):
        schema = InputSchema(tuple(c for c in SCHEMA.columns if c.name in kept))
        model = pipeline.build(
            "sklearn.linear_model.LogisticRegression", task=BINARY, schema=schema, parameters={}
        )
        frame = table()[[*schema.names]]
        assert len(model.fit(frame, score(table()) > 0.8).predict(frame)) == 200


def test_a_column_without_any_value_stands_in_nobodys_way() -> None:
    frame = table().assign(charges=np.nan, contract=None)
    for path in ("sklearn.linear_model.LogisticRegression", "sklearn.tree.DecisionTreeClassifier"):
        model = pipeline.build(path, task=BINARY, schema=SCHEMA, parameters={})
        model.fit(frame, score(table()) > 0.8)
        assert np.isfinite(model.predict_proba(table(5, seed=1))).all()


def test_the_seed_is_the_estimators_unless_it_has_one() -> None:
    path = "sklearn.ensemble.ExtraTreesClassifier"
    asked: dict[str, Any] = {"task": BINARY, "schema": SCHEMA, "seed": 5}
    given = pipeline.build(path, parameters={}, **asked)
    own = pipeline.build(path, parameters={"random_state": 9}, **asked)
    assert [m.named_steps["estimator"].random_state for m in (given, own)] == [5, 9]
    frame, labels = table(), score(table()) > 0.8
    answers = [
        pipeline.build(path, parameters={"n_estimators": 3}, **{**asked, "seed": s})
        .fit(frame, labels)
        .predict_proba(table(50, seed=1))
        for s in (0, 0, 1)
    ]
    assert (answers[0] == answers[1]).all()
    assert (answers[0] != answers[2]).any()


@pytest.mark.parametrize(
    ("path", "task", "words"),
    [
        ("sklearn.linear_model.LogisticRegresion", BINARY, "did you mean LogisticRegression"),
        ("sklearn.lineer_model.LogisticRegression", BINARY, "no module sklearn.lineer_model"),
        ("not_there.Model", BINARY, r"not_there is not installed \(pip install"),
        ("sklearn.base.clone", BINARY, "sklearn.base has no class clone"),
        ("sklearn.model_selection.KFold", BINARY, "not a scikit-learn estimator"),
        ("sklearn.svm.SVR", BINARY, "is no classifier, which the task binary_classification"),
        ("sklearn.svm.SVC", "regression", "is no regressor"),
        ("sklearn.preprocessing.StandardScaler", MULTI, "is no classifier"),
        ("sklearn.ensemble.VotingClassifier", BINARY, "cannot be made from the YAML alone"),
    ],
)
def test_an_unknown_estimator_is_named(path: str, task: Any, words: str) -> None:
    with pytest.raises(EstimatorError, match=words):
        pipeline.build(path, task=task, schema=SCHEMA, parameters={})


def test_an_unknown_parameter_is_named_with_those_there_are() -> None:
    with pytest.raises(EstimatorError, match=r"no parameter Cc; it has C, class_weight"):
        pipeline.build(
            "sklearn.linear_model.LogisticRegression",
            task=BINARY,
            schema=SCHEMA,
            parameters={"Cc": 1},
        )


@lightgbm
def test_an_estimator_that_passes_parameters_on_takes_any() -> None:
    built = pipeline.build(
        "lightgbm.LGBMClassifier", task=BINARY, schema=SCHEMA, parameters={"lambda_l1": 0.5}
    )
    assert built.named_steps["estimator"].get_params()["lambda_l1"] == 0.5
