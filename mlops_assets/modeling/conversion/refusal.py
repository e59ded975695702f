"""Which estimators become an ONNX graph: known before anything is fitted.

`wiki/estimators.md` lists them all, with the differences that a test found.
"""

from collections.abc import Mapping
from typing import Any

from mlops_assets.modeling.pipeline import EstimatorError

LINEAR_CLASSIFIERS = (
    "LinearDiscriminantAnalysis",
    "LinearSVC",
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
)
LINEAR_REGRESSORS = (
    "ARDRegression",
    "BayesianRidge",
    "CCA",
    "ElasticNet",
    "ElasticNetCV",
    "GammaRegressor",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "LinearSVR",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PLSCanonical",
    "PLSRegression",
    "PassiveAggressiveRegressor",
    "PoissonRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
    "TweedieRegressor",
)
TREES = (
    "AdaBoostClassifier",
    "BaggingClassifier",
    "BaggingRegressor",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
)
CONVERTIBLE = {
    "sklearn": (*LINEAR_CLASSIFIERS, *LINEAR_REGRESSORS, *TREES, "MLPClassifier", "MLPRegressor"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
    "xgboost": ("XGBClassifier", "XGBRFClassifier", "XGBRFRegressor", "XGBRegressor"),
}
_PLAIN: dict[str, tuple[Any, ...]] = {
    "booster": (None, "gbtree"),
    "categorical_feature": ("auto",),
    "categorical_features": (None, "from_dtype"),
    "enable_categorical": (None, False),
    "estimator": (None,),
    "init": (None, "zero"),
    "linear_tree": (False,),
    "multi_strategy": (None, "one_output_per_tree"),
    "zero_as_missing": (False,),
}
"""Values of parameters that convert; others change how a model computes."""


class ConversionError(EstimatorError):
    """The model does not become an ONNX graph."""


def check(estimator: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Refuse an estimator that does not become an ONNX graph, fitted or not.

    Args:
        estimator: with its parameters.
        parameters: that it is yet to be given.

    Raises:
        ConversionError: it names the estimator, what converts, and the way out.
    """
    kind = type(estimator)
    package = kind.__module__.split(".", maxsplit=1)[0]
    if kind.__name__ not in CONVERTIBLE.get(package, ()):
        raise ConversionError(
            f"{package}'s {kind.__name__} does not become an ONNX graph, which training.runtime: "
            "onnx asks for; linear models, trees, forests and boosting of scikit-learn, its "
            "multilayer perceptrons, LightGBM and XGBoost do (wiki/estimators.md). Choose one of "
            "them, or set training.runtime: sklearn"
        )
    for name, value in {**estimator.get_params(deep=False), **(parameters or {})}.items():
        if name in _PLAIN and value not in _PLAIN[name]:
            raise ConversionError(
                f"{kind.__name__} with {name}={value!r} does not become an ONNX graph: leave "
                f"{name} out, or set training.runtime: sklearn"
            )
