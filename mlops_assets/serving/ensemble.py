"""A model as plain arrays over the raw input columns: what explanations are computed from.

Trees and linear models alike have the preprocessing folded in, so that an explanation speaks of
the columns a caller sent. Either is stored as `explanation.npz` in the bundle, without pickle.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

EXPLANATION = "explanation.npz"

Scale = Literal["log_odds", "probability", "value", "log_value", "score"]
"""What the sum of a model means, before a link or a calibration: for classification the log-odds
(one output when binary: of the positive class; else one per class, to be normalised by softmax),
a probability, or a score without a unit; for regression the value or its logarithm."""


@dataclass(frozen=True)
class TreeEnsemble:
    """The nodes of all trees one after the other; a row follows `true` where a node's test holds.

    The test is `x <= threshold`, or `x != threshold` where `differs`; a missing value (NaN)
    follows `missing_true`.
    """

    feature: "Array"
    """(nodes,) int32: column of the input matrix; -1 for a leaf."""
    threshold: "Array"
    """(nodes,) float64."""
    differs: "Array"
    """(nodes,) bool."""
    missing_true: "Array"
    """(nodes,) bool."""
    true: "Array"
    """(nodes,) int32: node where the test holds; -1 for a leaf."""
    false: "Array"
    """(nodes,) int32: node where it does not; -1 for a leaf."""
    cover: "Array"
    """(nodes,) float64: weight of the training rows that reach the node."""
    value: "Array"
    """(nodes, outputs) float64: what a leaf adds to each output; 0 for inner nodes."""
    roots: "Array"
    """(trees,) int32: first node of each tree."""
    base: "Array"
    """(outputs,) float64: what is added to the sum over the trees."""
    scale: Scale


@dataclass(frozen=True)
class LinearModel:
    """A weighted sum over encoded features, each made from one column of the input matrix.

    The raw feature of a value x is x itself (`value`; `fill` where x is missing), 1 if x equals
    `code` and else 0 (`equals`), or 1 if x is missing and else 0 (`missing`). Encoded it is
    (raw - shift) / scaled, and the sum is encoded @ weights + intercept.
    """

    column: "Array"
    """(features,) int32: column of the input matrix."""
    reads: "Array"
    """(features,) str: `value`, `equals` or `missing`."""
    code: "Array"
    """(features,) float64: for `equals`; 0 for others."""
    fill: "Array"
    """(features,) float64: for `value`; NaN where a missing value stays missing."""
    shift: "Array"
    """(features,) float64."""
    scaled: "Array"
    """(features,) float64, not 0."""
    mean: "Array"
    """(features,) float64: mean of the encoded feature over the training rows."""
    weights: "Array"
    """(features, outputs) float64."""
    intercept: "Array"
    """(outputs,) float64."""
    scale: Scale


_KINDS: dict[str, type[TreeEnsemble] | type[LinearModel]] = {
    "trees": TreeEnsemble,
    "linear": LinearModel,
}


def save(model: TreeEnsemble | LinearModel, folder: Path) -> None:
    """Write the arrays as `explanation.npz` into `folder`."""
    import numpy as np

    kind = "trees" if isinstance(model, TreeEnsemble) else "linear"
    arrays = {field.name: getattr(model, field.name) for field in fields(model)}
    np.savez_compressed(folder / EXPLANATION, kind=np.array(kind), **arrays)


def load(folder: Path) -> TreeEnsemble | LinearModel | None:
    """The arrays that `save` wrote; None where the bundle has none.

    Raises:
        ValueError: the file is none that `save` writes.
    """
    import zipfile

    import numpy as np

    path = folder / EXPLANATION
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = dict(file)
        model = _KINDS[str(arrays.pop("kind"))]
        return model(**{**arrays, "scale": str(arrays["scale"])})
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no explanation: {error!r}") from error
