"""Fits the final model: pipeline, calibration on out-of-fold predictions, decision threshold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling import pipeline
from mlops_assets.modeling.folds import LABEL, Fold, folds
from mlops_assets.modeling.metrics import best_threshold
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.threads import threads_for
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import InputSchema
from mlops_assets.training.spec import TrainingSpec

if TYPE_CHECKING:
    import pandas as pd


class FittingError(Exception):
    """The model cannot be fitted on these rows."""


@dataclass(frozen=True)
class Fitted:
    """A model ready to be served."""

    estimator: Any
    """scikit-learn estimator over a frame of the schema's columns."""
    threshold: float | None
    """On the probability of the positive class; None unless the task is binary."""

    def outcome(self, rows: "pd.DataFrame", *, task: Task, schema: InputSchema) -> Outcome:
        return outcome(self.estimator, rows, task=task, schema=schema, threshold=self.threshold)


def fit(
    train: "pd.DataFrame",
    *,
    spec: TrainingSpec,
    task: Task,
    schema: InputSchema,
    parameters: dict[str, Any],
    ordered: bool,
    seed: int,
) -> Fitted:
    """Fit on all training rows; calibrate and choose the threshold on rows held out in turn.

    Args:
        train: training rows with the reserved columns.
        spec: the `training` section.
        task: of the experiment.
        schema: the feature columns.
        parameters: of the estimator, fixed and tuned ones together.
        ordered: the folds follow time.
        seed: for estimators that draw random numbers.

    Raises:
        EstimatorError: unknown estimator or parameter.
        FittingError: a fold lacks a class, or the model gives no probabilities and is not to be
            calibrated.
    """
    model = pipeline.build(
        spec.estimator,
        task=task,
        schema=schema,
        parameters=parameters,
        numeric=spec.preprocessing.numeric,
        categorical=spec.preprocessing.categorical,
        seed=seed,
    )
    features, truth = train[[*schema.names]], train[LABEL].to_numpy()
    with threads_for(len(train)):
        model.fit(features, truth)
        if task == "regression":
            return Fitted(model, None)
        fixed = task == "multiclass_classification" or isinstance(spec.threshold, float)
        method = _method(model, spec)
        if spec.calibration == "none" and fixed:
            return Fitted(model, _fixed_threshold(spec, task))
        held_out = _out_of_fold(
            model, features, truth, folds(train, ordered=ordered), method=method
        )
    estimator = model if spec.calibration == "none" else _calibrated(model, held_out, spec)
    if fixed:
        return Fitted(estimator, _fixed_threshold(spec, task))
    probability = held_out.probabilities(estimator)[:, 1]
    return Fitted(
        estimator, best_threshold(held_out.truth, probability, maximize=str(spec.threshold))
    )


def _fixed_threshold(spec: TrainingSpec, task: Task) -> float | None:
    binary = task == "binary_classification"
    return spec.threshold if binary and isinstance(spec.threshold, float) else None


def _method(model: Any, spec: TrainingSpec) -> str:
    """What the model is asked out of fold: `decision_function` where it is calibrated and has
    one, as scikit-learn's calibration prefers; else its probabilities."""
    if spec.calibration != "none" and hasattr(model, "decision_function"):
        return "decision_function"
    if not hasattr(model, "predict_proba"):
        raise FittingError(
            f"{spec.estimator} gives no probabilities of its own: set training.calibration to "
            "sigmoid or isotonic, or take another estimator"
        )
    return "predict_proba"


def outcome(
    estimator: Any,
    rows: "pd.DataFrame",
    *,
    task: Task,
    schema: InputSchema,
    threshold: float | None,
) -> Outcome:
    """What the estimator says about labelled rows."""
    import numpy as np

    truth = rows[LABEL].to_numpy(dtype=np.float64)
    features = rows[[*schema.names]]
    with threads_for(len(rows)):
        if task == "regression":
            values = np.asarray(estimator.predict(features), dtype=np.float64).reshape(-1)
            return Outcome(truth, values, None)
        probabilities = np.asarray(estimator.predict_proba(features), dtype=np.float64)
    return Outcome(truth, predict_labels(probabilities, threshold), probabilities)


def predict_labels(probabilities: Any, threshold: float | None) -> Any:
    """(n,) encoded labels: the likeliest class, or 1 from the threshold on."""
    if threshold is None:
        return probabilities.argmax(axis=1).astype(float)
    return (probabilities[:, 1] >= threshold).astype(float)


@dataclass(frozen=True)
class _HeldOut:
    """Responses to the training rows, each from a model that had not seen the row."""

    truth: Any
    response: Any
    """Output of `method` per row."""
    method: str
    """`decision_function` or `predict_proba`."""
    classes: Any

    def replay(self) -> Any:
        """A classifier over row numbers that answers with these responses."""
        from sklearn.base import BaseEstimator, ClassifierMixin

        response, classes = self.response, self.classes

        class Replay(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            classes_ = classes

            def fit(self, _rows: Any, _truth: Any) -> "Replay":
                return self

            def predict(self, rows: Any) -> Any:
                raise NotImplementedError(rows)

        def answer(_: Any, rows: Any) -> Any:
            return response[rows[:, 0]]

        answer.__name__ = self.method  # scikit-learn reads the method's name off the function
        setattr(Replay, self.method, answer)
        return Replay()

    def probabilities(self, estimator: Any) -> Any:
        """(n, classes) out-of-fold probabilities, after the estimator's calibration if any."""
        import numpy as np

        calibrated = getattr(estimator, "calibrated_classifiers_", None)
        if calibrated is None:
            return self.response
        rows = np.arange(len(self.truth))[:, None]
        return _with_estimator(calibrated[0], self.replay()).predict_proba(rows)


def _with_estimator(calibrated: Any, estimator: Any) -> Any:
    import copy

    other = copy.copy(calibrated)
    other.estimator = estimator
    return other


def _out_of_fold(
    model: Any, features: "pd.DataFrame", truth: Any, parts: tuple[Fold, ...], *, method: str
) -> _HeldOut:
    import numpy as np
    from sklearn.base import clone

    responses = []
    for part in parts:
        if len(set(truth[part.fit])) < len(model.classes_):
            raise FittingError(
                f"a fold of {len(part.fit)} training rows lacks a class: lower features.split.folds"
            )
        fitted = clone(model).fit(features.iloc[part.fit], truth[part.fit])
        responses.append(getattr(fitted, method)(features.iloc[part.held_out]))
    rows = np.concatenate([part.held_out for part in parts])
    return _HeldOut(truth[rows], np.concatenate(responses), method, model.classes_)


def _calibrated(model: Any, held_out: _HeldOut, spec: TrainingSpec) -> Any:
    """The fitted model behind calibrators fitted on the held-out responses (Platt 1999; Zadrozny
    and Elkan 2002). scikit-learn would fit the model anew per fold of its own, and cannot take
    folds that follow time; so its calibration is fitted on a replay, which the model then replaces.
    """
    import numpy as np
    from sklearn.calibration import CalibratedClassifierCV

    rows = np.arange(len(held_out.truth))
    # One part that holds all rows: they are out of fold already, and a class may be rare.
    replay = CalibratedClassifierCV(
        held_out.replay(), method=spec.calibration, ensemble=False, cv=[(rows, rows)]
    )
    replay.fit(rows[:, None], held_out.truth)
    fitted = CalibratedClassifierCV(model, method=spec.calibration, ensemble=False)
    fitted.classes_ = replay.classes_
    fitted.calibrated_classifiers_ = [
        _with_estimator(each, model) for each in replay.calibrated_classifiers_
    ]
    return fitted
