"""Calibrated probabilities, as `sklearn.calibration._CalibratedClassifier` computes them."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion import links, tree_graph
from mlops_assets.modeling.conversion.graph import Graph
from mlops_assets.modeling.conversion.refusal import ConversionError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def write(graph: Graph, calibrated: Any, response: str) -> str:
    """(n, classes) probabilities.

    Args:
        graph: to add to.
        calibrated: the fitted member of a CalibratedClassifierCV.
        response: (n, 1) for two classes, (n, classes) for more.

    Raises:
        ConversionError: another method than sigmoid or isotonic.
    """
    classes = len(calibrated.classes)
    if calibrated.method == "sigmoid":
        raw = _sigmoid(graph, calibrated.calibrators, response)
    elif calibrated.method == "isotonic":
        raw = _isotonic(graph, calibrated.calibrators, response)
    else:
        raise ConversionError(f"calibration {calibrated.method!r} does not become an ONNX graph")
    return links.two(graph, raw) if classes == 2 else links.normalised(graph, raw, classes)


def _sigmoid(graph: Graph, calibrators: list[Any], response: str) -> str:
    import numpy as np

    # -(a x + b), which rounds alike as -a x - b.
    slope = np.array([[-float(each.a_) for each in calibrators]])
    intercept = np.array([[-float(each.b_) for each in calibrators]])
    return links.expit(graph, graph.op("Add", graph.op("Mul", response, slope), intercept))


def _isotonic(graph: Graph, calibrators: list[Any], response: str) -> str:
    """Piecewise linear between the fitted points: slope (x - x_j) + y_j.

    scipy.interpolate.interp1d, on which the calibration rests, takes the segment that begins at
    x_j from x_j on; in float32, which XGBoost's probabilities make it use, from beyond x_j.
    """
    import numpy as np

    places = [np.asarray(each.X_thresholds_) for each in calibrators]
    heights = [np.asarray(each.y_thresholds_) for each in calibrators]
    single = places[0].dtype == np.float32
    slopes = [_slopes(x, y) for x, y in zip(places, heights, strict=True)]
    ends = np.array([[place[0] for place in places], [place[-1] for place in places]], dtype=float)
    clipped = graph.op("Min", graph.op("Max", response, ends[:1]), ends[1:])
    bounds = [(place[1:-1] if single else place[1:]).astype(np.float64) for place in places]
    segment = tree_graph.lookup(graph, clipped, bounds, beyond=single)
    starts = np.cumsum([0, *(len(place) for place in places[:-1])]).astype(np.float64)
    row = graph.cast(graph.op("Add", segment, starts[None, :]), "INT64")
    x, y, slope = (
        graph.op("Gather", np.concatenate(parts), row, axis=0)
        for parts in (places, heights, slopes)
    )
    moved = graph.op("Sub", graph.cast(clipped, "FLOAT") if single else clipped, x)
    found = graph.op("Add", graph.op("Mul", slope, moved), y)
    return graph.cast(found, "DOUBLE") if single else found


def _slopes(x: "Array", y: "Array") -> "Array":
    """(len(x),) of the segment that begins at each point, in the precision of the points."""
    import numpy as np

    with np.errstate(over="ignore"):
        slopes = np.append(np.diff(y) / np.diff(x), x.dtype.type(0))
    return np.where(np.isfinite(slopes), slopes, x.dtype.type(0))
