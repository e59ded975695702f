"""Trees out of scikit-learn's fitted estimators."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion import trees
from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.modeling.conversion.trees import Trees
from mlops_assets.serving.ensemble import Scale

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Values = Callable[[Any], "Array"]
"""A fitted tree -> (nodes, outputs) what its nodes add."""


def tree(estimator: Any, classes: int) -> Trees:
    """A decision tree; the positive class alone where there are two.

    Args:
        estimator: fitted.
        classes: how many; 0 for regression.
    """
    return _sum([estimator], _shares(classes), "probability" if classes else "value")


def forest(estimator: Any, classes: int) -> Trees:
    """The mean over trees (random forest, extra trees)."""
    scale: Scale = "probability" if classes else "value"
    return _sum(
        estimator.estimators_, _shares(classes), scale, divisor=float(len(estimator.estimators_))
    )


def bagging(estimator: Any, classes: int) -> Trees:
    """The mean over trees that each saw some of the features, and perhaps not all classes.

    Raises:
        ConversionError: what is bagged is no decision tree.
    """
    import numpy as np

    members = list(zip(estimator.estimators_, estimator.estimators_features_, strict=True))
    if not all(hasattr(member, "tree_") for member, _ in members):
        raise ConversionError("only bags of decision trees become ONNX graphs")

    def values(member: Any) -> "Array":
        found: Array = member.tree_.value[:, 0, :]
        if not classes:
            return found
        shares = np.zeros((len(found), classes))
        shares[:, member.classes_.astype(int)] = found
        return shares[:, 1:] if classes == 2 else shares

    parts = [
        _sum([member], values, "probability" if classes else "value", columns=columns)
        for member, columns in members
    ]
    return replace(trees.stacked(parts), divisor=float(len(members)))


def adaboost(estimator: Any, classes: int) -> Trees:
    """Weighted votes of trees; for two classes the votes for the second one, doubled.

    Raises:
        ConversionError: what is boosted is no decision tree.
    """
    import numpy as np

    members = estimator.estimators_
    if not all(hasattr(member, "tree_") for member in members):
        raise ConversionError("AdaBoost of other estimators than decision trees does not convert")
    weights = {id(m): w for m, w in zip(members, estimator.estimator_weights_, strict=False)}

    def votes(member: Any) -> "Array":
        chosen = member.classes_[member.tree_.value[:, 0, :].argmax(axis=1)]
        weight = weights[id(member)]
        cast: Array = np.where(
            chosen[:, None] == estimator.classes_[None, :], weight, -1 / (classes - 1) * weight
        )
        return cast[:, 1:] * 2.0 if classes == 2 else cast

    return _sum(members, votes, "score", divisor=float(estimator.estimator_weights_.sum()))


def gradient_boosting(estimator: Any, scale: Scale) -> Trees:
    """The initial value and one tree per class and stage, shrunk.

    Raises:
        ConversionError: the initial value is the prediction of another model.
    """
    import numpy as np

    init = estimator.init_
    if not (isinstance(init, str) or type(init).__name__.startswith("Dummy")):
        raise ConversionError("gradient boosting that starts from another model does not convert")
    zeros = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    base = np.asarray(estimator._raw_predict_init(zeros), dtype=np.float64)[0]
    outputs = len(base)
    members = [(member, k) for stage in estimator.estimators_ for k, member in enumerate(stage)]

    def part(member: Any, k: int) -> Trees:
        def values(one: Any) -> "Array":
            found = np.zeros((one.tree_.node_count, outputs))
            found[:, k] = estimator.learning_rate * one.tree_.value[:, 0, 0]
            return found

        return _sum([member], values, scale, base=base)

    return trees.stacked([part(member, k) for member, k in members])


def histogram(estimator: Any, scale: Scale) -> Trees:
    """Histogram gradient boosting: splits in float64 that know missing values.

    Raises:
        ConversionError: categorical splits.
    """
    import numpy as np

    if estimator.is_categorical_ is not None:
        raise ConversionError(
            "categorical_features splits do not convert; the pipeline encodes categories already"
        )
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    parts = []
    for stage in estimator._predictors:
        for k, predictor in enumerate(stage):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            values = np.zeros((len(nodes), len(base)))
            values[:, k] = nodes["value"]
            parts.append(
                Trees(
                    feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
                    threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
                    left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
                    right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
                    missing_left=nodes["missing_go_to_left"].astype(bool),
                    cover=nodes["count"].astype(np.float64),
                    value=values,
                    roots=np.array([0]),
                    base=base,
                    scale=scale,
                    below=trees.in_double,
                )
            )
    return trees.stacked(parts)


def _shares(classes: int) -> Values:
    def values(member: Any) -> "Array":
        found: Array = member.tree_.value[:, 0, :]
        return found[:, 1:] if classes == 2 else found

    return values


def _sum(
    members: list[Any],
    values: Values,
    scale: Scale,
    *,
    base: "Array | None" = None,
    divisor: float = 1.0,
    columns: "Array | None" = None,
) -> Trees:
    """The trees of fitted decision trees; `columns` are the features that they number."""
    import numpy as np

    parts = []
    for member in members:
        found, added = member.tree_, values(member)
        leaf = found.children_left < 0
        feature = np.where(leaf, 0, found.feature)
        feature = feature if columns is None else np.asarray(columns)[feature]
        parts.append(
            Trees(
                feature=np.where(leaf, -1, feature),
                threshold=found.threshold,
                left=found.children_left,
                right=found.children_right,
                missing_left=found.missing_go_to_left.astype(bool),
                cover=found.weighted_n_node_samples,
                value=added,
                roots=np.array([0]),
                base=np.zeros(added.shape[1]) if base is None else base,
                scale=scale,
                below=trees.in_single,
                divisor=divisor,
            )
        )
    return trees.stacked(parts)
