"""The scikit-learn pipeline of an experiment: preprocessing and estimator, one object, so that
training and serving transform alike. Knows the schema, not where data comes from."""

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.threads import threads_for
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import Column, InputSchema

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

SCALED_FAMILIES = (
    "sklearn.cross_decomposition",
    "sklearn.discriminant_analysis",
    "sklearn.gaussian_process",
    "sklearn.kernel_ridge",
    "sklearn.linear_model",
    "sklearn.naive_bayes",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "sklearn.svm",
)
"""Estimators that compare distances or coefficients: they need scaled, one-hot columns."""


class EstimatorError(Exception):
    """The estimator of the YAML does not exist, does not fit the task, or refuses a parameter."""


def estimator_class(path: str, task: Task) -> type[Any]:
    """The class an import path names.

    Raises:
        EstimatorError: nothing of that name is there, or it is not an estimator of the task.
    """
    from sklearn.base import BaseEstimator, is_classifier, is_regressor

    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise EstimatorError(_not_importable(path, module_name, error)) from error
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        raise EstimatorError(f"{module_name} has no class {class_name}{_near(class_name, module)}")
    if not issubclass(found, BaseEstimator):
        raise EstimatorError(f"{path} is not a scikit-learn estimator")
    try:
        bare = found()
    except TypeError as error:
        raise EstimatorError(
            f"{path} cannot be made from the YAML alone ({error}); name an estimator whose "
            "parameters all have defaults"
        ) from error
    fits = is_regressor(bare) if task == "regression" else is_classifier(bare)
    if not fits:
        wanted = "regressor" if task == "regression" else "classifier"
        raise EstimatorError(f"{path} is no {wanted}, which the task {task} needs")
    return found


def fitted(
    estimator: str,
    rows: "pd.DataFrame",
    truth: Any,
    *,
    task: Task,
    parameters: dict[str, Any],
    seed: int,
) -> "Pipeline":
    """A pipeline fitted to rows of which no YAML speaks.

    Args:
        estimator: its import path.
        rows: as `schema_of` has them.
        truth: (rows,) what is to be learned.
        task: of the estimator.
        parameters: of the estimator.
        seed: of the estimator.
    """
    model = build(estimator, task=task, schema=schema_of(rows), parameters=parameters, seed=seed)
    with threads_for(len(rows)):
        return model.fit(rows, truth)


def schema_of(rows: "pd.DataFrame") -> InputSchema:
    """Of rows whose numbers and truths are floats, and whose words are str or None."""
    import pandas as pd

    return InputSchema(
        tuple(
            Column(
                str(name),
                "numeric" if pd.api.types.is_numeric_dtype(rows[name]) else "categorical",
                nullable=True,
            )
            for name in rows.columns
        )
    )


def build(
    path: str,
    *,
    task: Task,
    schema: InputSchema,
    parameters: dict[str, Any],
    numeric: str = "auto",
    categorical: str = "auto",
    seed: int = 0,
) -> "Pipeline":
    """An unfitted pipeline over a frame of the schema's columns.

    Args:
        path: import path of the estimator.
        task: the prediction task the estimator must fit.
        schema: the input columns; numeric and boolean ones are float64 with NaN for missing,
            categorical ones objects of str with None for missing.
        parameters: of the estimator.
        numeric: `auto`, `passthrough`, `impute` or `standardize`.
        categorical: `auto`, `onehot` or `ordinal`.
        seed: `random_state` of an estimator that has one and was not given one.

    Raises:
        EstimatorError: unknown estimator or parameter.
    """
    from sklearn.pipeline import Pipeline

    estimator = _instantiate(path, task, parameters, seed)
    scaled = path.startswith(SCALED_FAMILIES)
    takes_missing = estimator.__sklearn_tags__().input_tags.allow_nan
    if numeric == "auto":
        numeric = "standardize" if scaled else "passthrough" if takes_missing else "impute"
    if categorical == "auto":
        categorical = "onehot" if scaled else "ordinal"
    columns = _transformer(schema, numeric, categorical, takes_missing=takes_missing)
    return Pipeline([("columns", columns), ("estimator", estimator)])


def _instantiate(path: str, task: Task, parameters: dict[str, Any], seed: int) -> Any:
    found = estimator_class(path, task)
    accepted = found().get_params()
    open_ended = any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in inspect.signature(found).parameters.values()
    )
    if not open_ended and (unknown := sorted(set(parameters) - set(accepted))):
        raise EstimatorError(
            f"{path} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(accepted))}"
        )
    seeded = {"random_state": seed} if "random_state" in accepted else {}
    return found(**{**seeded, **parameters})


def _transformer(
    schema: InputSchema, numeric: str, categorical: str, *, takes_missing: bool
) -> "ColumnTransformer":
    from sklearn.compose import ColumnTransformer

    numbers = [c.name for c in schema.columns if c.type != "categorical"]
    words = [c.name for c in schema.columns if c.type == "categorical"]
    steps = [
        ("numeric", _numeric(numeric), numbers),
        ("categorical", _categorical(categorical, takes_missing=takes_missing), words),
    ]
    return ColumnTransformer([step for step in steps if step[2]], verbose_feature_names_out=False)


def _numeric(choice: str) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if choice == "passthrough":
        return "passthrough"
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(imputer, StandardScaler()) if choice == "standardize" else imputer


def _categorical(choice: str, *, takes_missing: bool) -> Any:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    if choice == "onehot":
        return OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    # To the encoder None is a category like others, numbered last where training met it.
    unknown = float("nan") if takes_missing else -1
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=unknown)


def _not_importable(path: str, module: str, error: ModuleNotFoundError) -> str:
    package = path.split(".", maxsplit=1)[0]
    if error.name == package:
        return f"{path}: {package} is not installed (pip install 'mlops-assets[{package}]')"
    return f"{path}: there is no module {module}"


def _near(name: str, module: Any) -> str:
    import difflib

    classes = [n for n, _ in inspect.getmembers(module, inspect.isclass)]
    near = difflib.get_close_matches(name, classes, n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""
