"""What somebody else registered is made one of ours, or refused with the reason."""

from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from mlops_assets.gateways.model_registry import AbsentError, ModelRegistry
from mlops_assets.gateways.records import Snapshot, TrainingSet
from mlops_assets.training import adoption
from mlops_assets.training.adoption import AdoptionError
from mlops_assets_tests.builders import SCHEMA, make_columns, make_experiment

LABELS = ("No", "Yes")
NUMBERS = ["tenure", "senior"]
TRAINING_SET = TrainingSet(
    url="", digest="d", train_rows=0, test_rows=0, schema=tuple(SCHEMA.to_json()), classes=LABELS,
    ordered=False, split="", leaks=(),
    snapshot=Snapshot("", "", 0, (), "", ""),
)  # fmt: skip


def rows() -> pd.DataFrame:
    columns = make_columns(200, seed=0)
    return pd.DataFrame({name: np.array(columns[name], dtype=float) for name in NUMBERS})


def labels(classes: tuple[Any, Any] = LABELS) -> "np.ndarray[Any, Any]":
    return np.where(rows()["tenure"] > 36, classes[0], classes[1])


def fitted(last: Any, labelled: Any, table: Any = None) -> Any:
    table = rows() if table is None else table
    if not isinstance(table, pd.DataFrame):
        return last.fit(table, labelled)
    passed = make_column_transformer(("passthrough", [*table.columns]))
    return make_pipeline(passed, last).fit(table, labelled)


@pytest.fixture
def registered(model_registry: ModelRegistry) -> Any:
    """Registers an estimator as a script does that knows MLflow alone."""

    notebooks = model_registry.experiment_id("notebooks")

    def register(estimator: Any, **options: Any) -> int:
        options = {
            "serialization_format": "skops",
            "skops_trusted_types": ["numpy.dtype"],
        } | options
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(model_registry.tracking_uri)
        try:
            with mlflow.start_run(experiment_id=notebooks):
                mlflow.sklearn.log_model(
                    estimator, name="model", registered_model_name="churn",
                    pip_requirements=[], **options,
                )  # fmt: skip
        finally:
            mlflow.set_tracking_uri(before)
        latest = model_registry.models()["churn"].latest
        assert latest is not None
        return latest.version

    return register


def adopt(registry: ModelRegistry, number: int) -> Any:
    return adoption.adopt(make_experiment(), TRAINING_SET, number, registry=registry)


@pytest.mark.parametrize("classes", [LABELS, (0, 1)])
def test_it_predicts_as_its_author_means_it(
    model_registry: ModelRegistry, registered: Any, classes: tuple[Any, Any]
) -> None:
    estimator = fitted(LogisticRegression(), labels(classes))
    model = adopt(model_registry, registered(estimator))
    assert model.schema.names == tuple(NUMBERS)
    assert model.fitted.threshold == 0.5
    assert model.uri == "models:/churn/1"
    assert model.origin.startswith("version 1, registered by somebody else from run ")
    said = model.fitted.estimator.predict_proba(rows())
    assert np.array_equal(said, estimator.predict_proba(rows()))


def test_its_author_may_say_the_threshold(model_registry: ModelRegistry, registered: Any) -> None:
    number = registered(fitted(LogisticRegression(), labels()))
    model_registry.tag_version("churn", number, {adoption.THRESHOLD: "0.3"})
    assert adopt(model_registry, number).fitted.threshold == 0.3
    model_registry.tag_version("churn", number, {adoption.THRESHOLD: "high"})
    with pytest.raises(AdoptionError, match=r"mlops\.threshold is 'high'; a number between"):
        adopt(model_registry, number)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (lambda: fitted(LogisticRegression(), labels(("a", "b"))), r"predicts \['a', 'b'\]"),
        (lambda: fitted(LinearSVC(), labels()), "gives no probabilities"),
        (lambda: fitted(LogisticRegression(), labels(), rows().to_numpy()), "fitted on an array"),
        (
            lambda: fitted(LogisticRegression(), labels(), rows().rename(columns={"tenure": "t"})),
            "it reads t; the experiment's features are tenure, charges, senior, contract",
        ),
    ],
)
def test_what_does_not_fit_the_experiment_is_refused(
    model_registry: ModelRegistry, registered: Any, estimator: Any, reason: str
) -> None:
    number = registered(estimator())
    with pytest.raises(AdoptionError, match=reason):
        adopt(model_registry, number)


def test_a_number_is_no_class(model_registry: ModelRegistry, registered: Any) -> None:
    number = registered(fitted(LinearRegression(), rows()["tenure"]))
    with pytest.raises(AdoptionError, match="gives no probabilities"):
        adopt(model_registry, number)


@pytest.mark.parametrize("stored", ["pickle", "cloudpickle"])
def test_a_pickle_is_not_loaded(
    model_registry: ModelRegistry, registered: Any, stored: str
) -> None:
    estimator = fitted(LogisticRegression(), labels())
    number = registered(estimator, serialization_format=stored, skops_trusted_types=None)
    with pytest.raises(AdoptionError, match=f"stored as {stored}, which runs code"):
        adopt(model_registry, number)


def test_a_version_that_has_gone_is_no_refusal(
    model_registry: ModelRegistry, registered: Any
) -> None:
    number = registered(fitted(LogisticRegression(), labels()))
    model_registry.client.delete_model_version("churn", str(number))
    with pytest.raises(AbsentError, match="no version 1 of churn"):
        adopt(model_registry, number)
