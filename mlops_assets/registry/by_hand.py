"""What an alias `champion` that stands elsewhere than was decided means. Pure."""

from datetime import datetime
from typing import Literal

from mlops_assets.gateways.champions import UNDER_WAY, Crowned, Mode
from mlops_assets.gateways.decisions import Decision

Meaning = Literal["in_order", "under_way", "interrupted", "follow", "leave", "put_back"]
"""`in_order`: as decided. `under_way`: decided a moment ago, the alias may still follow.
`interrupted`: it should have followed: set it. The others are moves by hand: `follow` it, `leave`
it without deploying it, `put_back`."""


def meaning(
    alias: int,
    crowned: Crowned | None,
    *,
    before: int | None,
    decision: Decision | None,
    evaluated: bool,
    mode: Mode,
    now: datetime,
) -> Meaning:
    """What to do about the alias.

    Args:
        alias: the version that has it.
        crowned: the champion by decision.
        before: the version that had it when the sensor last looked.
        decision: about the version that has it.
        evaluated: whether that version was; one that was not is to be evaluated first.
        mode: what the YAML says of moves by hand.
        now: aware.
    """
    if crowned is None:
        if evaluated and (decision is None or decision.outcome == "promoted"):
            return "in_order"
    elif alias == crowned.version:
        return "in_order"
    elif crowned.since is not None and now - crowned.since < UNDER_WAY:
        return "under_way"
    elif alias == before and not crowned.given:
        return "interrupted"
    if mode == "put_back":
        return "put_back"
    refused = decision is not None and decision.outcome == "refused"
    return "leave" if refused or not evaluated else "follow"
