"""What was decided about a version: tags on it in MLflow, so that whoever finds the version finds
the decision too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Outcome = Literal["promoted", "waiting", "refused"]

OUTCOME = "mlops.decision"
REASON = "mlops.decision_reason"
DECIDED_BY = "mlops.decided_by"
DECIDED_AT = "mlops.decided_at"
RUN = "mlops.decision_run"

THE_GATES = "the gates"
BY_HAND = "whoever moved the alias in MLflow"
LONGEST = 1000
"""Characters of a reason; MLflow takes 5,000."""


@dataclass(frozen=True)
class Decision:
    """Whether a version may serve."""

    outcome: Outcome
    """`waiting`: the gates passed it, and a person has to approve it."""
    reason: str
    by: str
    at: str
    """ISO 8601, UTC."""
    run_id: str
    """The Dagster run that decided; empty when it was a person."""

    def tags(self) -> dict[str, str]:
        """In the order they are to be set: with the last one there is a decision."""
        return {
            REASON: self.reason[:LONGEST],
            DECIDED_BY: self.by,
            DECIDED_AT: self.at,
            RUN: self.run_id,
            OUTCOME: self.outcome,
        }

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Decision | None":
        """The decision that a version's tags tell of; None when there is none."""
        outcome = tags.get(OUTCOME)
        for known in get_args(Outcome):
            if outcome == known:
                texts = [tags.get(name, "") for name in (REASON, DECIDED_BY, DECIDED_AT, RUN)]
                return cls(known, *texts)
        return None
