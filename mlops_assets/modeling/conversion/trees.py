"""Trees of any library, folded to tests on the raw input columns.

A split `f(x) <= t` on an encoded feature becomes `x <= t'` where t' is the largest double whose
encoding the library itself sends that way, found by bisection: f is monotone in floating point.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion.features import Feature, arrays
from mlops_assets.serving.ensemble import Scale, TreeEnsemble

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trees:
    """Trees over encoded features as their library has them; a row goes left where it is below."""

    feature: "Array"
    """(nodes,) encoded feature; -1 for a leaf."""
    threshold: "Array"
    """(nodes,) float64."""
    left: "Array"
    right: "Array"
    """(nodes,) node; -1 for a leaf."""
    missing_left: "Array"
    """(nodes,) bool: where NaN goes."""
    cover: "Array"
    """(nodes,) weight of the training rows."""
    value: "Array"
    """(nodes, outputs) float64; of inner nodes without meaning."""
    roots: "Array"
    """(trees,)"""
    base: "Array"
    """(outputs,) float64: what the sum starts with."""
    scale: Scale
    below: Callable[["Array", "Array"], "Array"]
    """Encoded values, thresholds -> does the library go left."""
    divisor: float = 1.0
    """What the sum is divided by."""
    sums_single: bool = False
    """The library sums in float32."""


def in_double(values: "Array", thresholds: "Array") -> "Array":
    """`x <= t` in float64: histogram gradient boosting."""
    return values <= thresholds


def in_single(values: "Array", thresholds: "Array") -> "Array":
    """`float32(x) <= t`: the trees of scikit-learn."""
    import numpy as np

    return values.astype(np.float32) <= thresholds


def strictly_in_single(values: "Array", thresholds: "Array") -> "Array":
    """`float32(x) < t`: XGBoost."""
    import numpy as np

    return values.astype(np.float32) < thresholds


def stacked(parts: list[Trees]) -> Trees:
    """Trees one after the other; base, scale and arithmetic are those of the first."""
    import numpy as np

    first = parts[0]
    starts = np.cumsum([0, *(len(part.feature) for part in parts[:-1])])

    def joined(name: str) -> "Array":
        return np.concatenate([getattr(part, name) for part in parts])

    def shifted(name: str) -> "Array":
        moved = [
            np.where(getattr(part, name) < 0, -1, getattr(part, name) + start)
            for part, start in zip(parts, starts, strict=True)
        ]
        return np.concatenate(moved)

    return replace(
        first,
        feature=joined("feature"),
        threshold=joined("threshold"),
        left=shifted("left"),
        right=shifted("right"),
        missing_left=joined("missing_left"),
        cover=joined("cover"),
        value=joined("value"),
        roots=shifted("roots"),
    )


def fold(trees: Trees, features: list[Feature]) -> TreeEnsemble:
    """The same trees over the input matrix, without splits that no row can decide."""
    import numpy as np

    known = arrays(features)
    inner = trees.feature >= 0
    used = np.where(inner, trees.feature, 0)
    column = (
        np.where(inner, known["column"][used], -1).astype(np.int32) if features else trees.feature
    )
    reads = known["reads"][used] if features else np.full(len(inner), "value")
    left, right = trees.left.astype(np.int64), trees.right.astype(np.int64)
    threshold = np.zeros(len(inner))
    differs = np.zeros(len(inner), dtype=bool)
    missing_true = np.zeros(len(inner), dtype=bool)
    # What a row meets: the test (0), always the left child (-1), always the right one (1).
    always = np.zeros(len(inner), dtype=np.int8)

    at = np.flatnonzero(inner & (reads == "value"))
    if len(at):
        found = _raw_thresholds(trees, known, at)
        threshold[at] = np.clip(found, -np.inf, np.inf)
        fill = known["fill"][used[at]]
        encoded = (fill - known["shift"][used[at]]) / known["scaled"][used[at]]
        with np.errstate(over="ignore"):
            filled = trees.below(encoded, trees.threshold[at])
        missing_true[at] = np.where(np.isnan(fill), trees.missing_left[at], filled)
        always[at[(found == np.inf) & missing_true[at]]] = -1
        always[at[(found == -np.inf) & ~missing_true[at]]] = 1

    at = np.flatnonzero(inner & (reads != "value"))
    if len(at):
        constants = np.array([f.constants for f in features])[used[at]]
        fails = trees.below(constants[:, 0], trees.threshold[at])
        holds = trees.below(constants[:, 1], trees.threshold[at])
        always[at[fails & holds]] = -1
        always[at[~fails & ~holds]] = 1
        equals = reads[at] == "equals"
        differs[at] = equals
        # x != code where the condition fails; children swap where left is for those that hold it.
        swap = at[equals & holds & ~fails]
        left[swap], right[swap] = right[swap], left[swap].copy()
        # x <= inf holds for all but NaN, x <= -inf for none.
        threshold[at] = np.where(equals, known["code"][used[at]], np.where(fails, np.inf, -np.inf))
        missing_true[at] = np.where(equals, True, holds)

    target = _skipping(always, left, right)
    return _compact(
        trees, column, threshold, differs, missing_true,
        np.where(inner, target[left], -1), np.where(inner, target[right], -1), target[trees.roots],
    )  # fmt: skip


def _raw_thresholds(trees: Trees, known: dict[str, "Array"], at: "Array") -> "Array":
    """(len(at),) largest finite double that goes left; inf where all do, -inf where none does."""
    import numpy as np

    key = np.stack([trees.feature[at].astype(np.float64), trees.threshold[at]], axis=1)
    distinct, inverse = np.unique(key, axis=0, return_inverse=True)
    used, thresholds = distinct[:, 0].astype(np.int64), distinct[:, 1]
    shift, scaled = known["shift"][used], known["scaled"][used]

    def left(place: "Array") -> "Array":
        with np.errstate(over="ignore"):
            return trees.below((_double(place) - shift) / scaled, thresholds)

    most = np.full(len(used), np.finfo(np.float64).max).view(np.int64)
    low, high = -most, most.copy()
    everything, nothing = left(high), ~left(low)
    for _ in range(64):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        goes = left(middle)
        low, high = np.where(goes, middle, low), np.where(goes, high, middle)
    found = np.where(everything, np.inf, np.where(nothing, -np.inf, _double(low)))
    return found[inverse.reshape(-1)]


def _double(place: "Array") -> "Array":
    """Finite doubles by their place in order; 0 is zero, of either sign."""
    import numpy as np

    smallest = np.iinfo(np.int64).min
    return np.where(place >= 0, place, smallest - place).view(np.float64)


def _skipping(always: "Array", left: "Array", right: "Array") -> "Array":
    """(nodes,) the node that a pointer to each node leads to once decided splits are gone."""
    import numpy as np

    target = np.arange(len(always))
    target = np.where(always < 0, left, np.where(always > 0, right, target))
    while (target != target[target]).any():
        target = target[target]
    return target


def _compact(
    trees: Trees,
    column: "Array",
    threshold: "Array",
    differs: "Array",
    missing_true: "Array",
    true: "Array",
    false: "Array",
    roots: "Array",
) -> TreeEnsemble:
    import numpy as np

    reached = np.zeros(len(column), dtype=bool)
    front = np.unique(roots)
    while len(front):
        reached[front] = True
        below = np.concatenate([true[front], false[front]])
        front = below[below >= 0]
    kept = np.flatnonzero(reached)
    renumbered = np.full(len(column) + 1, -1)
    renumbered[kept] = np.arange(len(kept))
    leaf = column[kept] < 0
    return TreeEnsemble(
        feature=column[kept].astype(np.int32),
        threshold=np.where(leaf, 0.0, threshold[kept]),
        differs=differs[kept] & ~leaf,
        missing_true=missing_true[kept] & ~leaf,
        true=np.where(leaf, -1, renumbered[true[kept]]).astype(np.int32),
        false=np.where(leaf, -1, renumbered[false[kept]]).astype(np.int32),
        cover=trees.cover[kept].astype(np.float64),
        value=np.where(leaf[:, None], trees.value[kept], 0.0),
        roots=renumbered[roots].astype(np.int32),
        base=trees.base,
        scale=trees.scale,
    )
