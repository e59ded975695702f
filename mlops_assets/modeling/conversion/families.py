"""Each family of estimators as nodes of a graph: what its methods would answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.conversion import (
    lightgbm,
    linear,
    links,
    refusal,
    scikit_trees,
    tree_graph,
    trees,
    xgboost,
)
from mlops_assets.modeling.conversion.features import Feature
from mlops_assets.modeling.conversion.graph import Graph
from mlops_assets.modeling.conversion.refusal import ConversionError
from mlops_assets.modeling.conversion.trees import Trees
from mlops_assets.serving.encoding import INPUT
from mlops_assets.serving.ensemble import LinearModel, Scale, TreeEnsemble

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Answer:
    """Names of what an estimator says of the rows of the input."""

    sums: str
    """(n, outputs): what the model sums; `decision_function` of a classifier that has one."""
    final: str
    """(n, classes) probabilities, or (n, 1) values; of a classifier without probabilities the sums.
    """
    explained: TreeEnsemble | LinearModel | None


@dataclass(frozen=True)
class Fitted:
    """An estimator to be written."""

    estimator: Any
    features: list[Feature]
    classes: int
    """How many; 0 for regression."""
    mean: Callable[[], "Array"]
    """(features,) mean of the encoded training rows."""


def write(graph: Graph, fitted: Fitted) -> Answer:
    """Add the nodes that compute what the estimator does.

    Raises:
        ConversionError: it is of no family that converts.
    """
    refusal.check(fitted.estimator)
    name = type(fitted.estimator).__name__
    if name in (*refusal.LINEAR_CLASSIFIERS, *refusal.LINEAR_REGRESSORS):
        return _linear(graph, fitted)
    if name.startswith("MLP"):
        return _perceptron(graph, fitted)
    if name.startswith("LGBM"):
        return _lightgbm(graph, fitted)
    if name.startswith("XGB"):
        return _xgboost(graph, fitted)
    return _scikit_trees(graph, fitted, name)


def _linear(graph: Graph, fitted: Fitted) -> Answer:
    estimator, classes = fitted.estimator, fitted.classes
    name = type(estimator).__name__
    loss = getattr(estimator, "loss", None)
    logistic = name.startswith(("LogisticRegression", "LinearDiscriminant")) or loss == "log_loss"
    link = getattr(getattr(estimator, "_base_loss", None), "link", None)
    logarithm = type(link).__name__ == "LogLink"
    scale: Scale = "log_value" if logarithm else "value"
    if classes:
        scale = "log_odds" if logistic else "score"
    model = linear.read(estimator, fitted.features, fitted.mean(), scale)
    sums = linear.write(graph, model, fitted.features)
    final = graph.op("Exp", sums) if logarithm else sums
    if classes and name == "SGDClassifier":
        final = _stochastic(graph, sums, loss, classes)
    elif logistic:
        final = links.from_log_odds(graph, sums, classes)
    return Answer(sums, final, model)


def _stochastic(graph: Graph, sums: str, loss: str | None, classes: int) -> str:
    """Probabilities of SGDClassifier: one-versus-rest, by its loss."""
    if loss == "log_loss":
        shares = links.expit(graph, sums)
    elif loss == "modified_huber":
        clipped = graph.op("Min", graph.op("Max", sums, links.one(-1.0)), links.one())
        shares = graph.op("Div", graph.op("Add", clipped, links.one()), links.one(2.0))
    else:
        return sums
    return links.two(graph, shares) if classes == 2 else links.normalised(graph, shares, classes)


def _perceptron(graph: Graph, fitted: Fitted) -> Answer:
    sums = linear.perceptron(graph, fitted.estimator, fitted.features)
    if fitted.classes:
        return Answer(sums, links.from_log_odds(graph, sums, fitted.classes), None)
    exponential = fitted.estimator.out_activation_ == "exp"
    return Answer(sums, graph.op("Exp", sums) if exponential else sums, None)


def _lightgbm(graph: Graph, fitted: Fitted) -> Answer:
    objective = lightgbm.objective(fitted.estimator)
    name = objective["name"]
    scale: Scale = "value"
    if fitted.classes:
        scale = "log_odds"
    elif name in ("poisson", "gamma", "tweedie"):
        scale = "log_value"
    elif "sqrt" in objective:
        scale = "score"
    sums, explained = _sum(graph, fitted, lightgbm.read(fitted.estimator, scale))
    if name in ("binary", "multiclassova", "cross_entropy"):
        slope = links.one(float(objective.get("sigmoid", 1.0)))
        shares = links.expit(graph, graph.op("Mul", sums, slope))
        return Answer(sums, links.two(graph, shares) if fitted.classes == 2 else shares, explained)
    if name == "multiclass":
        return Answer(sums, links.softmax(graph, sums), explained)
    if fitted.classes:
        raise ConversionError(f"LightGBM's objective {name} does not become an ONNX graph")
    if scale == "log_value":
        return Answer(sums, graph.op("Exp", sums), explained)
    return Answer(sums, links.squared(graph, sums) if "sqrt" in objective else sums, explained)


_XGBOOST: dict[str, Scale] = {
    "binary:logistic": "log_odds",
    "multi:softprob": "log_odds",
    "reg:logistic": "log_odds",
    "count:poisson": "log_value",
    "reg:gamma": "log_value",
    "reg:tweedie": "log_value",
    "reg:absoluteerror": "value",
    "reg:pseudohubererror": "value",
    "reg:quantileerror": "value",
    "reg:squarederror": "value",
    "reg:squaredlogerror": "value",
}


def _xgboost(graph: Graph, fitted: Fitted) -> Answer:
    name = xgboost.objective(fitted.estimator)
    if name not in _XGBOOST:
        raise ConversionError(f"XGBoost's objective {name} does not become an ONNX graph")
    scale = _XGBOOST[name]
    sums, explained = _sum(graph, fitted, xgboost.read(fitted.estimator, scale))
    if name == "multi:softprob":
        return Answer(sums, links.softmax_single(graph, sums), explained)
    if name.endswith(":logistic"):
        positive = links.expit_single(graph, sums)
        final = links.two_single(graph, positive) if fitted.classes else positive
        return Answer(sums, final, explained)
    return Answer(sums, links.exp_single(graph, sums) if scale == "log_value" else sums, explained)


def _scikit_trees(graph: Graph, fitted: Fitted, name: str) -> Answer:
    estimator, classes = fitted.estimator, fitted.classes
    if name.startswith(("GradientBoosting", "HistGradientBoosting")):
        return _boosting(graph, fitted, histogram=name.startswith("Hist"))
    if name == "AdaBoostClassifier":
        sums, explained = _sum(graph, fitted, scikit_trees.adaboost(estimator, classes))
        if classes == 2:
            # softmax of (-d/2, d/2) is what the logistic function makes of d.
            return Answer(sums, links.two(graph, links.expit(graph, sums)), explained)
        share = graph.op("Div", sums, links.one(float(classes - 1)))
        return Answer(sums, links.softmax(graph, share), explained)
    if name.startswith("Bagging"):
        found = scikit_trees.bagging(estimator, classes)
    elif hasattr(estimator, "estimators_"):
        found = scikit_trees.forest(estimator, classes)
    else:
        found = scikit_trees.tree(estimator, classes)
    sums, explained = _sum(graph, fitted, found)
    return Answer(sums, links.two(graph, sums) if classes == 2 else sums, explained)


def _boosting(graph: Graph, fitted: Fitted, *, histogram: bool) -> Answer:
    estimator, classes = fitted.estimator, fitted.classes
    logarithm = type(estimator._loss.link).__name__ == "LogLink"
    exponential = estimator.loss == "exponential"
    scale: Scale = "log_value" if logarithm else "value"
    if classes:
        scale = "score" if exponential else "log_odds"
    reader = scikit_trees.histogram if histogram else scikit_trees.gradient_boosting
    sums, explained = _sum(graph, fitted, reader(estimator, scale))
    if classes:
        odds = graph.op("Mul", sums, links.one(2.0)) if exponential else sums
        return Answer(sums, links.from_log_odds(graph, odds, classes), explained)
    return Answer(sums, graph.op("Exp", sums) if logarithm else sums, explained)


def _sum(graph: Graph, fitted: Fitted, found: Trees) -> tuple[str, TreeEnsemble]:
    """The sum of the trees, and the trees whose plain sum it is."""
    folded = trees.fold(found, fitted.features)
    name = tree_graph.write(
        graph, INPUT, folded, divisor=found.divisor, sums_single=found.sums_single
    )
    return name, replace(folded, value=folded.value / found.divisor)
