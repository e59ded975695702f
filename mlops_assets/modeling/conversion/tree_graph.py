"""Trees as ONNX nodes, summed in the order and precision of their library."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion.graph import TREES, Graph
from mlops_assets.serving.ensemble import TreeEnsemble

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_AT_MOST, _DIFFERS = 0, 5
_SUM, _NO_LINK = 1, 0


def write(
    graph: Graph, x: str, ensemble: TreeEnsemble, *, divisor: float, sums_single: bool
) -> str:
    """(n, outputs) float64: base and trees summed, over `divisor`.

    Args:
        graph: to add to.
        x: name of the (n, columns) matrix.
        ensemble: trees over its columns.
        divisor: of the sum.
        sums_single: the library sums in float32.
    """
    import numpy as np

    several = (ensemble.value != 0).sum(axis=1).max() > 1
    if sums_single:
        total = _summed_single(graph, x, ensemble)
    elif several:
        total = _summed_rows(graph, x, ensemble)
    else:
        target = np.abs(ensemble.value).argmax(axis=1)
        weight = np.take_along_axis(ensemble.value, target[:, None], axis=1)[:, 0]
        outputs = len(ensemble.base)
        total = _node(graph, x, ensemble, target, weight, base=ensemble.base, outputs=outputs)
    return total if divisor == 1.0 else graph.op("Div", total, np.array([divisor]))


def lookup(graph: Graph, x: str, bounds: "list[Array]", *, beyond: bool) -> str:
    """(n, m) float64: how many of the ascending `bounds` of each column of x a value reaches, or
    lies beyond."""
    import numpy as np

    if not beyond:
        bounds = [np.nextafter(bound, -np.inf) for bound in bounds]
    trees = [_search(bound, column) for column, bound in enumerate(bounds)]
    starts = np.cumsum([0, *(len(tree.feature) for tree in trees[:-1])])

    def moved(name: str) -> "Array":
        parts = zip((getattr(tree, name) for tree in trees), starts, strict=True)
        return np.concatenate([np.where(part < 0, -1, part + start) for part, start in parts])

    def joined(name: str) -> "Array":
        return np.concatenate([getattr(tree, name) for tree in trees])

    together = TreeEnsemble(
        **{n: joined(n) for n in ("feature", "threshold", "differs", "missing_true", "cover")},
        **{n: moved(n) for n in ("true", "false")},
        value=joined("value"),
        roots=starts,
        base=np.zeros(len(bounds)),
        scale="value",
    )
    target = np.repeat(np.arange(len(trees)), [len(tree.feature) for tree in trees])
    return _node(
        graph, x, together, target, together.value[:, 0],
        base=together.base, outputs=len(bounds),
    )  # fmt: skip


def _search(bounds: "Array", column: int) -> TreeEnsemble:
    """A balanced tree that finds how many of the ascending bounds a value lies beyond."""
    import numpy as np

    nodes: list[tuple[int, float, int, int, float]] = []

    def grow(low: int, high: int) -> int:
        place = len(nodes)
        nodes.append((-1, 0.0, -1, -1, float(low)))
        if low < high:
            middle = (low + high) // 2
            bound = float(bounds[middle])
            nodes[place] = (column, bound, grow(low, middle), grow(middle + 1, high), 0.0)
        return place

    grow(0, len(bounds))
    feature, threshold, true, false, value = zip(*nodes, strict=True)
    no = np.zeros(len(nodes), dtype=bool)
    return TreeEnsemble(
        feature=np.array(feature), threshold=np.array(threshold), differs=no, missing_true=no,
        true=np.array(true), false=np.array(false), cover=np.ones(len(nodes)),
        value=np.array(value)[:, None], roots=np.array([0]), base=np.zeros(1), scale="value",
    )  # fmt: skip


def _summed_single(graph: Graph, x: str, ensemble: TreeEnsemble) -> str:
    """Each tree's value by itself, then summed in float32 class by class, the base first."""
    import numpy as np

    outputs = len(ensemble.base)
    tree = _tree_of(ensemble)
    trees = len(ensemble.roots)
    used = np.zeros((trees, outputs))
    np.maximum.at(used, tree, np.abs(ensemble.value))
    output_of = used.argmax(axis=1)
    step = np.zeros(trees, dtype=np.int64)
    for k in range(outputs):
        step[output_of == k] = np.arange(1, (output_of == k).sum() + 1)
    target = (step * outputs + output_of)[tree]
    weight = ensemble.value[np.arange(len(tree)), output_of[tree]]
    steps = int(step.max()) + 1
    each = _node(graph, x, ensemble, target, weight, base=ensemble.base, outputs=steps * outputs)
    by_step = graph.op("Reshape", graph.cast(each, "FLOAT"), np.array([-1, steps, outputs]))
    return graph.cast(_last_sum(graph, by_step, steps), "DOUBLE")


def _summed_rows(graph: Graph, x: str, ensemble: TreeEnsemble) -> str:
    """Leaves by number, their rows in a table of all outputs, and these rows summed in order."""
    import numpy as np

    leaf = np.flatnonzero(ensemble.feature < 0)
    number = np.zeros(len(ensemble.feature))
    number[leaf] = np.arange(len(leaf))
    trees = len(ensemble.roots)
    found = _node(graph, x, ensemble, _tree_of(ensemble), number, base=np.zeros(0), outputs=trees)
    rows = graph.op("Gather", ensemble.value[leaf], graph.cast(found, "INT64"), axis=0)
    return _last_sum(graph, rows, trees)


def _last_sum(graph: Graph, value: str, steps: int) -> str:
    """(n, outputs) of (n, steps, outputs); CumSum alone is sure to add one after the other."""
    import numpy as np

    sums = graph.op("CumSum", value, np.array(1, dtype=np.int64))
    return graph.op("Gather", sums, np.array(steps - 1, dtype=np.int64), axis=1)


def _tree_of(ensemble: TreeEnsemble) -> "Array":
    """(nodes,) number of the tree that each node belongs to."""
    import numpy as np

    tree = np.full(len(ensemble.feature), -1)
    tree[ensemble.roots] = np.arange(len(ensemble.roots))
    front = ensemble.roots
    while len(front):
        front = front[ensemble.feature[front] >= 0]
        for child in (ensemble.true[front], ensemble.false[front]):
            tree[child] = tree[front]
        front = np.concatenate([ensemble.true[front], ensemble.false[front]])
    return tree


def _node(
    graph: Graph,
    x: str,
    ensemble: TreeEnsemble,
    target: "Array",
    weight: "Array",
    *,
    base: "Array",
    outputs: int,
) -> str:
    """One TreeEnsemble node; `target` and `weight` are read at leaves.

    A tree needs a split there, so a lone leaf hangs twice under a split that decides nothing. The
    base is such trees, before all others.
    """
    import numpy as np
    from onnx import TensorProto, helper

    inner = np.flatnonzero(ensemble.feature >= 0)
    leaf = np.flatnonzero(ensemble.feature < 0)
    number = np.zeros(len(ensemble.feature), dtype=np.int64)
    number[inner], number[leaf] = np.arange(len(inner)), np.arange(len(leaf))
    targets, weights = target[leaf].tolist(), weight[leaf].tolist()
    lone = [(k, float(value)) for k, value in enumerate(base)]
    roots = list(range(len(inner), len(inner) + len(lone)))
    for root in ensemble.roots:
        if ensemble.feature[root] >= 0:
            roots.append(int(number[root]))
        else:
            roots.append(len(inner) + len(lone))
            lone.append((int(target[root]), float(weight[root])))
    first = len(targets)
    targets += [k for k, _ in lone for _ in "ab"]
    weights += [value for _, value in lone for _ in "ab"]
    more = np.arange(len(lone))

    def nodes(values: "Array", rest: "Array | float") -> "Array":
        return np.concatenate([values, np.broadcast_to(rest, len(lone))])

    true, false = ensemble.true[inner], ensemble.false[inner]
    modes = np.where(ensemble.differs[inner], _DIFFERS, _AT_MOST)
    splits = nodes(ensemble.threshold[inner], 0.0)
    count = len(inner) + len(lone)
    return graph.op(
        "TreeEnsemble",
        x,
        domain=TREES,
        n_targets=outputs,
        aggregate_function=_SUM,
        post_transform=_NO_LINK,
        tree_roots=roots,
        nodes_featureids=_ints(nodes(ensemble.feature[inner], 0)),
        nodes_modes=helper.make_tensor(
            "modes", TensorProto.UINT8, [count], nodes(modes, _AT_MOST).astype(np.uint8)
        ),
        nodes_splits=_doubles("splits", splits),
        nodes_truenodeids=_ints(nodes(number[true], first + 2 * more)),
        nodes_trueleafs=_ints(nodes(ensemble.feature[true] < 0, 1)),
        nodes_falsenodeids=_ints(nodes(number[false], first + 2 * more + 1)),
        nodes_falseleafs=_ints(nodes(ensemble.feature[false] < 0, 1)),
        nodes_missing_value_tracks_true=_ints(nodes(ensemble.missing_true[inner], 0)),
        leaf_targetids=targets,
        leaf_weights=_doubles("weights", np.array(weights)),
    )


def _ints(values: "Array") -> list[int]:
    return [int(value) for value in values]


def _doubles(name: str, values: "Array") -> Any:
    from onnx import TensorProto, helper

    raw = values.astype("<f8").tobytes()
    return helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], raw, raw=True)
