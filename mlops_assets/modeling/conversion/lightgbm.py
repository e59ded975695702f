"""Trees out of a fitted LightGBM model, read from the text it stores itself as.

The format: `Tree::ToString` and `Tree::NumericalDecision` of LightGBM 4.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion import trees
from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.modeling.conversion.trees import Trees
from mlops_assets.serving.ensemble import Scale

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_DEFAULT_LEFT, _CATEGORICAL = 2, 1
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2
_ZERO = 1.0000000180025095e-35
"""kZeroThreshold: values up to it, of either sign, are read as zero."""


def below(values: "Array", thresholds: "Array") -> "Array":
    import numpy as np

    return np.where(np.abs(values) <= _ZERO, 0.0, values) <= thresholds


def read(estimator: Any, scale: Scale) -> Trees:
    """The trees that the estimator predicts with.

    Raises:
        ConversionError: categorical splits, linear leaves, or zeros taken for missing.
    """
    booster = estimator.booster_
    text = booster.model_to_string(num_iteration=estimator._best_iteration or -1)
    head, *blocks = text.split("\nend of trees")[0].split("\nTree=")
    outputs = booster.num_model_per_iteration()
    parts = [
        _tree(_pairs(block), index % outputs, outputs, scale) for index, block in enumerate(blocks)
    ]
    averaged = "average_output" in head.splitlines()
    iterations = len(blocks) // outputs
    joined = trees.stacked(parts)
    return replace(joined, divisor=float(iterations)) if averaged else joined


def objective(estimator: Any) -> dict[str, str]:
    """The objective's name under `name`, with the options it was stored with."""
    text = estimator.booster_.model_to_string(num_iteration=1)
    words = _pairs(text)["objective"].split(" ")
    options = dict(word.partition(":")[::2] for word in words[1:])
    return {"name": words[0], **options}


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", maxsplit=1) for line in block.splitlines() if "=" in line)


def _tree(stored: dict[str, str], k: int, outputs: int, scale: Scale) -> Trees:
    import numpy as np

    if stored["num_cat"] != "0":
        raise ConversionError(
            "categorical splits do not convert; the pipeline encodes categories already"
        )
    if stored.get("is_linear", "0") != "0":
        raise ConversionError("linear_tree does not convert")

    def column(name: str, kind: Any = np.float64) -> "Array":
        return np.array(stored.get(name, "").split(), dtype=np.float64).astype(kind)

    leaves = int(stored["num_leaves"])
    inner = leaves - 1
    decision = column("decision_type", np.int64) if inner else np.zeros(0, dtype=np.int64)
    missing = decision >> 2 & 3
    if (missing == _MISSING_IS_ZERO).any():
        raise ConversionError("zero_as_missing does not convert")
    split = column("split_feature", np.int64) if inner else np.zeros(0, dtype=np.int64)
    threshold = column("threshold") if inner else np.zeros(0)
    # Where training met no missing value, NaN is taken for zero.
    missing_left = np.where(
        missing == _MISSING_IS_NAN, (decision & _DEFAULT_LEFT) > 0, threshold >= 0.0
    )

    def child(name: str) -> "Array":
        found = column(name, np.int64) if inner else np.zeros(0, dtype=np.int64)
        # Leaves are numbered -1, -2, ...; here they follow the inner nodes.
        found = np.where(found < 0, inner - found - 1, found)
        return np.concatenate([found, np.full(leaves, -1)])

    def with_leaves(values: "Array", rest: Any) -> "Array":
        return np.concatenate([values, np.full(leaves, rest)])

    value = np.zeros((inner + leaves, outputs))
    value[inner:, k] = column("leaf_value")
    count = column("leaf_count") if inner else np.ones(1)
    return Trees(
        feature=with_leaves(split, -1),
        threshold=with_leaves(threshold, 0.0),
        left=child("left_child"),
        right=child("right_child"),
        missing_left=with_leaves(missing_left, rest=False),
        cover=np.concatenate([column("internal_count") if inner else np.zeros(0), count]),
        value=value,
        roots=np.array([0]),
        base=np.zeros(outputs),
        scale=scale,
        below=below,
    )
