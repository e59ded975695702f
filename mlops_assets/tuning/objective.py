"""The objective of a study: cross-validated quality of the pipeline. Runs in worker processes, so
it is built from values alone."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.modeling import pipeline
from mlops_assets.modeling.folds import LABEL, SPLIT, TRAIN, Fold, folds
from mlops_assets.modeling.metrics import point
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.pipeline import EstimatorError
from mlops_assets.modeling.tasks import MetricName
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import pandas as pd

KEPT_BYTES = 128 * 1024**2
"""Encoded rows a worker holds at most, so that its trials need not encode them anew."""


@dataclass(frozen=True)
class ObjectiveFactory:
    """Everything a worker needs to build the objective; it is pickled to get there."""

    store: DataStore
    url: str
    """The training set."""
    ordered: bool
    schema: InputSchema
    task: Task
    metric: MetricName
    estimator: str
    fixed: dict[str, Any]
    """Parameters that are not searched."""
    numeric: str
    categorical: str
    seed: int

    def __call__(self) -> "Objective":
        """Load the training rows and check that the estimator exists.

        Raises:
            EstimatorError: unknown estimator or fixed parameter, or no probabilities.
        """
        rows = self.store.read_table(self.url)
        train = rows[rows[SPLIT] == TRAIN].reset_index(drop=True)
        model = self.build({})
        if self.task != "regression" and not hasattr(model, "predict_proba"):
            raise EstimatorError(
                f"{self.estimator} gives no probabilities, and {self.metric} is judged by them; "
                "choose a classifier with predict_proba"
            )
        parts = folds(train, ordered=self.ordered)
        return Objective(self, train[[*self.schema.names]], train[LABEL].to_numpy(), parts)

    def build(self, parameters: Mapping[str, Any]) -> Any:
        """The unfitted pipeline with these parameters."""
        return pipeline.build(
            self.estimator,
            task=self.task,
            schema=self.schema,
            parameters={**self.fixed, **parameters},
            numeric=self.numeric,
            categorical=self.categorical,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Objective:
    """parameters, fold -> the metric on the rows the fold holds out."""

    factory: ObjectiveFactory
    features: "pd.DataFrame"
    truth: Any
    parts: tuple[Fold, ...]
    kept_bytes: int = KEPT_BYTES
    _kept: dict[tuple[int, bytes], tuple[Any, Any]] = field(default_factory=dict)

    def __call__(self, parameters: Mapping[str, Any], fold: int) -> float:
        part = self.parts[fold]
        columns, estimator = (step for _, step in self.factory.build(parameters).steps)
        fit, held_out = self._encoded(columns, fold)
        # A copy: an estimator may be told to work in place.
        estimator.fit(fit.copy(order="K"), self.truth[part.fit])
        return point(self.factory.metric, self._outcome(estimator, held_out.copy(order="K"), part))

    def _encoded(self, columns: Any, fold: int) -> tuple[Any, Any]:
        """The rows a fold fits on and those it holds out, as the estimator gets them: the same in
        every trial whose parameters ask for the same preprocessing."""
        key = fold, pickle.dumps(columns)
        if key in self._kept:
            return self._kept[key]
        part = self.parts[fold]
        fit = columns.fit_transform(self.features.iloc[part.fit], self.truth[part.fit])
        encoded = fit, columns.transform(self.features.iloc[part.held_out])
        if sum(rows.nbytes for pair in (*self._kept.values(), encoded) for rows in pair) <= (
            self.kept_bytes
        ):
            self._kept[key] = encoded
        return encoded

    def _outcome(self, estimator: Any, rows: Any, part: Fold) -> Outcome:
        import numpy as np

        truth = self.truth[part.held_out]
        if self.factory.task == "regression":
            return Outcome(truth, np.asarray(estimator.predict(rows), dtype=np.float64), None)
        probabilities = np.zeros((len(truth), int(self.truth.max()) + 1))
        # A fold may lack a class, whose probability is then zero.
        probabilities[:, estimator.classes_.astype(int)] = estimator.predict_proba(rows)
        return Outcome(truth, probabilities.argmax(axis=1).astype(float), probabilities)
