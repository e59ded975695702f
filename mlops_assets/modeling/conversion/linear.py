"""Linear models and multilayer perceptrons over the encoded features."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion.features import Feature, arrays
from mlops_assets.modeling.conversion.graph import Graph
from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.serving.encoding import INPUT
from mlops_assets.serving.ensemble import LinearModel, Scale

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def read(estimator: Any, features: list[Feature], mean: "Array", scale: Scale) -> LinearModel:
    """The weights of anything with `coef_` and `intercept_`.

    Args:
        estimator: fitted.
        features: what it sees.
        mean: (features,) of the encoded training rows.
        scale: of the sum.
    """
    import numpy as np

    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
    intercept = np.broadcast_to(
        np.asarray(estimator.intercept_, dtype=np.float64), weights.shape[1]
    )
    if hasattr(estimator, "_x_mean"):  # partial least squares centres its input once more
        intercept = intercept - estimator._x_mean @ weights
    return LinearModel(
        **arrays(features), mean=mean, weights=weights, intercept=intercept, scale=scale
    )


def write(graph: Graph, model: LinearModel, features: list[Feature]) -> str:
    """(n, outputs) weighted sums."""
    encoded, order = encode(graph, features)
    return graph.op("Add", graph.op("MatMul", encoded, model.weights[order]), model.intercept)


def perceptron(graph: Graph, estimator: Any, features: list[Feature]) -> str:
    """(n, outputs) of the last layer, before its activation.

    Raises:
        ConversionError: an activation that is not known.
    """
    import numpy as np

    activations = {"identity": "Identity", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
    if estimator.activation not in activations:
        raise ConversionError(f"activation {estimator.activation!r} does not convert")
    value, order = encode(graph, features)
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    for index, (weights, intercept) in enumerate(layers):
        matrix = np.asarray(weights[order] if index == 0 else weights, dtype=np.float64)
        value = graph.op("Add", graph.op("MatMul", value, matrix), intercept.astype(np.float64))
        if index < len(layers) - 1:
            value = graph.op(activations[estimator.activation], value)
    return value


def encode(graph: Graph, features: list[Feature]) -> tuple[str, list[int]]:
    """(n, features) encoded, and which feature each of its columns is."""
    import numpy as np

    parts, order = [], []
    for reads in ("value", "equals", "missing"):
        places = [index for index, each in enumerate(features) if each.reads == reads]
        if not places:
            continue
        known = arrays([features[index] for index in places])
        raw = graph.columns(INPUT, [int(column) for column in known["column"]])
        if reads == "value":
            filled = ~np.isnan(known["fill"])
            if filled.any():
                raw = graph.op("Where", graph.op("IsNaN", raw), known["fill"][None, :], raw)
        elif reads == "equals":
            raw = graph.cast(graph.op("Equal", raw, known["code"][None, :]), "DOUBLE")
        else:
            raw = graph.cast(graph.op("IsNaN", raw), "DOUBLE")
        if (known["shift"] != 0).any():
            raw = graph.op("Sub", raw, known["shift"][None, :])
        if (known["scaled"] != 1).any():
            raw = graph.op("Div", raw, known["scaled"][None, :])
        parts.append(raw)
        order += places
    return (parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)), order
