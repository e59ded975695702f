"""Aliases and tags of registered models and versions, as they are written."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlops_assets.gateways.registered import RefusedError, RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

REFUSED = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
)
"""What MLflow says of a request that another attempt does not make better."""


class Marks(ABC):
    """Of one MLflow store. Each raises RefusedError where another attempt would be refused, too,
    and RegistryError where MLflow does not answer."""

    @property
    @abstractmethod
    def client(self) -> "MlflowClient": ...

    def set_alias(self, name: str, alias: str, version: int) -> None:
        with _written(f"give the alias {alias} to version {version} of {name}"):
            self.client.set_registered_model_alias(name, alias, str(version))

    def remove_alias(self, name: str, alias: str) -> None:
        with _written(f"take the alias {alias} of {name} away"):
            self.client.delete_registered_model_alias(name, alias)

    def tag_model(self, name: str, tags: Mapping[str, str]) -> None:
        with _written(f"tag {name}"):
            for key, value in tags.items():
                self.client.set_registered_model_tag(name, key, value)

    def untag_version(self, name: str, version: int, tags: Iterable[str]) -> None:
        """Remove tags, of which some may not be there."""
        with _written(f"remove tags of version {version} of {name}"):
            for key in tags:
                self.client.delete_model_version_tag(name, str(version), key)

    def tag_version(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        with _written(f"tag version {version} of {name}"):
            for key, value in tags.items():
                self.client.set_model_version_tag(name, str(version), key, value)


@contextmanager
def _written(what: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        kind = RefusedError if error.error_code in REFUSED else RegistryError
        raise kind(f"MLflow cannot {what}: {error}") from error
