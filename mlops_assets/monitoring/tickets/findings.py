"""What is found to be wrong, and what sinks are told of it. Knows neither Dagster nor any sink.

A cause is the path of a check below its experiment (`endpoints/local/answers_probe`), or
`runs/deploy`, `sensors/registry_changed`, `schedules/retention_daily`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

Severity = Literal["info", "warning", "error", "critical"]
"""As PagerDuty's. `critical`: callers may be without answers; `error`: something does not work, and
a person has to act; `warning`: look at it; `info`: the platform refused something, as it should."""

Event = Literal["opened", "updated", "reopened", "closed"]
MOST_CHARACTERS = 600
"""Of the words of a finding: what is longer stands in Dagster."""


def weight(severity: Severity) -> int:
    """Greater is worse."""
    return get_args(Severity).index(severity)


def moment(at: float | datetime) -> str:
    """A time as tickets write it: ISO 8601, UTC, in seconds."""
    read = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return read.astimezone(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Passed:
    """A cause that does not hold."""

    at: float
    """When that was found, in seconds since 1970."""


@dataclass(frozen=True)
class Finding:
    """A cause that holds."""

    cause: str
    severity: Severity
    words: str
    at: float
    """When it was found to hold, in seconds since 1970."""
    since: float
    """When it was first found to hold without a pause, in seconds since 1970."""
    value: str = ""
    threshold: str = ""
    asset: str = ""
    """Path of its key."""
    page: str = ""
    """Path of its page in Dagster's UI."""


Observation = Finding | Passed


@dataclass(frozen=True)
class Notice:
    """What a sink is told of a ticket, whole: a sink looks nothing up."""

    id: str
    """Of this telling: the same when it is sent again."""
    key: str
    """Of the ticket, at every sink and in every installation another one."""
    ticket: str
    """As people call it: `churn#12`."""
    event: Event
    at: str
    experiment: str
    cause: str
    severity: Severity
    words: str
    value: str
    threshold: str
    since: str
    lasted_s: int
    """From `since` to this telling."""
    closing: str
    """Why it was closed; empty while it is open."""
    asset: str
    link: str
    """To the asset's page, or the run's, in Dagster."""
    runbook: str
    """To the chapter that says more."""
    action: str
    """What to do next."""
    followers: tuple[str, ...]
    """Other causes that it explains."""

    @property
    def is_open(self) -> bool:
        return self.event != "closed"

    @property
    def title(self) -> str:
        """In one line; the same for as long as the ticket exists."""
        return f"[{self.ticket}] {self.experiment}: {self.cause}"
