"""Executes scikit-learn pipelines stored with skops. Which types may load stands in this file.

Nothing is unpickled, and the artifact has no say in what is trusted. The allow-list keeps out
types that run code when built; it does not make hostile tree arrays safe to predict with, which
is why a bundle is verified against the digest that was registered before it is loaded.
"""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.bundle import BundleError, Manifest
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
)
"""Types beyond those skops itself trusts: state of fitted estimators, found by saving every
estimator of scikit-learn and the boosting libraries. None calls what it is given."""


def frame(schema: InputSchema, columns: dict[str, list[Any]]) -> "pd.DataFrame":
    """The (n, columns) table a pipeline is fitted on and asked with, in the schema's order.

    Numeric and boolean columns are float64 with NaN for missing; categorical ones are objects,
    str with None for missing.
    """
    import numpy as np
    import pandas as pd

    table: dict[str, Any] = {}
    for column in schema.columns:
        values = columns[column.name]
        if column.type == "categorical":
            data = np.empty(len(values), dtype=object)
            data[:] = values
            table[column.name] = data
        else:
            table[column.name] = np.array(values, dtype=np.float64)
    return pd.DataFrame(table, columns=list(schema.names))


def load(
    folder: Path, manifest: Manifest
) -> Callable[[dict[str, list[Any]]], "np.ndarray[Any, Any]"]:
    """The model of a verified bundle as a function of columns.

    It gives (n, classes) probabilities for classification, (n,) values for regression.

    Raises:
        BundleError: the file is not skops, needs types that are not trusted, or does not fit the
            manifest.
    """
    path = folder / manifest.model_file
    model = read(path)
    method = "predict" if manifest.task == "regression" else "predict_proba"
    if not hasattr(model, method):
        raise BundleError(f"{path} holds a {type(model).__name__}, which has no {method}")
    if manifest.task != "regression":
        found = len(getattr(model, "classes_", ()))
        if found != len(manifest.classes):
            raise BundleError(
                f"{path} knows {found} classes, the manifest names {len(manifest.classes)}"
            )
    predict = getattr(model, method)
    schema = manifest.schema

    def execute(columns: dict[str, list[Any]]) -> "np.ndarray[Any, Any]":
        import numpy as np

        answer = np.asarray(predict(frame(schema, columns)), dtype=np.float64)
        return answer.reshape(-1) if manifest.task == "regression" else answer

    return execute


def read(path: Path) -> Any:
    """The estimator that was stored with skops in `path`.

    Raises:
        BundleError: the file is not skops, needs types that are not trusted, or does not load.
    """
    import skops.io

    _check_types(path)
    try:
        return skops.io.load(path, trusted=list(TRUSTED))
    except ImportError as error:
        raise BundleError(f"{path.name} needs a library that is not installed: {error}") from error
    except Exception as error:  # as in _check_types
        raise BundleError(f"{path.name} cannot be loaded: {error!r}") from error


def save(estimator: Any, path: Path) -> None:
    """Write a fitted estimator as skops to `path`, if an endpoint would load it.

    Raises:
        BundleError: skops cannot write it, or an endpoint would refuse its types.
    """
    import skops.io

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            skops.io.dump(estimator, temporary)
        except Exception as error:  # skops raises whatever an estimator's state provokes
            raise BundleError(f"{_names(estimator)} cannot be written as skops: {error}") from error
        try:
            _check_types(temporary)
        except BundleError as error:
            raise BundleError(f"an endpoint would refuse {_names(estimator)}: {error}") from error
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_types(path: Path) -> None:
    import skops.io

    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path.name} is not a skops archive; an endpoint loads nothing else")
    try:
        untrusted = skops.io.get_untrusted_types(file=path)
    except Exception as error:  # the file is not trusted: whatever it provokes is a refusal
        raise BundleError(f"{path.name} is not a readable skops archive: {error!r}") from error
    if refused := sorted(set(untrusted) - set(TRUSTED)):
        raise BundleError(
            f"{path.name} needs types that an endpoint does not load: {', '.join(refused)}; "
            "use estimators of scikit-learn, LightGBM or XGBoost without custom functions"
        )


def _names(estimator: Any) -> str:
    steps = [step for _, step in getattr(estimator, "steps", [])]
    return " with ".join(
        f"{type(e).__module__}.{type(e).__qualname__}" for e in [estimator, *steps]
    )
