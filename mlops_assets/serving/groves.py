"""Trees side by side in arrays, level by level: the form that Shapley values are computed in.

Knows the shape of trees and nothing of Shapley values; NumPy alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.ensemble import TreeEnsemble

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SIZE = 16_000
"""Nodes of a grove; a larger tree stands alone."""


@dataclass(frozen=True, eq=False)
class Grove:
    """Trees that add to the same outputs. Their nodes stand level by level, the roots first; a
    level holds the true children of the inner nodes above in their order, then the false ones.

    Every node but a root stands for the test of its parent; "its column" is the one tested there.
    """

    levels: tuple[tuple["Array", slice, slice], ...]
    """From the top: the inner nodes of a level, their true children, their false children."""
    feature: "Array"
    """(inner,) column that an inner node tests; this and the next three in the order of nodes."""
    threshold: "Array"
    differs: "Array"
    missing_true: "Array"
    previous: "Array"
    """(nodes,) the last node above with the same column, else the root."""
    share: "Array"
    """(nodes,) share of the parent's cover; 1 for a root."""
    shares: "Array"
    """(nodes,) product of the shares of the node and of all above with the same column."""
    outputs: "Array"
    """(k,) the outputs that the trees add to."""
    value: "Array"
    """(k, nodes) what a leaf adds to them."""
    by_column: "Array"
    """(nodes - roots,) the nodes sorted by their column; the roots left out."""
    columns: "Array"
    """(tested,) the distinct columns."""
    starts: "Array"
    """(tested,) where each of them begins in `by_column`."""
    longest: int
    """The most distinct columns on one path."""
    expected: "Array"
    """(k,) mean of the sum of the trees, by covers."""


def check(ensemble: TreeEnsemble, *, columns: int, outputs: int) -> None:
    """Whether the arrays are trees over so many columns and outputs, as `TreeEnsemble` says.

    Raises:
        ValueError: they are not.
    """
    import numpy as np

    nodes, roots = len(ensemble.feature), ensemble.roots
    each = ("threshold", "differs", "missing_true", "true", "false", "cover")
    if any(getattr(ensemble, name).shape != (nodes,) for name in each):
        raise ValueError("its nodes are described unequally often")
    if ensemble.value.shape != (nodes, outputs) or ensemble.base.shape != (outputs,):
        raise ValueError(f"its leaves are not those of {outputs} output(s)")
    if not np.isin(ensemble.feature, np.arange(-1, columns)).all():
        raise ValueError(f"its trees test other columns than the {columns} of the model")
    if not (ensemble.cover >= 0).all() or not np.isfinite(ensemble.cover).all():
        raise ValueError("its nodes are covered by less than nothing")
    inner = np.flatnonzero(ensemble.feature >= 0)
    above = np.concatenate([inner, inner])
    below = np.concatenate([ensemble.true[inner], ensemble.false[inner]])
    # Everything but a root is the child of one node, which stands in the same tree.
    once = np.array_equal(np.sort(np.concatenate([roots, below])), np.arange(nodes))
    tree = np.searchsorted(roots, np.arange(nodes), side="right")
    if not once or (np.diff(roots) <= 0).any() or (tree[above] != tree[below]).any():
        raise ValueError("its nodes do not form trees, one after the other")


def groves(ensemble: TreeEnsemble) -> Iterator[Grove]:
    """All trees that add to an output, in groves; the ensemble fits its description."""
    import numpy as np

    sizes = np.diff(ensemble.roots, append=len(ensemble.feature))
    adds = np.logical_or.reduceat(ensemble.value != 0, ensemble.roots, axis=0)
    kinds, kind = np.unique(adds, axis=0, return_inverse=True)
    for number, outputs in enumerate(kinds):
        if outputs.any():
            trees = np.flatnonzero(kind == number)
            cuts = np.flatnonzero(np.diff(sizes[trees].cumsum() // SIZE)) + 1
            for some in np.split(trees, cuts):
                yield _grove(ensemble, ensemble.roots[some], np.flatnonzero(outputs))


def _grove(ensemble: TreeEnsemble, roots: "Array", outputs: "Array") -> Grove:
    import numpy as np

    trees = len(roots)
    nodes, parents, levels = [roots], [np.arange(trees)], []
    start, end = 0, trees
    while len(found := np.flatnonzero(ensemble.feature[nodes[-1]] >= 0)):
        above, inner = nodes[-1][found], start + found
        nodes.append(np.concatenate([ensemble.true[above], ensemble.false[above]]))
        parents.append(np.tile(inner, 2))
        start, middle, end = end, end + len(found), end + 2 * len(found)
        levels.append((inner, slice(start, middle), slice(middle, end)))
    node, parent = np.concatenate(nodes), np.concatenate(parents)
    tests = node[ensemble.feature[node] >= 0]

    column = ensemble.feature[node[parent]]
    column[:trees] = -1
    previous = parent.copy()
    while len(other := np.flatnonzero((previous >= trees) & (column[previous] != column))):
        previous[other] = parent[previous[other]]

    cover = ensemble.cover[node]
    both = np.bincount(parent[trees:], cover[trees:], len(node))[parent]
    share = np.divide(cover, both, out=np.full(len(node), 0.5), where=both > 0)
    share[:trees] = 1
    shares, reached, distinct = share.copy(), share.copy(), (previous < trees).astype(int)
    distinct[:trees] = 0
    for _, true, false in levels:
        level = slice(true.start, false.stop)
        shares[level] *= shares[previous[level]]
        reached[level] *= reached[parent[level]]
        distinct[level] += distinct[parent[level]]

    value = np.where(ensemble.feature[node] < 0, ensemble.value[node][:, outputs].T, 0.0)
    by_column = np.argsort(column[trees:], kind="stable") + trees
    columns, starts = np.unique(column[by_column], return_index=True)
    return Grove(
        levels=tuple(levels),
        feature=ensemble.feature[tests],
        threshold=ensemble.threshold[tests],
        differs=ensemble.differs[tests],
        missing_true=ensemble.missing_true[tests],
        previous=previous,
        share=share,
        shares=shares,
        outputs=outputs,
        value=value,
        by_column=by_column,
        columns=columns,
        starts=starts,
        longest=int(distinct.max()),
        expected=value @ reached,
    )
