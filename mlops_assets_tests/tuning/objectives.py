"""Objectives for the tests: cheap, picklable, and able to misbehave."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.tuning.spec import TuningSpec

SPACE = {
    "x": {"type": "float", "low": -5, "high": 5},
    "rate": {"type": "float", "low": 1e-4, "high": 1, "log": True},
    "depth": {"type": "int", "low": 1, "high": 12},
    "kind": {"type": "categorical", "choices": ["a", None, True]},
    "extra": {
        "type": "float",
        "low": 0,
        "high": 1,
        "step": 0.1,
        "when": {"parameter": "kind", "is_in": ["a", True]},
    },
}


def spec(**changes: Any) -> TuningSpec:
    values = {"n_trials": 16, "workers": 2, "search_space": SPACE}
    return TuningSpec.model_validate(values | changes)


def bowl(parameters: Mapping[str, Any], fold: int) -> float:
    """Least, near 0, at x=2, depth=6, kind=None; every fold lies a little higher."""
    penalty = {"a": 0.5, None: 0.0, True: 1.0}[parameters["kind"]]
    return (
        (parameters["x"] - 2) ** 2
        + abs(parameters["depth"] - 6) / 6
        + abs(parameters["rate"] - 0.1)
        + parameters.get("extra", 0.0)
        + penalty
        + fold / 100
    )


@dataclass(frozen=True)
class Bowl:
    seconds: float = 0.0
    log: Path | None = None
    """One line per fold: process id and x."""

    def __call__(self) -> Callable[[Mapping[str, Any], int], float]:
        return self.score

    def score(self, parameters: Mapping[str, Any], fold: int) -> float:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()} {parameters['x']!r}\n")
        # Unequal durations, so that trials finish out of order.
        time.sleep(self.seconds * (1 + abs(parameters["x"])) / 3)
        return bowl(parameters, fold)


@dataclass(frozen=True)
class Fails:
    """Raises below x=`below`; scores nan above x=`nan_above`."""

    below: float = 99
    nan_above: float = 99

    def __call__(self) -> Callable[[Mapping[str, Any], int], float]:
        return self.score

    def score(self, parameters: Mapping[str, Any], fold: int) -> float:
        if parameters["x"] < self.below:
            raise ArithmeticError("no good")
        return float("nan") if parameters["x"] > self.nan_above else bowl(parameters, fold)


@dataclass(frozen=True)
class KillsItself:
    """The worker is killed the first `times` times that x is positive, as the system does when
    memory is short."""

    marks: Path
    times: int

    def __call__(self) -> Callable[[Mapping[str, Any], int], float]:
        return self.score

    def score(self, parameters: Mapping[str, Any], fold: int) -> float:
        mark = self.marks / repr(parameters["x"])
        before = mark.stat().st_size if mark.exists() else 0
        if parameters["x"] > 0 and before < self.times:
            mark.write_text("x" * (before + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(parameters, fold)


@dataclass(frozen=True)
class CannotBeBuilt:
    how: str

    def __call__(self) -> Callable[[Mapping[str, Any], int], float]:
        if self.how == "raise":
            raise FileNotFoundError("no such training set")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class Boosting:
    """A real model on data that comes with scikit-learn; tells the threads it may use."""

    def __call__(self) -> Callable[[Mapping[str, Any], int], float]:
        from sklearn.datasets import load_breast_cancer

        assert os.environ["OMP_NUM_THREADS"] == "1"
        features, labels = load_breast_cancer(return_X_y=True)

        def score(parameters: Mapping[str, Any], fold: int) -> float:
            from sklearn.ensemble import HistGradientBoostingClassifier
            from sklearn.metrics import roc_auc_score

            held_out = [i % 3 == fold for i in range(len(labels))]
            train = [not held for held in held_out]
            model = HistGradientBoostingClassifier(max_iter=10, random_state=0, **parameters)
            model.fit(features[train], labels[train])
            chances = model.predict_proba(features[held_out])[:, 1]
            return float(roc_auc_score(labels[held_out], chances))

        return score
