"""From what a model sums to probabilities and values, in the arithmetic of its library."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion.graph import Graph

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def one(value: float = 1.0) -> "Array":
    import numpy as np

    return np.array([value])


def expit(graph: Graph, x: str) -> str:
    return graph.op("Sigmoid", x)


def two(graph: Graph, positive: str) -> str:
    """(n, 2) probabilities from (n, 1) of the positive class."""
    return graph.op("Concat", graph.op("Sub", one(), positive), positive, axis=1)


def softmax(graph: Graph, x: str) -> str:
    return graph.op("Softmax", x, axis=1)


def normalised(graph: Graph, shares: str, classes: int) -> str:
    """(n, classes) that add to one; all alike where every share is zero."""
    import numpy as np

    total = graph.op("ReduceSum", shares, np.array([1], dtype=np.int64), keepdims=1)
    none = graph.op("Equal", total, one(0.0))
    divided = graph.op("Div", shares, graph.op("Where", none, one(), total))
    return graph.op("Where", none, one(1 / classes), divided)


def from_log_odds(graph: Graph, raw: str, classes: int) -> str:
    """Probabilities by the logistic function for two classes, by softmax for more."""
    return two(graph, expit(graph, raw)) if classes == 2 else softmax(graph, raw)


def squared(graph: Graph, raw: str) -> str:
    """sign(x) x², which undoes LightGBM's `reg_sqrt`."""
    return graph.op("Mul", raw, graph.op("Abs", raw))


def expit_single(graph: Graph, margin: str) -> str:
    """XGBoost's Sigmoid: float32, with exp of at most 88.7 (src/common/math.h). The float32
    exponential is the float64 one, rounded."""
    import numpy as np

    least = graph.op("Min", graph.op("Neg", margin), one(float(np.float32(88.7))))
    unit = np.array([1.0], dtype=np.float32)
    denominator = graph.op("Add", _exp_single(graph, least), unit)
    return graph.cast(graph.op("Div", unit, denominator), "DOUBLE")


def two_single(graph: Graph, positive: str) -> str:
    """As `two`, the negative class in float32."""
    negative = graph.cast(graph.op("Sub", one(), positive), "FLOAT")
    return graph.op("Concat", graph.cast(negative, "DOUBLE"), positive, axis=1)


def softmax_single(graph: Graph, margin: str) -> str:
    """XGBoost's Softmax: float32 terms, summed in float64 (src/common/math.h)."""
    import numpy as np

    largest = graph.op("ReduceMax", margin, np.array([1], dtype=np.int64), keepdims=1)
    moved = graph.cast(graph.op("Sub", margin, largest), "FLOAT")
    terms = _exp_single(graph, graph.cast(moved, "DOUBLE"))
    total = graph.op(
        "ReduceSum", graph.cast(terms, "DOUBLE"), np.array([1], dtype=np.int64), keepdims=1
    )
    return graph.cast(graph.op("Div", terms, graph.cast(total, "FLOAT")), "DOUBLE")


def exp_single(graph: Graph, margin: str) -> str:
    return graph.cast(_exp_single(graph, margin), "DOUBLE")


def _exp_single(graph: Graph, x: str) -> str:
    return graph.cast(graph.op("Exp", x), "FLOAT")
