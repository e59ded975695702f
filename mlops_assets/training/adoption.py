"""A version that somebody else registered, made one of ours: loaded without running its code, held
to the experiment's columns and classes, and refused with the reason when it does not fit.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import TrainingSet
from mlops_assets.gateways.registered import RegistryVersion
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import InputSchema
from mlops_assets.training.candidate import Model
from mlops_assets.training.fitting import Fitted

THRESHOLD = "mlops.threshold"
"""The tag by which whoever registers a binary classifier may say its decision threshold."""
USUAL_THRESHOLD = 0.5
"""What scikit-learn's own `predict` decides by."""


class AdoptionError(Exception):
    """The version cannot be made one of this experiment."""


def adopt(
    experiment: Experiment, training_set: TrainingSet, number: int, *, registry: ModelRegistry
) -> Model:
    """The model of version `number`.

    Raises:
        AdoptionError: it is no scikit-learn model in a format that is safe to load, or reads other
            columns, or predicts other classes than the experiment.
        BundleError: it is made of types that are not loaded here.
        RegistryError: MLflow does not answer, or the version has gone.
    """
    version = registry.version(experiment.model_name, number)
    uri = f"models:/{version.name}/{number}"
    with TemporaryDirectory() as folder:
        estimator = _load(registry.download(uri, Path(folder)))
    _check_task(estimator, experiment.task, training_set.classes)
    return Model(
        fitted=Fitted(estimator, _threshold(version, experiment.task)),
        schema=_schema(estimator, training_set),
        estimator=f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        parameters={},
        origin=f"version {number}, registered by somebody else"
        + (f" from run {version.run_id}" if version.run_id else ""),
        tags={"mlops.adopts": str(number)},
        uri=uri,
    )


def _load(folder: Path) -> Any:
    import yaml

    from mlops_assets.serving.runtimes import sklearn as runtime

    described = folder / "MLmodel"
    if not described.is_file():
        raise AdoptionError("it is no model that MLflow logged: there is no file MLmodel")
    flavors = yaml.safe_load(described.read_text(encoding="utf-8")).get("flavors", {})
    if "sklearn" not in flavors:
        raise AdoptionError(
            f"it has the flavors {', '.join(sorted(flavors)) or 'none'}; log it with mlflow.sklearn"
        )
    flavor = flavors["sklearn"]
    stored = flavor.get("serialization_format", "pickle")
    if stored != "skops":
        raise AdoptionError(
            f"it is stored as {stored}, which runs code when it is loaded; log it with "
            "mlflow.sklearn.log_model(..., serialization_format='skops')"
        )
    return runtime.read(folder / Path(flavor["pickled_model"]).name)


def _check_task(estimator: Any, task: Task, classes: tuple[Any, ...]) -> None:
    name = type(estimator).__name__
    if task == "regression":
        if hasattr(estimator, "classes_") or not hasattr(estimator, "predict"):
            raise AdoptionError(f"a {name} predicts no number, and the task is regression")
        return
    if not hasattr(estimator, "predict_proba"):
        raise AdoptionError(f"a {name} gives no probabilities: calibrate it, or take another")
    found = [_plain(label) for label in estimator.classes_]
    if found not in ([*classes], [*range(len(classes))]):
        raise AdoptionError(
            f"it predicts {found}; the experiment's classes are {[*classes]}, in this order, or "
            "their numbers from 0"
        )


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _threshold(version: RegistryVersion, task: Task) -> float | None:
    if task != "binary_classification":
        return None
    text = version.tags.get(THRESHOLD)
    if text is None:
        return USUAL_THRESHOLD
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise AdoptionError(f"its tag {THRESHOLD} is {text!r}; a number between 0 and 1 is wanted")
    return value


def _schema(estimator: Any, training_set: TrainingSet) -> InputSchema:
    ours = {c.name: c for c in InputSchema.from_json(list(training_set.schema)).columns}
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        raise AdoptionError(
            "it was fitted on an array; fit it on a DataFrame, whose names it keeps"
        )
    if unknown := [name for name in names if name not in ours]:
        raise AdoptionError(
            f"it reads {', '.join(map(str, unknown))}; the experiment's features are "
            f"{', '.join(ours)}"
        )
    return InputSchema(tuple(ours[name] for name in names))
