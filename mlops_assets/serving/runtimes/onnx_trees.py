"""The trees of an ONNX file, and the model around them. NumPy alone."""

from typing import TYPE_CHECKING, Any

from mlops_assets.serving.encoding import INPUT, OUTPUT
from mlops_assets.serving.mask_tables import Forest
from mlops_assets.serving.runtimes import onnx_file as file
from mlops_assets.serving.runtimes.onnx_file import Fields

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NEEDED = {
    "aggregate_function", "leaf_targetids", "leaf_weights", "n_targets", "nodes_falseleafs",
    "nodes_falsenodeids", "nodes_featureids", "nodes_missing_value_tracks_true", "nodes_modes",
    "nodes_splits", "nodes_trueleafs", "nodes_truenodeids", "post_transform", "tree_roots",
}  # fmt: skip
_AT_MOST, _DIFFERS, _SUM, _NO_LINK = 0, 5, 1, 0


def take_out(content: bytes) -> tuple[Forest, bytes | None] | None:
    """The trees that read a model's input, and the model that is asked with their sums instead:
    (n, targets) float64. None in its place where nothing is done to them; None for both where
    there are no such trees.

    Raises:
        ValueError: the file is none that `modeling.conversion` writes.
    """
    try:
        return _take_out(content)
    except (LookupError, TypeError) as error:
        raise ValueError(f"its trees are unreadable: {error!r}") from error


def _take_out(content: bytes) -> tuple[Forest, bytes | None] | None:
    model = file.fields(content)
    graph = file.fields(file.values(model, file.GRAPH)[0])
    nodes = [file.fields(node) for node in file.values(graph, file.NODE)]
    asked = INPUT.encode()
    asking = [node for node in nodes if asked in file.values(node, file.READ)]
    if len(asking) != 1 or file.values(asking[0], file.KIND) != [b"TreeEnsemble"]:
        return None
    forest = _forest(asking[0])
    sums = file.values(asking[0], file.WRITTEN)[0]
    if forest is None:
        return None
    if sums == OUTPUT.encode():
        return forest, None
    around = [field for field in graph if field[0] not in (file.NODE, file.ASKED)]
    around.append((file.ASKED, file.doubles(asked)))
    for node in nodes:
        if node is not asking[0]:
            renamed = [(n, asked if (n, v) == (file.READ, sums) else v) for n, v in node]
            around.append((file.NODE, file.message(renamed)))
    rest = [(n, file.message(around) if n == file.GRAPH else v) for n, v in model]
    return forest, file.message(rest)


def _forest(node: Fields) -> Forest | None:
    import numpy as np

    found = dict(map(file.attribute, file.values(node, file.ATTRIBUTE)))
    if not found.keys() >= _NEEDED:
        return None
    modes, weights = found["nodes_modes"], found["leaf_weights"]
    plain = (*found["aggregate_function"], *found["post_transform"]) == (_SUM, _NO_LINK)
    if not plain or not np.isin(modes, (_AT_MOST, _DIFFERS)).all():
        return None
    inner, leaves = np.zeros(len(modes), dtype=np.int64), np.zeros(len(weights), dtype=np.int64)

    def nodes(values: "Array", rest: "Array" = leaves) -> "Array":
        return np.concatenate([values, rest])

    def children(side: str) -> "Array":
        # Leaves are numbered by themselves; here they follow the inner nodes.
        return nodes(found[f"nodes_{side}nodeids"] + len(modes) * found[f"nodes_{side}leafs"])

    return Forest(
        feature=nodes(found["nodes_featureids"], leaves - 1),
        threshold=nodes(found["nodes_splits"]),
        differs=nodes(modes) == _DIFFERS,
        # NaN differs from every number.
        missing_true=nodes(found["nodes_missing_value_tracks_true"] | (modes == _DIFFERS)) > 0,
        true=children("true"),
        false=children("false"),
        weight=nodes(inner, weights),
        target=nodes(inner, found["leaf_targetids"]),
        roots=found["tree_roots"],
        targets=int(found["n_targets"][0]),
    )
