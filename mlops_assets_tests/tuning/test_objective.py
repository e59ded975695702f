"""The objective of a study: what scikit-learn's own cross-validation says."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.modeling.folds import FOLD, LABEL, SPLIT
from mlops_assets.modeling.pipeline import EstimatorError
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.tuning.objective import KEPT_BYTES, ObjectiveFactory

DATA = load_breast_cancer(as_frame=True)
NAMES = list(DATA.data.columns[:5])


@pytest.fixture
def factory(tmp_path):
    rows = DATA.data[NAMES].assign(**{LABEL: DATA.target.astype(float)})
    rows[SPLIT] = np.where(np.arange(len(rows)) % 5 == 0, "test", "train")
    rows[FOLD] = np.where(rows[SPLIT] == "test", -1, np.arange(len(rows)) % 3)
    store = DataStore(str(tmp_path), {})

    def make(**changes):
        values = {
            "store": store,
            "url": store.write_table("rows.parquet", rows),
            "ordered": False,
            "schema": InputSchema(tuple(Column(name, "numeric") for name in NAMES)),
            "task": "binary_classification",
            "metric": "roc_auc",
            "estimator": "sklearn.linear_model.LogisticRegression",
            "fixed": {"max_iter": 500},
            "numeric": "auto",
            "categorical": "auto",
            "seed": 0,
        }
        return ObjectiveFactory(**{**values, **changes}), rows

    return make


def test_a_fold_is_scored_on_the_rows_it_holds_out(factory):
    made, rows = factory()
    train = rows[rows[SPLIT] == "train"]
    objective = pickle.loads(pickle.dumps(made))()
    for fold in range(3):
        held_out = train[train[FOLD] == fold]
        model = made.build({"C": 0.1}).fit(
            train.loc[train[FOLD] != fold, NAMES], train.loc[train[FOLD] != fold, LABEL]
        )
        expected = roc_auc_score(held_out[LABEL], model.predict_proba(held_out[NAMES])[:, 1])
        assert objective({"C": 0.1}, fold) == pytest.approx(expected)


def test_a_regression_is_scored_in_the_units_of_its_target(factory):
    made, _ = factory(
        task="regression", metric="rmse", estimator="sklearn.linear_model.Ridge", fixed={}
    )
    assert 0 < made()({"alpha": 1.0}, 0) < 1


@pytest.mark.parametrize("kept_bytes", [0, KEPT_BYTES])
def test_a_fold_scores_the_same_however_often_it_was_encoded(factory, kept_bytes):
    made, _ = factory(
        task="regression", metric="rmse", estimator="sklearn.linear_model.Ridge", fixed={}
    )
    objective = replace(made(), kept_bytes=kept_bytes)
    expected = [made()({"alpha": 1.0}, fold) for fold in range(3)]
    # An estimator may be told to work in place: the rows of later trials stay as they were.
    objective({"alpha": 9.0, "copy_X": False}, 0)
    assert [objective({"alpha": 1.0}, fold) for fold in range(3)] == expected
    assert [objective({"alpha": 1.0}, fold) for fold in range(3)] == expected


def test_a_parameter_that_asks_for_other_preprocessing_gets_it(factory, tmp_path):
    made, rows = factory(
        url=str(tmp_path / "gaps.parquet"),
        task="regression",
        metric="mae",
        estimator="sklearn.ensemble.RandomForestRegressor",
        fixed={"n_estimators": 2},
    )
    gaps = rows.assign(**{NAMES[0]: rows[NAMES[0]].where(rows.index % 7 > 0)})
    gaps.to_parquet(tmp_path / "gaps.parquet")
    objective = made()
    assert objective({"criterion": "squared_error"}, 0) > 0
    # It cannot take missing values under this criterion; they are filled in.
    assert objective({"criterion": "absolute_error"}, 0) > 0


def test_an_unknown_parameter_is_refused_before_the_first_trial(factory):
    made, _ = factory(fixed={"max_itr": 5})
    with pytest.raises(EstimatorError, match="max_itr"):
        made()


def test_a_classifier_without_probabilities_is_refused_before_the_first_trial(factory):
    made, _ = factory(estimator="sklearn.svm.LinearSVC", fixed={})
    with pytest.raises(EstimatorError, match="gives no probabilities, and roc_auc"):
        made()


def test_missing_values_reach_the_pipeline(factory, tmp_path):
    made, rows = factory(url=str(tmp_path / "gaps.parquet"))
    rows.assign(**{NAMES[0]: np.nan}).to_parquet(tmp_path / "gaps.parquet")
    assert 0.5 < made()({"C": 1.0}, 0) <= 1
