"""The `training` section: the estimator, its calibration and decision, and when to retrain."""

import re
from datetime import UTC, datetime
from typing import Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from mlops_assets.experiment.spec import Spec, TimeZone

ALLOWED_PACKAGES = ("sklearn", "lightgbm", "xgboost")


class Preprocessing(Spec):
    """What the pipeline does to columns before the estimator sees them."""

    numeric: Literal["auto", "passthrough", "impute", "standardize"] = "auto"
    """`passthrough` keeps missing values, `impute` fills them with the median and marks them,
    `standardize` also scales. `auto`: the least that the estimator needs."""
    categorical: Literal["auto", "onehot", "ordinal"] = "auto"
    """`auto`: ordinal for tree ensembles, one-hot otherwise."""


class Retrain(Spec):
    """When to train again without being asked."""

    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: TimeZone = "UTC"
    """IANA name of the time zone the cron line is read in."""

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        try:
            CronSim(value, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{error}; write minute, hour, day, month, weekday") from error
        return value


class TrainingSpec(Spec):
    """The estimator, its calibration and decision threshold, its evaluation, and retraining."""

    estimator: str
    """Import path of a scikit-learn-compatible class, for instance
    `sklearn.ensemble.HistGradientBoostingClassifier`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Fixed parameters of the estimator."""
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    calibration: Literal["none", "sigmoid", "isotonic"] = "sigmoid"
    """Classification: how probabilities are calibrated, on out-of-fold predictions."""
    threshold: Literal["f1", "balanced_accuracy", "accuracy"] | float = "f1"
    """Binary: what the decision threshold maximises on out-of-fold predictions, or a fixed one."""
    runtime: Literal["onnx", "sklearn"] = "onnx"
    """What executes the model on an endpoint: `onnx`, a graph that answers in microseconds, or
    `sklearn`, for estimators that do not become such a graph."""
    slices: tuple[str, ...] = ()
    """Columns by whose values the metrics are also reported."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples behind each confidence interval."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """Level of the confidence intervals."""
    retrain: Retrain | None = None
    """Schedule of `<name>__retrain`; none by default."""

    @field_validator("estimator")
    @classmethod
    def _check_estimator(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
            raise ValueError("an estimator is a dotted import path, package.module.Class")
        if value.split(".", maxsplit=1)[0] not in ALLOWED_PACKAGES:
            raise ValueError(f"estimators may come from {', '.join(ALLOWED_PACKAGES)} only")
        return value

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, value: str | float) -> str | float:
        if isinstance(value, float) and not 0.0 < value < 1.0:
            raise ValueError("a fixed threshold lies strictly between 0 and 1")
        return value
