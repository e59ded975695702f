"""The masks of trees, where trees have them: made once, when a model is loaded. NumPy alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.masks import Masks

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEAST_NODES = 5_000
"""Fewer are walked for one row before NumPy is called often enough."""
MOST_COLUMNS = 64
"""A row costs columns * trees, however few tests there are."""
MOST_LEAVES = 64
"""Of a tree: the bits of a mask."""
MOST_BYTES = 16_000_000
"""Of the table."""


@dataclass(frozen=True, eq=False)
class Forest:
    """The nodes of trees as a graph has them; a row follows `true` where a test holds.

    The test is `x <= threshold`, or `x != threshold` where `differs`; a missing value (NaN)
    follows `missing_true`.
    """

    feature: "Array"
    """(nodes,) int: column of the input matrix; -1 for a leaf."""
    threshold: "Array"
    """(nodes,) float64."""
    differs: "Array"
    """(nodes,) bool."""
    missing_true: "Array"
    """(nodes,) bool."""
    true: "Array"
    """(nodes,) int: node where the test holds; of a leaf without meaning."""
    false: "Array"
    """(nodes,) int: node where it does not."""
    weight: "Array"
    """(nodes,) float64: what a leaf adds."""
    target: "Array"
    """(nodes,) int: the output that a leaf adds to."""
    roots: "Array"
    """(trees,) int: in the order in which they are summed."""
    targets: int


def masks(forest: Forest, *, least: int = LEAST_NODES) -> Masks | None:
    """None where the nodes do not form trees, where these are too large for masks, or so few (under
    `least` nodes) that masks do not pay, or where one adds to several outputs."""
    import numpy as np

    levels, tree = _levels(forest)
    if levels is None or len(tree) < least or not _orderly(forest):
        return None
    leaves = np.flatnonzero((forest.feature < 0) & (tree >= 0))
    columns = np.unique(forest.feature[np.concatenate([*levels, np.zeros(0, dtype=int)])])
    if not 0 < len(columns) <= MOST_COLUMNS:
        return None
    number, most = _numbered(tree[leaves])
    target = _target(forest, leaves, tree)
    if most > MOST_LEAVES or target is None:
        return None
    step, steps = _numbered(target)
    place, width = target * steps + step, forest.targets * steps
    bounds = [_bounds(forest, column) for column in columns]
    kind = np.dtype(f"u{max(1, 2 ** (most - 1).bit_length() // 8)}")
    shape = sum(map(len, bounds)) + len(columns), width
    if shape[0] * shape[1] * kind.itemsize > MOST_BYTES:
        return None

    below = np.zeros(len(tree), dtype=kind)
    below[leaves] = kind.type(1) << number.astype(kind)
    for level in reversed(levels):
        below[level] = below[forest.true[level]] | below[forest.false[level]]
    at = np.where(tree < 0, -1, place[tree])
    # Where no tree stands, the first leaf is left, and adds nothing.
    table = np.ones(shape, dtype=kind)
    table[:, place] = below[forest.roots]
    table &= ~_ruled_out(forest, columns, bounds, below, at, shape)
    weights = np.zeros((width, most))
    weights[at[leaves], number] = forest.weight[leaves]
    return Masks(
        columns=columns, bounds=bounds, table=table, weights=weights, targets=forest.targets
    )


def _orderly(forest: Forest) -> bool:
    """Whether the thresholds have a place among numbers, and a double below where one is needed."""
    import numpy as np

    known = ~np.isnan(forest.threshold) & (np.isfinite(forest.threshold) | ~forest.differs)
    return bool(known.all())


def _target(forest: Forest, leaves: "Array", tree: "Array") -> "Array | None":
    """(trees,) the one output that each tree adds to; None where a tree adds to several."""
    import numpy as np

    adding = leaves[forest.weight[leaves] != 0]
    found = np.zeros(len(forest.roots), dtype=np.int64)
    found[tree[adding]] = forest.target[adding]
    return found if (found[tree[adding]] == forest.target[adding]).all() else None


def _levels(forest: Forest) -> tuple[list["Array"] | None, "Array"]:
    """The inner nodes level by level from the roots, None where one stands in two places; and
    (nodes,) the tree of each node, -1 for one that stands in none."""
    import numpy as np

    tree = np.full(len(forest.feature), -1)
    tree[forest.roots] = np.arange(len(forest.roots))
    levels, met = [], len(forest.roots)
    front = forest.roots[forest.feature[forest.roots] >= 0]
    while len(front) and met <= len(tree):
        levels.append(front)
        sides = forest.true[front], forest.false[front]
        for side in sides:
            tree[side] = tree[front]
        both = np.concatenate(sides)
        met += len(both)
        front = both[forest.feature[both] >= 0]
    return (levels if met == np.count_nonzero(tree >= 0) else None), tree


def _numbered(group: "Array") -> tuple["Array", int]:
    """The number of each member within its group, and the most members of a group."""
    import numpy as np

    counts = np.bincount(group)
    order = np.argsort(group, kind="stable")
    number = np.empty(len(group), dtype=np.int64)
    number[order] = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    return number, int(counts.max())


def _bounds(forest: Forest, column: int) -> "Array":
    """The thresholds in order; of `x != t` also the double below, so that t stands alone."""
    import numpy as np

    tests = forest.feature == column
    alone = forest.threshold[tests & forest.differs]
    every = [forest.threshold[tests], np.nextafter(alone, -np.inf), [np.inf]]
    return np.unique(np.concatenate(every))


def _ruled_out(
    forest: Forest,
    columns: "Array",
    bounds: "list[Array]",
    below: "Array",
    at: "Array",
    shape: tuple[int, int],
) -> "Array":
    """The leaves that the tests of each column rule out, in the places of the table of `Masks`.

    Args:
        forest: the trees.
        columns: that are tested.
        bounds: of each of them.
        below: (nodes,) the leaves below each node, as bits.
        at: (nodes,) the column of the table for the tree of each node; -1 for one in no tree.
        shape: of the table.
    """
    import numpy as np

    table = np.zeros(shape, dtype=below.dtype)
    *parts, missing = np.split(table, np.cumsum([len(each) for each in bounds]))
    inner = (forest.feature >= 0) & (at >= 0)
    for column, own, part, nan in zip(columns, bounds, parts, missing, strict=True):
        tests = np.flatnonzero(inner & (forest.feature == column))
        tree, differs = at[tests], forest.differs[tests]
        true, false = below[forest.true[tests]], below[forest.false[tests]]
        np.bitwise_or.at(nan, tree, np.where(forest.missing_true[tests], false, true))
        place = own.searchsorted(forest.threshold[tests])
        # `up` is ruled out in all intervals up to there, `down` in all from there on.
        up, down = np.zeros_like(part), np.zeros_like(part)
        np.bitwise_or.at(up, (place - differs, tree), false)
        np.bitwise_or.at(part, (place[differs], tree[differs]), true[differs])
        beyond = place + 1 < len(own)
        side = np.where(differs, false, true)[beyond]
        np.bitwise_or.at(down, (place[beyond] + 1, tree[beyond]), side)
        for marks in (np.bitwise_or.accumulate(up[::-1])[::-1], np.bitwise_or.accumulate(down)):
            np.bitwise_or(part, marks, out=part)
    return table
