"""The model of a run: fitted here, or made by somebody else. Knows neither bundles nor metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import TrainingSet, TunedHyperparameters
from mlops_assets.serving.schema import InputSchema
from mlops_assets.training import fitting
from mlops_assets.training.fitting import Fitted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Model:
    """A fitted estimator, and what is told of it."""

    fitted: Fitted
    schema: InputSchema
    """The columns it reads, in its order."""
    estimator: str
    """Its import path."""
    parameters: dict[str, Any]
    origin: str
    """Where it came from, in words."""
    tags: Mapping[str, str]
    """Of its MLflow run."""
    uri: str = ""
    """MLflow's URI of the logged model; empty while it is not logged."""


def fit(
    experiment: Experiment,
    training_set: TrainingSet,
    tuned: TunedHyperparameters,
    train: "pd.DataFrame",
) -> Model:
    """The experiment's own estimator, fitted on the training rows with the tuned parameters.

    Raises:
        EstimatorError: unknown estimator or parameter.
        FittingError: these rows do not fit it.
    """
    spec = experiment.training
    parameters = {**spec.parameters, **tuned.parameters}
    schema = InputSchema.from_json(list(training_set.schema))
    fitted = fitting.fit(
        train,
        spec=spec,
        task=experiment.task,
        schema=schema,
        parameters=parameters,
        ordered=training_set.ordered,
        seed=experiment.tuning.seed,
    )
    return Model(
        fitted=fitted,
        schema=schema,
        estimator=spec.estimator,
        parameters=parameters,
        origin=f"fitted here, with the parameters of the study {tuned.study}",
        tags={"mlops.study": tuned.study},
    )


def log(model: Model, train: "pd.DataFrame", registry: ModelRegistry, run_id: str) -> str:
    """Log the estimator to its MLflow run; return its URI."""
    from mlflow.models import infer_signature

    from mlops_assets.serving.runtimes.sklearn import TRUSTED

    estimator = model.fitted.estimator
    example = train[[*model.schema.names]].head(5)
    answer = getattr(estimator, "predict_proba", estimator.predict)(example)
    return registry.log_model(
        run_id,
        estimator,
        example=example,
        signature=infer_signature(example, answer),
        trusted=list(TRUSTED),
        requirements=[f"{name}=={version(name)}" for name in ("scikit-learn", "numpy", "pandas")],
    )
