"""The `training` section: the estimator, its calibration and decision, and when to retrain."""

import re
from datetime import UTC, datetime
from typing import Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator

from mlops_assets.experiment.spec import Spec, TimeZone, digest_of

ALLOWED_PACKAGES = ("sklearn", "lightgbm", "xgboost")


class Preprocessing(Spec):
    """What the pipeline does to columns before the estimator sees them."""

    numeric: Literal["auto", "passthrough", "impute", "standardize"] = "auto"
    """`passthrough` keeps missing values, `impute` fills them with the median and marks them,
    `standardize` also scales. `auto`: the least that the estimator needs."""
    categorical: Literal["auto", "onehot", "ordinal"] = "auto"
    """`auto`: ordinal for tree ensembles, one-hot otherwise."""


class Brakes(Spec):
    """What keeps automatic retrainings from being too many. None of it holds people back."""

    cool_down: float = Field(default=12.0, ge=0, le=8760)
    """Hours after the end of a retraining, also one by hand, before the next one may start."""
    per_day: int = Field(default=2, ge=1, le=1000)
    """Automatic retrainings that may start within any 24 hours."""
    per_week: int = Field(default=10, ge=1, le=1000)
    """Automatic retrainings that may start within any seven days."""
    failed_candidates: int = Field(default=3, ge=1, le=100)
    """After so many automatic retrainings in a row that brought no version, none is started until
    a model is made by hand, a version is registered, the YAML says something else, or thirty days
    have passed."""


class Retrain(Spec):
    """When to train again without being asked. Nothing is trained twice on the same rows by the
    same YAML."""

    cron: str | None = None
    """When to train, whatever happened: minute, hour, day of month, month, day of week."""
    timezone: TimeZone = "UTC"
    """IANA name of the time zone in which `cron` and `look` are read."""
    on_drift: bool = False
    """When `has_not_drifted` or `predictions_have_not_drifted` fails: once for each time it begins
    to fail, and then for new data that `look` finds while it goes on."""
    on_quality_loss: bool = False
    """The same of the check `quality_holds`."""
    new_labels: int | None = Field(default=None, ge=1)
    """When so many rows with a label came since the last training, as `look` counts them."""
    look: str = "0 5 * * *"
    """When to refresh the training set to see whether there is anything new, for `new_labels` and
    while a check goes on failing. Five fields, as `cron`."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Of its runs in Dagster's queue, across experiments; the greater goes first."""
    brakes: Brakes = Field(default_factory=Brakes)

    @model_validator(mode="after")
    def _check_something_triggers_it(self) -> "Retrain":
        if not (self.cron or self.on_drift or self.on_quality_loss or self.new_labels):
            raise ValueError(
                "nothing starts a retraining: set cron, on_drift, on_quality_loss or new_labels"
            )
        return self

    @field_validator("cron", "look")
    @classmethod
    def _check_cron(cls, value: str | None) -> str | None:
        if value is None:
            return None
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
    """What starts `<name>__retrain`, and what holds it back; nothing by default."""

    def fingerprint(self) -> str:
        """Of what the evaluation of a model depends on: when it is made anew is no part of it."""
        return self._without("retrain")

    def fit_fingerprint(self) -> str:
        """Of what the fitted model depends on."""
        return self._without("retrain", "slices", "bootstrap", "confidence")

    def search_fingerprint(self) -> str:
        """Of what a trial of the study depends on."""
        parts = ("estimator", "parameters", "preprocessing")
        return digest_of(self.model_dump(mode="json", include=set(parts)))

    def _without(self, *keys: str) -> str:
        return digest_of(self.model_dump(mode="json", exclude=set(keys)))

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
