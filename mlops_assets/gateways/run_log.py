"""What is written to an MLflow run: parameters, metrics, artifacts, data, models, trials.

Knows no stage and no Dagster. Every call names its run, because MLflow's active run and tracking
URI are global to the process; where one has to set them, it does so under a lock.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.records import Metric

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

_GLOBALS = threading.Lock()


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study, as MLflow shows it."""

    slot: int
    parameters: Mapping[str, Any]
    score: float | None
    state: str
    seconds: float
    fold_scores: tuple[float, ...]


class RunLog(ABC):
    """The runs of one MLflow store."""

    tracking_uri: str

    @property
    @abstractmethod
    def client(self) -> "MlflowClient":
        """A client of the store."""

    @abstractmethod
    def download(self, uri: str, folder: Path) -> Path:
        """Copy artifacts into `folder`; return where."""

    @abstractmethod
    def experiment_id(self, name: str) -> str:
        """The MLflow experiment of that name, made when there is none."""

    @abstractmethod
    def experiment_id_of(self, run_id: str) -> str:
        """The MLflow experiment a run belongs to."""

    def log(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric as MlflowMetric
        from mlflow.entities import Param, RunTag

        now = round(1000 * time.time())
        self.client.log_batch(
            run_id,
            metrics=[MlflowMetric(k, float(v), now, 0) for k, v in (metrics or {}).items()],
            params=[Param(k, str(v)) for k, v in (parameters or {}).items()],
            tags=[RunTag(k, v) for k, v in (tags or {}).items()],
        )

    def log_estimates(self, run_id: str, prefix: str, estimates: Mapping[str, Metric]) -> None:
        """Metrics with their interval: `test_roc_auc`, `test_roc_auc_low`, `test_roc_auc_high`."""
        flat = {}
        for name, metric in estimates.items():
            flat[f"{prefix}_{name}"] = metric.value
            flat[f"{prefix}_{name}_low"] = metric.low
            flat[f"{prefix}_{name}_high"] = metric.high
        self.log(run_id, metrics=flat)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self.client.log_text(run_id, text, path)

    def read_text(self, run_id: str, path: str) -> str | None:
        """An artifact of a run; None when it has none of that name."""
        if path not in {each.path for each in self.client.list_artifacts(run_id)}:
            return None
        with TemporaryDirectory() as folder:
            return self.download(f"runs:/{run_id}/{path}", Path(folder)).read_text("utf-8")

    def log_figure(self, run_id: str, figure: Any, path: str) -> None:
        self.client.log_figure(run_id, figure, path)

    def log_folder(self, run_id: str, folder: Path, path: str) -> str:
        """Log a folder as artifacts; return its URI."""
        self.client.log_artifacts(run_id, str(folder), path)
        return f"runs:/{run_id}/{path}"

    def log_dataset(self, run_id: str, *, name: str, digest: str, source: str, rows: int) -> None:
        """Tie the run to the data it was trained on, as an MLflow dataset input."""
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        # MLflow holds a digest of up to 36 characters; the tag carries it whole.
        data = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local" if "://" not in source else source.split("://", maxsplit=1)[0],
            source=json.dumps({"uri": source}),
            profile=json.dumps({"num_rows": rows}),
        )
        context = InputTag(key="mlflow.data.context", value="training")
        self.client.log_inputs(run_id, [DatasetInput(data, tags=[context])])
        self.log(run_id, tags={"mlops.data_digest": digest})

    def log_model(
        self,
        run_id: str,
        estimator: Any,
        *,
        example: "pd.DataFrame",
        signature: "ModelSignature",
        trusted: list[str],
        requirements: list[str],
    ) -> str:
        """Log a scikit-learn estimator without pickle; return its URI (`models:/m-...`).

        The requirements are of what is installed here, as `name==version`.
        The run's status, and what of MLflow is global to the process, stay as they were.
        """
        import logging

        import mlflow
        import mlflow.sklearn

        asked = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
        status = self.client.get_run(run_id).info.status
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
        # Nested, because an asset that uses dagster-mlflow's resource leaves its run active.
        with (
            self._global(),
            _installed_as_required(),
            mlflow.start_run(run_id=run_id, nested=True),
        ):
            info = mlflow.sklearn.log_model(
                estimator,
                name="model",
                signature=signature,
                input_example=example,
                pip_requirements=requirements,
                serialization_format="skops",
                skops_trusted_types=trusted,
                pyfunc_predict_fn=asked,
            )
        # Leaving the active run has ended it.
        self.client.update_run(run_id, status=status)
        return str(info.model_uri)

    @contextmanager
    def _global(self) -> Iterator[None]:
        """For calls of MLflow's that know no store but the process's: it is this one inside."""
        import mlflow
        from mlflow.environment_variables import MLFLOW_TRACKING_URI as VARIABLE

        with _GLOBALS:
            before, variable = mlflow.get_tracking_uri(), VARIABLE.get_raw()
            mlflow.set_tracking_uri(self.tracking_uri)
            try:
                yield
            finally:
                # MLflow also writes the environment, where settings would find it again.
                mlflow.set_tracking_uri(before)
                if variable is None:
                    VARIABLE.unset()
                else:
                    VARIABLE.set(variable)

    def log_trial(self, parent: str, study: str, trial: TrialRecord) -> None:
        """A trial that ended just now, as a child run."""
        tags = {
            "mlflow.parentRunId": parent,
            "mlops.study": study,
            "mlops.trial": "true",
            "mlops.slot": str(trial.slot),
            "mlops.state": trial.state,
        }
        run = self.client.create_run(
            self.experiment_id_of(parent),
            start_time=round(1000 * (time.time() - trial.seconds)),
            run_name=f"trial {trial.slot}",
            tags=tags,
        )
        metrics = {"seconds": trial.seconds}
        if trial.score is not None:
            metrics["score"] = trial.score
        metrics |= {f"fold_{index}": score for index, score in enumerate(trial.fold_scores)}
        self.log(run.info.run_id, parameters=trial.parameters, metrics=metrics)
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(trial.state, "FAILED")
        self.client.set_terminated(run.info.run_id, status)

    def logged_slots(self, experiment: str, study: str) -> set[int]:
        """Trials of a study that MLflow already shows."""
        experiment_id = self.experiment_id(experiment)
        wanted = f"tags.`mlops.study` = '{study}' and tags.`mlops.trial` = 'true'"
        slots: set[int] = set()
        token = None
        while True:
            page = self.client.search_runs(
                [experiment_id], wanted, max_results=1000, page_token=token
            )
            slots |= {int(run.data.tags["mlops.slot"]) for run in page}
            token = page.token
            if not token:
                return slots


@contextmanager
def _installed_as_required() -> Iterator[None]:
    """MLflow looks through every installed package for the modules it holds, to warn of
    requirements that differ from what is installed; inside, it takes their names as they are."""
    from mlflow.utils import requirements_utils

    before = requirements_utils._MODULES_TO_PACKAGES
    requirements_utils._MODULES_TO_PACKAGES = before or {}  # type: ignore[assignment]
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = before
