"""A fitted pipeline, calibrated or not, as an ONNX graph that predicts exactly what it predicts."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion import calibration, families, features
from mlops_assets.modeling.conversion.families import Fitted
from mlops_assets.modeling.conversion.graph import Graph
from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.serving.ensemble import LinearModel, TreeEnsemble
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_CHUNK = 10_000
"""Rows that are encoded at once."""


@dataclass(frozen=True)
class Converted:
    """An estimator as an endpoint needs it."""

    model: bytes
    """ONNX: `x` (n, columns) float64 to `y` (n, classes) probabilities or (n, 1) values; the
    encoding of the columns is in its metadata."""
    explained: TreeEnsemble | LinearModel | None
    """None where a model has no such form."""


def convert(estimator: Any, *, schema: InputSchema, rows: "pd.DataFrame") -> Converted:
    """The graph of a fitted estimator that `training.fitting` made.

    Args:
        estimator: a pipeline, or a CalibratedClassifierCV around one.
        schema: its columns.
        rows: training rows, over which the encoded features are averaged.

    Raises:
        ConversionError: it holds something that does not convert.
    """
    members = getattr(estimator, "calibrated_classifiers_", None)
    if members is not None and len(members) != 1:
        raise ConversionError("a calibrated ensemble of several models does not convert")
    pipeline = estimator if members is None else members[0].estimator
    transformer, last = pipeline[0], pipeline[-1]
    seen, encoding = features.read(transformer, schema)
    classes = len(getattr(last, "classes_", ()))
    graph = Graph()
    mean = partial(_mean, transformer, rows[[*schema.names]])
    answer = families.write(graph, Fitted(last, seen, classes, mean))
    output = answer.final
    if members is not None:
        response = answer.sums
        if not hasattr(pipeline, "decision_function"):
            response = answer.final if classes > 2 else graph.columns(answer.final, [1])
        output = calibration.write(graph, members[0], response)
    return Converted(graph.model(output, encoding), answer.explained)


def _mean(transformer: Any, rows: "pd.DataFrame") -> "np.ndarray[Any, Any]":
    chunks = [rows.iloc[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    total: np.ndarray[Any, Any] = sum(transformer.transform(each).sum(axis=0) for each in chunks)
    return total / len(rows)
