"""Decision trees over the raw input columns, as plain arrays: what explanations are computed from.

The thresholds are those of the converted model, with all preprocessing folded into them, so that
an explanation speaks of the columns a caller sent.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


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
