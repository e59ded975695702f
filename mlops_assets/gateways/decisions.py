"""What was decided about a version, and what people ask for: tags on it in MLflow, so that whoever
finds the version finds the decision too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Outcome = Literal["promoted", "waiting", "refused"]

OUTCOME = "mlops.decision"
REASON = "mlops.decision_reason"
DECIDED_BY = "mlops.decided_by"
DECIDED_AT = "mlops.decided_at"
RUN = "mlops.decision_run"
OVERRIDDEN = "mlops.overridden"
"""What a forced approval went over."""
AUTHOR = "mlops.author"
"""Who made the version: a person, or `schedule ...`, `sensor ...`."""
COMPARED_WITH = "mlops.compared_with"
"""The champion that the gates compared the version with, or `none`."""
FROZEN_UNTIL = "mlops.frozen_until"
"""On a version that becomes the champion after a freeze."""
ROLLED_BACK = "mlops.rolled_back"
"""On a version that another one replaced by `mlops rollback`, until it is promoted anew."""
MOVED_BY_HAND = "mlops.moved_by_hand"
"""On a version that got the alias around the policy: when, and what was done about it."""

APPROVE = "mlops.approve"
"""Set by people: why the version is to be the champion."""
APPROVED_BY = "mlops.approved_by"
"""Set by people: who says so."""
REJECT = "mlops.reject"
"""Set by people: why the version must not be the champion."""
ANSWER = "mlops.approval"
"""What became of such a request."""

THE_GATES = "the gates"
_BACK_BY = "rollback by "
"""How the author of a rollback begins."""
BY_HAND = "whoever moved the alias in MLflow"
LONGEST = 1000
"""Characters of a tag; MLflow takes 5,000."""


@dataclass(frozen=True)
class Decision:
    """Whether a version may serve."""

    outcome: Outcome
    """`waiting`: the gates passed it, and a person has to approve it, or a freeze has to end."""
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

    @property
    def is_rollback(self) -> bool:
        """Whether the version returns by `mlops rollback`, as long as nothing else is decided."""
        return self.outcome == "promoted" and self.by.startswith(_BACK_BY)

    @classmethod
    def rolled_back(cls, user: str, reason: str, at: str) -> "Decision":
        """That a version is to serve again.

        Args:
            user: who says so.
            reason: why; empty when nobody said.
            at: ISO 8601, UTC.
        """
        why = f": {reason}" if reason else ""
        return cls("promoted", f"rollback{why}", f"{_BACK_BY}{user}{why}", at, "")

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Decision | None":
        """The decision that a version's tags tell of; None when there is none."""
        outcome = tags.get(OUTCOME)
        for known in get_args(Outcome):
            if outcome == known:
                texts = [tags.get(name, "") for name in (REASON, DECIDED_BY, DECIDED_AT, RUN)]
                return cls(known, *texts)
        return None
