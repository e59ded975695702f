"""What endpoints tell of themselves, and what of it is kept from one look to the next."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from mlops_assets.gateways import record_json

State = Literal["answers", "silent", "unknown"]
"""`silent` does not answer; `unknown` is one whose platform cannot be asked."""


@dataclass(frozen=True)
class ProfileLog:
    """How the profiles of an endpoint get to the store, over all of its processes."""

    pending_rows: int
    """Answered and not yet profiled."""
    waiting_bytes: int
    """Size of the files that the store has not taken."""
    dropped_rows: int
    """Never profiled. As the next one, it only grows, unless the endpoint restarts."""
    flush_failures: int
    last_flush: float | None
    """When the store last took a file, seconds since the epoch by the endpoint's clock; None before
    the first."""


@dataclass(frozen=True)
class Telemetry:
    """What one endpoint told when it was asked. Counts only grow, unless it restarts."""

    target: str
    at: str
    """When it was asked, ISO 8601, UTC."""
    state: State
    detail: str
    """Why it does not answer, or is not known; empty when it answers."""
    requests: int = 0
    """For predictions, refused ones with them."""
    rows: int | None = None
    """Scored; None where that is not told."""
    refused: dict[str, int] = field(default_factory=dict)
    """Requests by the reason for which they were refused, or failed."""
    log: ProfileLog | None = None
    """None where the platform does not tell, or nothing is kept."""
    counts_probes: bool = False
    """Whether `requests` counts what the platform asks itself, too."""
    by_platform: bool = False
    """Whether its platform counted, minutes late, and not its own processes."""

    @property
    def refusals(self) -> int:
        """Requests that were refused, or failed."""
        return sum(self.refused.values())

    def refused_alone(self, before: "Telemetry | None") -> int:
        """Requests refused since then, of an endpoint that tells its rows and scored none since."""
        known = before or replace(self, rows=0, refused={})
        scored = self.rows is None or growth(self.rows, known.rows)
        return 0 if scored else growth(self.refusals, known.refusals)


def to_json(told: Iterable[Telemetry]) -> list[dict[str, Any]]:
    return [asdict(one) for one in told]


def from_json(content: Any) -> dict[str, Telemetry]:
    """What `to_json` made, by target; nothing where another version of this program wrote it."""
    try:
        found = [record_json.from_json(Telemetry, json.dumps(one)) for one in content]
    except (ValueError, TypeError):
        return {}
    return {one.target: one for one in found}


def latest(told: Iterable[Telemetry], before: Mapping[str, Telemetry]) -> list[Telemetry]:
    """What is known of each endpoint's counts: of one that tells nothing now, what it told last."""
    return [one if one.state == "answers" else before.get(one.target, one) for one in told]


def growth(now: int, before: int | None) -> int:
    """By how much a count has grown; all of it where it began anew, or was not known before."""
    return now if before is None or now < before else now - before
