"""The contract of a deployment target: one file, one class, one `kind`. Knows nothing of Dagster.

`render` is pure and decides everything; `apply` is thin and makes it so. Both may be repeated.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from mlops_assets.experiment.spec import Spec
from mlops_assets.gateways.records import Endpoint
from mlops_assets.serving.recording import Recording


class TargetError(Exception):
    """A deployment did not succeed; the message says what still serves and what to do."""


@dataclass(frozen=True)
class Release:
    """What is to be served: a registered version and its bundle, already on local disk."""

    experiment: str
    version: int
    bundle: Path
    bundle_digest: str
    recording: Recording
    """What the endpoint keeps of its traffic, and where."""


@dataclass(frozen=True)
class TargetContext:
    """What a target may know of its surroundings."""

    state: Path
    """Folder for the durable state of endpoints on this machine."""
    environment: dict[str, str]
    """Environment for what the target starts (credentials of the store, for instance)."""
    variables: Mapping[str, str]
    """The whole environment, for targets whose YAML names a variable with a secret."""
    now: Callable[[], datetime]
    sleep: Callable[[float], None]


class Target(Spec):
    """One kind of deployment target. Subclasses declare `kind: Literal["..."]` and their fields."""

    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable with the keys callers need, separated by commas. None: no key needed."""

    @abstractmethod
    def render(self, release: Release, context: TargetContext) -> dict[str, Any]:
        """The complete, JSON-serialisable description of the deployment. Pure."""

    @abstractmethod
    def apply(self, manifest: dict[str, Any], context: TargetContext) -> Endpoint:
        """Make `manifest` live without a failed request; return once the new version answers.

        Applying what is already live changes nothing.

        Raises:
            TargetError: nothing changed for the callers of the endpoint.
        """

    def key(self, context: TargetContext) -> str | None:
        """What callers show the endpoint, so that it answers; None when it answers everybody.

        Raises:
            TargetError: one is asked for, and the environment holds none.
        """
        if self.key_env is None:
            return None
        keys = [key.strip() for key in context.variables.get(self.key_env, "").split(",")]
        if not (found := next(filter(None, keys), None)):
            raise TargetError(f"the environment variable {self.key_env} holds no key")
        return found

    @abstractmethod
    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        """What is really there now; None when this experiment was never deployed here."""

    @abstractmethod
    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        """Stop serving, letting requests in flight finish; None when nothing was deployed."""
