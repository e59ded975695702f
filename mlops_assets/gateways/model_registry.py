"""MLflow behind our own words: the store, its runs, registered versions and aliases.

Knows no stage and no Dagster. What is written to a run stands in `run_log`, to a model in `marks`.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from mlops_assets.gateways.marks import Marks
from mlops_assets.gateways.registered import (
    AbsentError,
    RefusedError,
    RegisteredModel,
    RegistryError,
    RegistryVersion,
    model_from,
    version_from,
)
from mlops_assets.gateways.run_log import RunLog
from mlops_assets.gateways.tracking_uri import refused, shown, unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "CHALLENGER", "CHAMPION", "AbsentError", "ModelRegistry", "RefusedError", "RegistryError",
]  # fmt: skip

CHAMPION = "champion"
CHALLENGER = "challenger"

_MAKING = threading.RLock()
"""Held while something is looked for and made: threads of one process make one of it."""


class ModelRegistry(RunLog, Marks):
    """One MLflow store: a local database or a server."""

    def __init__(self, tracking_uri: str, artifacts_url: str, ui_url: str) -> None:
        self.tracking_uri = tracking_uri
        self._artifacts_url = artifacts_url
        self._ui_url = ui_url
        self._client: MlflowClient | None = None
        self._experiment_of: dict[str, str] = {}

    def check(self) -> None:
        """Find out within seconds whether the server is there.

        Raises:
            RegistryError: nothing listens where the tracking URI points, or a database there lets
                nobody in.
        """
        uri = self.tracking_uri
        trouble = unreachable(uri)
        if not trouble and self._client is None:
            trouble = refused(uri)
        if trouble:
            raise RegistryError(
                f"MLflow does not answer at {shown(uri)} ({trouble}): start it, or "
                "correct MLFLOW_TRACKING_URI (unset, a local database is used)"
            )

    @property
    def client(self) -> "MlflowClient":
        with _MAKING:
            if self._client is None:
                self.check()
                _quieten()
                from mlflow import MlflowClient

                path = self.tracking_uri.removeprefix("sqlite:///")
                if path != self.tracking_uri:
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._client = MlflowClient(self.tracking_uri, self.tracking_uri)
        return self._client

    def experiment_id(self, name: str) -> str:
        """The MLflow experiment of that name, made when there is none."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                raise RegistryError(
                    f"the MLflow experiment {name} is deleted: restore it in MLflow"
                )
            return str(found.experiment_id)
        served = self.tracking_uri.startswith("http")
        location = None if served else f"{self._artifacts_url}/{name}"
        try:
            return str(self.client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another process made it in between: then it is there now.
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def run_for(self, experiment: str, tag: str, value: str, *, name: str) -> str:
        """The run tagged `tag=value`, made when there is none; of several, the oldest.

        Threads of one process always agree. Processes that ask within the same moment may make
        two, of which all who ask later get the oldest.
        """
        experiment_id = self.experiment_id(experiment)
        with _MAKING:
            if not (found := self._tagged(experiment_id, tag, value)):
                mine = self.client.create_run(experiment_id, run_name=name, tags={tag: value})
                found = self._tagged(experiment_id, tag, value)
                if found[0] != mine.info.run_id:
                    self.client.delete_run(mine.info.run_id)
        return found[0]

    def _tagged(self, experiment_id: str, tag: str, value: str) -> list[str]:
        runs = self.client.search_runs([experiment_id], f"tags.`{tag}` = '{value}'")
        return [
            r.info.run_id for r in sorted(runs, key=lambda r: (r.info.start_time, r.info.run_id))
        ]

    @contextmanager
    def writing(self, run_id: str) -> Iterator[None]:
        """The run is RUNNING inside, and ends FINISHED, FAILED (an error) or KILLED (interrupted)
        as the block does."""
        self.client.update_run(run_id, status="RUNNING")
        try:
            yield
        except Exception:
            self.client.set_terminated(run_id, "FAILED")
            raise
        except BaseException:
            # Control-C, and what Dagster raises when a run is terminated.
            self.client.set_terminated(run_id, "KILLED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def run_url(self, run_id: str) -> str:
        """Where people see the run."""
        return f"{self._ui_url}/#/experiments/{self.experiment_id_of(run_id)}/runs/{run_id}"

    def experiment_id_of(self, run_id: str) -> str:
        if run_id not in self._experiment_of:
            self._experiment_of[run_id] = str(self.client.get_run(run_id).info.experiment_id)
        return self._experiment_of[run_id]

    def artifact_url(self, run_id: str, path: str) -> str:
        """Where browsers get an artifact of the run."""
        return f"{self._ui_url}/get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"

    def version_url(self, name: str, version: int) -> str:
        """Where people see the version."""
        return f"{self._ui_url}/#/models/{name}/versions/{version}"

    def metrics(self, run_id: str) -> dict[str, float]:
        return dict(self.client.get_run(run_id).data.metrics)

    def download(self, uri: str, folder: Path) -> Path:
        """Copy the artifacts behind `runs:/...` or `models:/...` into `folder`; return where."""
        self.check()
        _quieten()
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            # The store is passed, and yet asked of the process where the URI is of a model.
            with self._global():
                path = mlflow.artifacts.download_artifacts(
                    artifact_uri=uri, dst_path=str(folder), tracking_uri=self.tracking_uri
                )
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{uri} cannot be fetched from MLflow: {error}") from error
        return Path(path)

    def register(self, name: str, *, source: str, run_id: str, tags: Mapping[str, str]) -> int:
        """A new version of the registered model `name`; return its number."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # MLflow's server takes the URI of a logged model only with the model's id beside it.
        logged = source.removeprefix("models:/") if source.startswith("models:/m-") else None
        # A local store looks the logged model up in the store of the process, not in its own.
        with self._global():
            version = self.client.create_model_version(
                name, source, run_id, tags=dict(tags), model_id=logged
            )
        return int(version.version)

    def version_of_run(self, name: str, run_id: str) -> RegistryVersion | None:
        """The version registered from a run, so that registering twice makes one version."""
        found = self.client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        return version_from(found[0]) if found else None

    def version(self, name: str, number: int) -> RegistryVersion:
        """One version.

        Raises:
            AbsentError: there is none of that number.
            RegistryError: MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            return version_from(self.client.get_model_version(name, str(number)))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise AbsentError(f"MLflow holds no version {number} of {name}") from error
            raise RegistryError(
                f"MLflow cannot answer about version {number} of {name}: {error}"
            ) from error

    def aliases(self, name: str) -> dict[str, int]:
        """Version numbers by alias; empty when nothing is registered under the name."""
        model = self.model(name)
        return {} if model is None else dict(model.aliases)

    def model(self, name: str) -> RegisteredModel | None:
        """A registered model; None when nothing is registered under the name.

        Raises:
            RegistryError: MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            return model_from(self.client.get_registered_model(name))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise RegistryError(f"MLflow cannot answer about {name}: {error}") from error

    def models(self) -> dict[str, RegisteredModel]:
        """Every registered model, in one sweep: a call for each thousand.

        Raises:
            RegistryError: MLflow does not answer.
        """
        self.check()
        from mlflow.exceptions import MlflowException

        models: dict[str, RegisteredModel] = {}
        token = None
        while True:
            try:
                page = self.client.search_registered_models(max_results=1000, page_token=token)
            except MlflowException as error:
                raise RegistryError(f"MLflow cannot list its models: {error}") from error
            models |= {found.name: model_from(found) for found in page}
            token = page.token
            if not token:
                return models

    def versions_tagged(self, tag: str, *, most: int) -> list[RegistryVersion]:
        """Up to `most` versions, of all models, that have the tag, whatever its value: one call.

        Raises:
            RegistryError: MLflow does not answer.
        """
        self.check()
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.search_model_versions(f"tags.`{tag}` LIKE '%'", max_results=most)
        except MlflowException as error:
            raise RegistryError(f"MLflow cannot search for the tag {tag}: {error}") from error
        return [version_from(one) for one in found]

    def describe_version(self, name: str, version: int, text: str) -> None:
        self.client.update_model_version(name, str(version), description=text)


def _quieten() -> None:
    """Before MLflow is imported: no telemetry, and no progress bars in the logs of runs."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
