"""An experiment: the header and the six sections of one YAML file."""

from pathlib import Path

from pydantic import Field, PrivateAttr, field_validator, model_validator

from mlops_assets.deployment.spec import DeploymentSpec
from mlops_assets.experiment.spec import Spec, digest_of
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.modeling.tasks import METRICS, PRIMARY, MetricName, metrics_for
from mlops_assets.monitoring.spec import LabelsSpec, MonitoringSpec
from mlops_assets.registry.spec import PromotionSpec, RegistrySpec
from mlops_assets.serving.bundle import Task
from mlops_assets.training.spec import TrainingSpec
from mlops_assets.tuning.spec import TuningSpec

RESERVED_NAMES = frozenset({"all", "default"})


class Experiment(Spec):
    """One experiment, from data to a monitored endpoint."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Prefix of every asset and name of the registered model: lower case, digits, underscores."""
    description: str
    """What is predicted and why, in a sentence: the text people see in the UI."""
    owner: str = Field(pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")
    """`team:name` or an e-mail address."""
    task: Task
    """What kind of prediction."""
    features: FeaturesSpec
    tuning: TuningSpec = Field(default_factory=TuningSpec)
    training: TrainingSpec
    registry: RegistrySpec = Field(default_factory=RegistrySpec)
    deployment: DeploymentSpec
    monitoring: MonitoringSpec = Field(default_factory=MonitoringSpec)

    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The YAML this experiment was read from."""
        return self._path

    @property
    def metric(self) -> MetricName:
        """What tuning optimises."""
        return self.tuning.metric or PRIMARY[self.task]

    @property
    def promotion(self) -> PromotionSpec:
        """What a model must show, with every default filled in."""
        return self.registry.promotion.resolved(self.metric)

    @property
    def model_name(self) -> str:
        """Name in the MLflow registry."""
        return self.registry.model_name or self.name

    def recipe(self) -> str:
        """Fingerprint of all that decides which version comes of given rows. Where they are read
        is no part of it, nor when, nor what is done with the version."""
        return digest_of(
            {
                "task": self.task,
                "features": self.features.model_dump(mode="json", exclude={"source"}),
                "tuning": self.tuning.model_dump(mode="json", exclude={"workers"}),
                "training": self.training.fingerprint(),
                "registry": self.registry.fingerprint(),
            }
        )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"{value!r} is reserved; choose another name")
        if "__" in value:
            raise ValueError("two underscores in a row separate names; use one")
        return value

    @model_validator(mode="after")
    def _check_metrics_fit_task(self) -> "Experiment":
        asked = {
            "tuning.metric": (self.tuning.metric,),
            "monitoring.quality.metric": (self.monitoring.quality.metric,),
            "registry.promotion.metrics": tuple(self.registry.promotion.metrics),
            "registry.promotion.slices.metrics": tuple(self.registry.promotion.slices.metrics),
        }
        for key, names in asked.items():
            for name in names:
                if name is not None and self.task not in METRICS[name].tasks:
                    raise ValueError(
                        f"{key}: {name!r} does not fit the task {self.task}; "
                        f"allowed: {', '.join(metrics_for(self.task))}"
                    )
        return self

    @model_validator(mode="after")
    def _check_promotion_can_be_judged(self) -> "Experiment":
        asked = self.registry.promotion
        if asked.slices.metrics and not self.training.slices:
            raise ValueError(
                "registry.promotion.slices.metrics judges the columns of training.slices, which "
                "names none"
            )
        if asked.budgets.calibration_error is not None and self.task == "regression":
            raise ValueError(
                "registry.promotion.budgets.calibration_error is of probabilities; a regression "
                "has none"
            )
        return self

    @model_validator(mode="after")
    def _check_parameters_are_set_once(self) -> "Experiment":
        if twice := sorted(set(self.tuning.search_space) & set(self.training.parameters)):
            raise ValueError(
                f"{', '.join(twice)} stands both in tuning.search_space and training.parameters"
            )
        return self

    @model_validator(mode="after")
    def _check_shadow_has_rows(self) -> "Experiment":
        rows = self.monitoring.prediction_log
        if self.deployment.shadow is not None and (rows is None or rows.columns is not None):
            raise ValueError(
                "deployment.shadow scores what the prediction log keeps: set "
                "monitoring.prediction_log, without columns"
            )
        return self

    @property
    def labels(self) -> LabelsSpec | None:
        """Where the labels of logged predictions are read, with every default filled in; None where
        no rows are logged, or nothing says to which of them a label belongs."""
        features, asked = self.features, self.monitoring.labels
        if self.monitoring.prediction_log is None:
            return None
        if asked is None and not (features.entity and features.event_time):
            return None
        spec = asked or LabelsSpec()
        return spec.model_copy(
            update={
                "source": spec.source or features.source,
                "entity": spec.entity or features.entity,
                "event_time": spec.event_time or features.event_time,
                "label_time": spec.label_time or (None if spec.source else features.label_time),
                "target": spec.target or features.target,
            }
        )

    @model_validator(mode="after")
    def _check_labels_can_be_joined(self) -> "Experiment":
        labels = self.labels
        if labels is None or labels.by == "request":
            return self
        for role in ("entity", "event_time"):
            if getattr(labels, role) is None:
                raise ValueError(
                    f"monitoring.labels by entity needs {role}: name its column in "
                    f"features.{role} or monitoring.labels.{role}, or join by: request"
                )
        return self

    @model_validator(mode="after")
    def _check_expectations_are_of_features(self) -> "Experiment":
        if never := sorted(set(self.monitoring.expectations) & set(self.features.roles)):
            raise ValueError(
                f"monitoring.expectations: {never[0]!r} is never a feature (features.exclude or "
                "a role of its own); name columns that the model is asked with"
            )
        return self

    @model_validator(mode="after")
    def _check_positive(self) -> "Experiment":
        if self.features.positive is not None and self.task != "binary_classification":
            raise ValueError("features.positive is for binary_classification only")
        return self
