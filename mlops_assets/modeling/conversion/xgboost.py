"""Trees out of a fitted XGBoost model, read from the JSON it stores itself as.

The schema of that JSON is documented under "Introduction to Model IO" in XGBoost's manual.
"""

import json
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion import trees
from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.modeling.conversion.trees import Trees
from mlops_assets.serving.ensemble import Scale

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def objective(estimator: Any) -> str:
    return str(_stored(estimator)["learner"]["objective"]["name"])


def read(estimator: Any, scale: Scale) -> Trees:
    """The trees that the estimator predicts with.

    Raises:
        ConversionError: another booster than `gbtree`, or categorical splits.
    """
    import numpy as np

    stored = _stored(estimator)
    booster = stored["learner"]["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ConversionError(f"booster={booster['name']} does not convert")
    if not np.isnan(estimator.missing):
        raise ConversionError("missing= another value than NaN does not convert")
    model = booster["model"]
    base = _base(estimator, stored)
    used = model["trees"], model["tree_info"]
    if (best := _best_iteration(estimator)) is not None:
        end = model["iteration_indptr"][best + 1]
        used = used[0][:end], used[1][:end]
    parts = [_tree(tree, k, base, scale) for tree, k in zip(*used, strict=True)]
    return trees.stacked(parts)


def _stored(estimator: Any) -> dict[str, Any]:
    return dict(json.loads(estimator.get_booster().save_raw(raw_format="json")))


def _best_iteration(estimator: Any) -> int | None:
    if estimator.early_stopping_rounds is None:
        return None
    return int(estimator.best_iteration)


def _base(estimator: Any, stored: dict[str, Any]) -> "Array":
    """(outputs,) what the sum starts with: the library's own answer once every leaf is zero."""
    import numpy as np
    import xgboost

    emptied = json.loads(json.dumps(stored))
    for tree in emptied["learner"]["gradient_booster"]["model"]["trees"]:
        left = tree["left_children"]
        tree["split_conditions"] = [
            0.0 if child < 0 else split
            for child, split in zip(left, tree["split_conditions"], strict=True)
        ]
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(emptied).encode()))
    row = xgboost.DMatrix(np.zeros((1, estimator.n_features_in_)))
    return booster.predict(row, output_margin=True).reshape(-1).astype(np.float64)


def _tree(stored: dict[str, Any], k: int, base: "Array", scale: Scale) -> Trees:
    import numpy as np

    if stored["categories_nodes"]:
        raise ConversionError(
            "categorical splits do not convert; the pipeline encodes categories already"
        )
    if stored["tree_param"]["size_leaf_vector"] not in ("0", "1"):
        raise ConversionError("multi_strategy=multi_output_tree does not convert")
    left = np.array(stored["left_children"], dtype=np.int64)
    leaf = left < 0
    # Stored as the shortest decimals that mean these float32.
    split = np.array(stored["split_conditions"], dtype=np.float32).astype(np.float64)
    value = np.zeros((len(left), len(base)))
    value[leaf, k] = split[leaf]
    return Trees(
        feature=np.where(leaf, -1, np.array(stored["split_indices"], dtype=np.int64)),
        threshold=np.where(leaf, 0.0, split),
        left=left,
        right=np.array(stored["right_children"], dtype=np.int64),
        missing_left=np.array(stored["default_left"], dtype=bool),
        cover=np.array(stored["sum_hessian"], dtype=np.float64),
        value=value,
        roots=np.array([0]),
        base=base,
        scale=scale,
        below=trees.strictly_in_single,
        sums_single=True,
    )
