"""Estimators beside the graphs they become, on rows made to tell them apart."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from mlops_assets.modeling.conversion.convert import Converted, convert
from mlops_assets.modeling.folds import FOLD, LABEL
from mlops_assets.modeling.scoring import columns
from mlops_assets.serving.encoding import InputEncoding
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.training import adversarial, fitting, parity
from mlops_assets.training.spec import TrainingSpec

BINARY, MULTI, REGRESSION = (
    "binary_classification", "multiclass_classification", "regression",
)  # fmt: skip
CLASSES = {BINARY: 2, MULTI: 3, REGRESSION: 0}
STANDARD = {"numeric": "standardize", "categorical": "onehot"}
SCALES = (1.0, 1e-30, 1e-8, 1e7, 1e25)


@dataclass(frozen=True)
class Rows:
    """A training table and its schema."""

    table: pd.DataFrame
    schema: InputSchema


def make_rows(seed: int, task: str, *, rows: int = 90, missing: float = 0.15) -> Rows:
    """Numbers of all sizes, few distinct ones, a constant, a flag, words, and holes in all."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "wide": rng.normal(size=rows) * rng.choice(SCALES),
            "few": rng.integers(-2, 3, rows).astype(float),
            "constant": np.full(rows, rng.choice([0.0, -3.5, 1e-300])),
            "flag": (rng.random(rows) < 0.4).astype(float),
        }
    )
    table["word"] = rng.choice(["a", "b", "", "ü"], rows).astype(object)
    table["rare"] = np.where(rng.random(rows) < 0.9, "x", "y").astype(object)
    for name in ("wide", "few", "flag", "word"):
        table[name] = table[name].where(rng.random(rows) >= missing, None)
    signal = (
        table["wide"].rank().fillna(0) / rows + table["few"].fillna(1) / 3 + (table["word"] == "a")
    ).to_numpy() + rng.normal(0, 0.3, rows)
    schema = InputSchema(
        tuple(
            Column(name, "categorical", categories=tuple(sorted(table[name].dropna().unique())))
            if table[name].dtype == object
            else Column(
                name, "numeric", minimum=float(table[name].min()), maximum=float(table[name].max())
            )
            for name in table
        )
    )
    classes = CLASSES[task]
    table[LABEL] = (
        pd.qcut(signal, classes, labels=False).astype(float) if classes else np.exp(signal)
    )
    table[FOLD] = np.arange(rows) % 3
    return Rows(table, schema)


def fit(
    rows: Rows,
    estimator: str,
    task: Any,
    *,
    calibration: Any = "none",
    preprocessing: Any = None,
    **parameters: Any,
) -> fitting.Fitted:
    return fitting.fit(
        rows.table,
        spec=TrainingSpec(
            estimator=estimator, calibration=calibration, preprocessing=preprocessing or {}
        ),
        task=task,
        schema=rows.schema,
        parameters=parameters,
        ordered=False,
        seed=0,
    )


def executed(converted: Converted) -> Any:
    """Columns -> what the graph answers."""
    options = onnxruntime.SessionOptions()
    # As on an endpoint: several threads would add up the trees in another order.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        converted.model, options, providers=["CPUExecutionProvider"]
    )
    stored = session.get_modelmeta().custom_metadata_map["encoding"]
    encoding = InputEncoding.from_json(json.loads(stored))
    return lambda asked: session.run(None, {"x": encoding.matrix(asked)})[0]


def compared(rows: Rows, fitted: fitting.Fitted, task: Any) -> tuple[float, int, Converted]:
    """Largest difference relative to values above one, label flips, and the graph."""
    converted = convert(fitted.estimator, schema=rows.schema, rows=rows.table)
    execute = executed(converted)
    worst, flips = 0.0, 0
    for expected, got in _answers(rows, fitted, task, converted, execute):
        worst = max(worst, float((abs(got - expected) / np.maximum(1, abs(expected))).max()))
        if task != REGRESSION:
            labels = (fitting.predict_labels(each, fitted.threshold) for each in (expected, got))
            flips += int((next(labels) != next(labels)).sum())
    return worst, flips, converted


def _answers(
    rows: Rows, fitted: fitting.Fitted, task: Any, converted: Converted, execute: Any
) -> Iterator[tuple[Any, Any]]:
    answered = partial(fitted.outcome, task=task, schema=rows.schema)
    held_out = columns(rows.table, rows.schema)
    kinds = {"all": held_out, **adversarial.rows(rows.schema, converted.explained, held_out)}
    for asked in kinds.values():
        for part, outcome in parity.scored(rows.schema, asked, answered):
            expected = outcome.probabilities
            yield (outcome.predicted[:, None] if expected is None else expected), execute(part)
