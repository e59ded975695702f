"""What the exporter knows of the platform at one look. Values only; times in seconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlops_assets.monitoring.tickets.findings import Severity

Job = Literal["retrain", "deploy", "monitor", "retention"]
Result = Literal["success", "failure", "canceled"]


@dataclass(frozen=True)
class CheckSaid:
    """The newest verdict of a check."""

    experiment: str
    asset: str
    """Below the experiment, for instance `endpoints/local`."""
    check: str
    severity: Severity
    """Of the ticket it would be."""
    passed: bool
    at: float
    value: float | None
    """What was measured; None where the check says no number."""
    threshold: float | None


@dataclass(frozen=True)
class AssetMade:
    """The newest materialization of an asset."""

    experiment: str
    asset: str
    at: float
    fresh_s: float | None
    """Seconds after which its freshness policy calls it overdue; None without one."""


@dataclass(frozen=True)
class Deployed:
    """An endpoint, as its last deployment left it."""

    experiment: str
    target: str
    version: int
    since: float
    expected: bool
    """Whether it should answer: nobody has stopped it since."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    experiment: str
    job: Job
    result: Result
    at: float


@dataclass(frozen=True)
class Facts:
    """All of it."""

    experiments: tuple[str, ...]
    """Of the YAMLs, in order of importance: the last are left out first."""
    checks: tuple[CheckSaid, ...] = ()
    assets: tuple[AssetMade, ...] = ()
    endpoints: tuple[Deployed, ...] = ()
    unfinished: Mapping[tuple[str, Job], float] = field(default_factory=dict)
    """When the oldest run that has not ended was asked for, by experiment and job."""
    ended: tuple[Ended, ...] = ()
    """Of the last day."""
    tickets: Mapping[tuple[str, Severity], int] = field(default_factory=dict)
    """How many are open, by experiment and severity."""
    tickets_looked: float = 0.0
    """When the sensor of tickets looked last; 0: never."""
