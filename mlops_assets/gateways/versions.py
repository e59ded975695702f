"""The past of one registered model in MLflow: every version and run, and how they are removed.

Knows no policy. Each removal may be repeated, at whatever point the one before was ended.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.registered import RegistryVersion, version_from

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 1000
GONE = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class RunRecord:
    """What of a run tells whether it is still needed."""

    run_id: str
    status: str
    """As MLflow writes it: `RUNNING`, `FINISHED`, `FAILED`, ..."""
    tags: dict[str, str]
    parameters: dict[str, str]
    """As text, however they were given."""


def all_versions(registry: ModelRegistry, name: str) -> list[RegistryVersion]:
    """Every version of a registered model, by number; empty when there is no such model.

    Raises:
        RegistryError: MLflow does not answer.
    """
    with answering(registry, f"list the versions of {name}"):
        return sorted(
            (version_from(one) for one in _versions(registry, f"name = '{name}'")),
            key=lambda one: one.version,
        )


def runs_before(registry: ModelRegistry, experiment: str, before: datetime) -> list[RunRecord]:
    """The runs of an MLflow experiment that began before a time (aware); empty when there is no
    such experiment.

    Raises:
        RegistryError: MLflow does not answer.
    """
    with answering(registry, f"list the runs of {experiment}"):
        found = registry.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        wanted = f"attributes.start_time < {round(1000 * before.timestamp())}"
        return [_run_record(run) for run in _runs(registry, found.experiment_id, wanted)]


def run_record(registry: ModelRegistry, run_id: str) -> RunRecord | None:
    """A run; None when it is gone or marked as deleted.

    Raises:
        RegistryError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    with answering(registry, f"read the run {run_id}"):
        try:
            run = registry.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == GONE:
                return None
            raise
    return _run_record(run) if run.info.lifecycle_stage == "active" else None


def versions_of_run(registry: ModelRegistry, run_id: str) -> list[RegistryVersion]:
    """The versions of any registered model that came from a run, as it stands now.

    Raises:
        RegistryError: MLflow does not answer.
    """
    with answering(registry, f"list the versions of run {run_id}"):
        return [version_from(one) for one in _versions(registry, f"run_id = '{run_id}'")]


def remove_version(registry: ModelRegistry, name: str, number: int) -> bool:
    """Take a version out of the registry, unless it has an alias; whether it is out of it now.
    Its run and artifacts stay.

    Raises:
        RegistryError: MLflow does not answer.
    """
    with answering(registry, f"remove version {number} of {name}"):
        # MLflow would take the alias away together with the version.
        if number in registry.aliases(name).values():
            return False
        _unless_gone(partial(registry.client.delete_model_version, name, str(number)))
    return True


def remove_run(registry: ModelRegistry, run_id: str) -> None:
    """Remove the artifacts of a run and of the models it logged, and mark both as deleted, the run
    last: `mlflow gc` erases what is left of them, a few rows in MLflow's database.

    Raises:
        RegistryError: MLflow or its artifact store does not answer.
    """
    from mlflow.exceptions import MlflowException

    with answering(registry, f"remove the run {run_id}"):
        try:
            run = registry.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == GONE:
                return
            raise
        models = registry.client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run_id}'"
        )
        for model in models:
            _erase(registry, model.artifact_location)
            _unless_gone(partial(registry.client.delete_logged_model, model.model_id))
        _erase(registry, run.info.artifact_uri)
        if run.info.lifecycle_stage == "active":
            registry.client.delete_run(run_id)


def remove_trial(registry: ModelRegistry, run_id: str) -> None:
    """Mark a run without artifacts as deleted.

    Raises:
        RegistryError: MLflow does not answer.
    """
    with answering(registry, f"remove the run {run_id}"):
        _unless_gone(partial(registry.client.delete_run, run_id))


def _run_record(run: "Run") -> RunRecord:
    return RunRecord(run.info.run_id, run.info.status, dict(run.data.tags), dict(run.data.params))


def _erase(registry: ModelRegistry, uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(uri, tracking_uri=registry.tracking_uri).delete_artifacts()


def _unless_gone(remove: Callable[[], object]) -> None:
    from mlflow.exceptions import MlflowException

    try:
        remove()
    except MlflowException as error:
        if error.error_code != GONE:
            raise


def _versions(registry: ModelRegistry, wanted: str) -> Iterator[Any]:
    token = None
    while True:
        page = registry.client.search_model_versions(wanted, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _runs(registry: ModelRegistry, experiment_id: str, wanted: str) -> "Iterator[Run]":
    token = None
    while True:
        page = registry.client.search_runs(
            [experiment_id], wanted, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def answering(registry: ModelRegistry, doing: str) -> Iterator[None]:
    """Whatever MLflow and its stores raise becomes an error that says what was being done."""
    registry.check()
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        raise RegistryError(f"MLflow cannot {doing}: {error}") from error
