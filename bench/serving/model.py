"""The one model that every contender serves, and the requests that it is asked with.

Trained once per run on made-up rows; saved as joblib and as an MLflow model for the others, and
as a bundle, by the project's own export, for us.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mlops_assets.modeling import pipeline
from mlops_assets.modeling.folds import LABEL
from mlops_assets.modeling.scoring import columns
from mlops_assets.modeling.threads import threads_for
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.training import export, fitting

NUMBERS, WORDS = 12, 8
NAMES = [f"number_{i}" for i in range(NUMBERS)] + [f"word_{i}" for i in range(WORDS)]
TRAINING_ROWS = 4_000
POOL_ROWS = 2_000
MISSING = 0.05
THRESHOLD = 0.4
TASK = "binary_classification"
ESTIMATOR = "sklearn.ensemble.HistGradientBoostingClassifier"


@dataclass(frozen=True)
class Batch:
    """The rows of one request with the right answer."""

    columns: dict
    """Values by name, as JSON has them."""
    expected: list
    """Probability of the positive class, row by row."""

    @property
    def rows(self):
        return [list(row) for row in zip(*self.columns.values(), strict=True)]


@dataclass(frozen=True)
class Trained:
    """Where the model lies in each format, and what to ask it."""

    joblib: Path
    mlflow: Path
    bundle: Path
    batches: dict
    """By number of rows, the batches that requests are made of."""


def train(folder):
    """Train, and write every format into `folder`."""
    import joblib

    table = made_up(TRAINING_ROWS, seed=1)
    words = [c for c in NAMES if c.startswith("word")]
    schema = InputSchema(
        tuple(
            Column(
                c, "categorical", nullable=True, categories=tuple(sorted(set(table[c].dropna())))
            )
            if c in words
            else Column(c, "numeric", nullable=True)
            for c in NAMES
        )
    )
    estimator = pipeline.build(
        ESTIMATOR,
        task=TASK,
        schema=schema,
        parameters={"max_iter": 200, "early_stopping": False},
        numeric="standardize",
        categorical="onehot",
        seed=0,
    )
    pool = made_up(POOL_ROWS, seed=2)
    with threads_for(len(table)):
        estimator.fit(table[NAMES], table[LABEL])
        expected = estimator.predict_proba(pool[NAMES])[:, 1].tolist()
    joblib.dump(estimator, folder / "model.joblib")
    save_mlflow(estimator, folder / "mlflow", table[NAMES])
    save_bundle(estimator, folder / "bundle", schema, train=table, rows=pool)
    return Trained(
        folder / "model.joblib",
        folder / "mlflow",
        folder / "bundle",
        {size: batches(columns(pool, schema), expected, size)[:400] for size in (1, 100)},
    )


def made_up(rows, *, seed):
    """Labelled rows: 12 numbers and 8 words, some of them missing."""
    rng = np.random.default_rng(seed)
    table = {}
    signal = rng.normal(0, 1, rows)
    for i, name in enumerate(NAMES):
        missing = rng.random(rows) < MISSING
        if name.startswith("number"):
            values = np.round(rng.normal(10 * i, 1 + i, rows), 3)
            signal += np.sin(values / (1 + i)) * (i % 3)
            table[name] = np.where(missing, np.nan, values)
        else:
            codes = rng.integers(0, i - NUMBERS + 3, rows)
            signal += np.where(codes % 2 == 0, 0.5, -0.5)
            words = np.array([f"level {code}" for code in codes], dtype=object)
            table[name] = np.where(missing, None, words)
    return pd.DataFrame({**table, LABEL: (signal > np.median(signal)).astype(float)})


def batches(pool, expected, size):
    """The rows of `pool` in batches of `size`, each with what the estimator says of it."""
    return [
        Batch(
            {name: values[at : at + size] for name, values in pool.items()},
            expected[at : at + size],
        )
        for at in range(0, len(expected), size)
    ]


def save_mlflow(estimator, folder, example):
    """As MLflow's own guide does, with a signature; the model answers with probabilities."""
    import logging

    import mlflow
    from mlflow.models import infer_signature

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of pickles, which these are
    mlflow.sklearn.save_model(
        estimator,
        folder,
        pyfunc_predict_fn="predict_proba",
        signature=infer_signature(example, estimator.predict_proba(example.head())),
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
        pip_requirements=["scikit-learn"],
    )


def save_bundle(estimator, folder, schema, *, train, rows):
    folder.mkdir()
    manifest = Manifest(
        model="bench",
        run_id="bench",
        task=TASK,
        runtime="onnx",
        model_file=export.MODEL_FILES["onnx"],
        schema=schema,
        classes=("no", "yes"),
        threshold=THRESHOLD,
        data_digest="0" * 64,
        code_version="bench",
        created_at="2026-01-01T00:00:00+00:00",
        files={},
    )
    answered = partial(fitting.outcome, estimator, task=TASK, schema=schema, threshold=THRESHOLD)
    export.write(folder, estimator, manifest, train=train, test=rows, answered=answered)


def dataframe_split(batch):
    """A request in the dialect that MLflow, MLServer's MLflow runtime and we have in common."""
    return {"dataframe_split": {"columns": NAMES, "data": batch.rows}}


def encoded(content):
    return json.dumps(content, separators=(",", ":")).encode()
