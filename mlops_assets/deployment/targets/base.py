"""The contract of a deployment target: one file, one class, one `kind`. Knows nothing of Dagster.

`render` is pure and decides everything; what else a target does makes it so, is thin, and may be
repeated. Two versions can be there at once: the stable one, which has the traffic, and a candidate
beside it, which gets it in steps. What moves between them is decided in `deployment.rollout`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from mlops_assets.experiment.spec import Spec
from mlops_assets.gateways.captures import Captures
from mlops_assets.gateways.images import VersionImages
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.telemetry import ProfileLog
from mlops_assets.serving.client import Answer
from mlops_assets.serving.recording import Recording

Manifest = dict[str, Any]
"""The complete, JSON-serialisable description of one version on one target. Holds at least
`experiment`, `version` and `bundle_digest`, no secret and no path of the machine that renders."""


class TargetError(Exception):
    """A step of a deployment did not succeed; the message says why and what to do."""


class LostError(TargetError):
    """What is to be settled does not have the traffic any more: somebody stopped or removed it."""


class HarmError(TargetError):
    """The platform itself says that the candidate does harm."""


@dataclass(frozen=True)
class Release:
    """What is to be served: a registered version with its bundle."""

    experiment: str
    version: int
    bundle_digest: str
    archive_url: str
    """The bundle as `.tar.gz` on the data store; empty for targets that do not need it."""
    recording: Recording
    """What the endpoint keeps of its traffic, and where."""


@dataclass(frozen=True)
class Traffic:
    """What was answered, as far as one source counts it. Counts only grow, unless it restarts."""

    requests: int
    errors: int
    """Requests answered with a status of 500 or more, or not at all."""
    slow: int
    """Requests that took longer than the budget asked for."""
    rows: int | None
    """Scored; None where the platform does not tell."""
    predictions: Mapping[str, int]
    """Of how many rows something is true that can be said of a prediction: `label=Yes`,
    `value<=0.3`. Empty where the platform does not tell."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Requests by the reason for which they were refused, or failed; empty likewise."""
    log: ProfileLog | None = None
    """None where the platform does not tell, or nothing is kept of the traffic."""


Counts = Mapping[int, Mapping[str, Traffic]]
"""By version, and by what counts: each of its pods, or the platform."""


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
    """One kind of deployment target. Subclasses declare `kind: Literal["..."]` and their fields.

    Every method but `render` may be repeated after it failed or its caller was killed, at any
    point: it goes on from what is there. Each leaves the stable version answering.
    """

    splits: ClassVar[bool]
    """Whether two versions can share the traffic; else `shift` gives all of it at once."""
    needs_archive: ClassVar[bool]
    """Whether what it starts fetches the bundle from the data store."""
    tells: ClassVar[bool] = False
    """Whether the endpoint's own processes are asked for their traffic; else the platform is."""
    counts_probes: ClassVar[bool] = False
    """Whether the requests that `measure` counts hold those of `ask`, too."""

    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable with the keys callers need, separated by commas. None: no key needed."""

    @abstractmethod
    def render(self, release: Release, context: TargetContext) -> Manifest:
        """The version on this target. Pure; equal for equal arguments.

        Raises:
            TargetError: the settings cannot serve this release; nothing was touched.
        """

    def unguarded(self) -> Self:
        """The same target for a version that returns by a rollback: the platform does not hold it
        up for how the endpoint did until then, and waits for nothing. Renders other manifests."""
        return self

    @abstractmethod
    def apply(self, manifest: Manifest, bundle: Path, context: TargetContext) -> None:
        """Bring the candidate up beside the stable version, without traffic; return once it is
        loaded and has passed its self-test.

        Args:
            manifest: as rendered.
            bundle: the verified bundle on local disk.

        Raises:
            TargetError: it did not come up, with the platform's own reason.
        """

    @abstractmethod
    def ask(
        self,
        experiment: str,
        version: int,
        records: Sequence[Mapping[str, Any]],
        context: TargetContext,
    ) -> Answer:
        """What a version that is there answers to a probe, alone; it is not counted as traffic.

        Raises:
            EndpointError: it refuses or does not answer.
            TargetError: it cannot be asked.
        """

    @abstractmethod
    def shift(self, manifest: Manifest, share: float, context: TargetContext) -> float:
        """Give the candidate a share of the traffic, without a failed request.

        Args:
            share: 0 to 1.

        Returns:
            The share it really has, where the platform deals in whole replicas.

        Raises:
            TargetError: the traffic is as it was.
        """

    @abstractmethod
    def settle(self, manifest: Manifest, context: TargetContext) -> Endpoint:
        """Make the candidate, which has all of the traffic, the stable version, and remove the
        one before.

        Raises:
            LostError: it does not have the traffic, so that nothing can be settled.
            TargetError: it has the traffic, but something of the one before is left.
        """

    @abstractmethod
    def rollback(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        """Give all of the traffic back to the stable version, and remove the candidate; what is
        there then, None when there was nothing before the candidate.

        Does nothing to a manifest that was settled, or was never applied.

        Raises:
            TargetError: the traffic is back, but something of the candidate is left; or that
                cannot be known.
        """

    @abstractmethod
    def measure(self, experiment: str, slower_than: float, context: TargetContext) -> Counts:
        """What each version that is there has answered.

        Args:
            experiment: whose endpoint.
            slower_than: seconds; requests above count as slow, to the next finer bound the
                platform counts by.

        Raises:
            HarmError: the platform says that there is harm.
            TargetError: it cannot be known at the moment.
        """

    @abstractmethod
    def observe(self, experiment: str, context: TargetContext) -> Endpoint | None:
        """What is really there now; None when this experiment was never deployed here."""

    @abstractmethod
    def serves(self, manifest: Manifest, context: TargetContext) -> Endpoint | None:
        """The endpoint, when it serves exactly this manifest, settled and healthy; else None."""

    @abstractmethod
    def retire(self, experiment: str, context: TargetContext) -> Endpoint | None:
        """Stop serving, letting requests in flight finish; None when nothing was deployed."""

    def captures(self, experiment: str) -> Captures | None:
        """Where the platform itself keeps requests and answers; None where it does not."""
        return None

    def images(self, context: TargetContext) -> VersionImages | None:
        """Where each version has a container image of its own; None where none has."""
        return None

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
