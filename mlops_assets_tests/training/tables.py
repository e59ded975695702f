"""A small training set as the `training_set` asset would store it."""

from typing import Any

import numpy as np
import pandas as pd

from mlops_assets.modeling.folds import EVENT_TIME, FOLD, LABEL, LABEL_TIME, ROW, SPLIT, TEST, TRAIN
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets_tests.builders import CLASSES, SCHEMA, make_columns


def training_set(
    task: Task = "binary_classification",
    *,
    rows: int = 400,
    folds: int = 3,
    ordered: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows over SCHEMA in shuffled folds, every fifth held out; in order, the last fifth."""
    rng = np.random.default_rng(seed)
    frame = runtime.frame(SCHEMA, make_columns(rows, seed=seed))
    signal = frame["tenure"] / 72 + frame["senior"] + rng.normal(0, 0.4, rows)
    if task == "regression":
        frame[LABEL] = signal * 100
    else:
        frame[LABEL] = pd.qcut(signal, len(CLASSES[task]), labels=False).astype(float)
    frame[ROW] = [f"row{k}" for k in range(rows)]
    place = np.arange(rows)
    test = place >= rows * 4 // 5 if ordered else place % 5 == 0
    frame[SPLIT] = np.where(test, TEST, TRAIN)
    if ordered:
        days = pd.date_range("2025-01-01", periods=rows, freq="D", tz="UTC")
        frame[EVENT_TIME], frame[LABEL_TIME] = days, days + pd.Timedelta(days=5)
        fold: Any = place * (folds + 1) // (rows * 4 // 5) - 1
    else:
        fold = rng.integers(0, folds, rows)
    frame[FOLD] = np.where(test, -1, fold)
    return frame


def train_rows(*args: Any, **options: Any) -> pd.DataFrame:
    frame = training_set(*args, **options)
    return frame[frame[SPLIT] == TRAIN].reset_index(drop=True)


def held_out_rows(*args: Any, **options: Any) -> pd.DataFrame:
    frame = training_set(*args, **options)
    return frame[frame[SPLIT] == TEST].reset_index(drop=True)
