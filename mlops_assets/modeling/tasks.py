"""The three tasks and the metrics that fit each. Names and directions only; values elsewhere."""

from dataclasses import dataclass
from typing import Literal

from mlops_assets.serving.bundle import Task

MetricName = Literal[
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "calibration_error",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
    "f1_macro",
    "roc_auc_ovr",
    "rmse",
    "mae",
    "median_absolute_error",
    "r2",
]


@dataclass(frozen=True)
class MetricInfo:
    """Which way a metric is better, and the tasks it fits."""

    greater_is_better: bool
    tasks: tuple[Task, ...]


_BINARY: tuple[Task, ...] = ("binary_classification",)
_MULTI: tuple[Task, ...] = ("multiclass_classification",)
_REGRESSION: tuple[Task, ...] = ("regression",)

METRICS: dict[MetricName, MetricInfo] = {
    "roc_auc": MetricInfo(True, _BINARY),
    "average_precision": MetricInfo(True, _BINARY),
    "log_loss": MetricInfo(False, _BINARY + _MULTI),
    "brier": MetricInfo(False, _BINARY),
    "calibration_error": MetricInfo(False, _BINARY + _MULTI),
    "accuracy": MetricInfo(True, _BINARY + _MULTI),
    "balanced_accuracy": MetricInfo(True, _BINARY + _MULTI),
    "f1": MetricInfo(True, _BINARY),
    "precision": MetricInfo(True, _BINARY),
    "recall": MetricInfo(True, _BINARY),
    "f1_macro": MetricInfo(True, _MULTI),
    "roc_auc_ovr": MetricInfo(True, _MULTI),
    "rmse": MetricInfo(False, _REGRESSION),
    "mae": MetricInfo(False, _REGRESSION),
    "median_absolute_error": MetricInfo(False, _REGRESSION),
    "r2": MetricInfo(True, _REGRESSION),
}

PRIMARY: dict[Task, MetricName] = {
    "binary_classification": "roc_auc",
    "multiclass_classification": "log_loss",
    "regression": "rmse",
}


def metrics_for(task: Task) -> tuple[MetricName, ...]:
    return tuple(name for name, info in METRICS.items() if task in info.tasks)
