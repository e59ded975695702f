"""Whether a person may make a version the champion. Pure.

What stands against it is listed whole, each point in a sentence that says what to do. Most of it
may be gone over by force, with a reason that is written down. Never who asks: nobody approves what
they made themselves (separation of duties: NIST SP 800-53, AC-5), or without a name; and never that
there is nothing to serve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_assets.gateways.decisions import (
    APPROVED_BY,
    AUTHOR,
    COMPARED_WITH,
    OVERRIDDEN,
    THE_GATES,
    Decision,
)
from mlops_assets.registry.freeze import Frozen
from mlops_assets.registry.spec import CardSection

Ground = Literal[
    "reason",
    "approver",
    "author",
    "bundle",
    "unknown_author",
    "gates",
    "champion",
    "card",
    "freeze",
]
FORCEABLE: frozenset[Ground] = frozenset({"unknown_author", "gates", "champion", "card", "freeze"})
MACHINES = ("schedule ", "sensor ", THE_GATES)
"""How the names begin that are nobody's."""
NO_CHAMPION = "none"


@dataclass(frozen=True)
class Request:
    """That a version become the champion."""

    approver: str
    reason: str
    force: bool


@dataclass(frozen=True)
class Standing:
    """What is known when it is asked for."""

    experiment: str
    version: int
    tags: Mapping[str, str]
    """Of the version."""
    champion: int | None
    """By decision."""
    required: Sequence[CardSection]
    written: frozenset[CardSection]
    """Sections of the card that say something."""
    frozen: Frozen | None


@dataclass(frozen=True)
class Refusal:
    """One point that stands against it."""

    ground: Ground
    reason: str


@dataclass(frozen=True)
class Judgement:
    """What is answered."""

    refusals: tuple[Refusal, ...]
    """What stands against it; it is allowed when there is nothing."""
    overridden: tuple[Refusal, ...]
    """What would, had it not been forced."""
    done: bool
    """It is the champion already: nothing is to be decided."""

    @property
    def allowed(self) -> bool:
        return not self.refusals


def judge(request: Request, standing: Standing) -> Judgement:
    """Everything that stands against it, in the order it is to be put right."""
    decision = Decision.of(standing.tags)
    promoted = decision is not None and decision.outcome == "promoted"
    if promoted and standing.champion == standing.version:
        return Judgement((), (), done=True)
    found = (
        *_of_request(request, standing.tags.get(AUTHOR, "").strip()),
        *_of_version(standing, decision),
        *_of_moment(standing),
    )
    over = tuple(one for one in found if request.force and one.ground in FORCEABLE)
    return Judgement(tuple(one for one in found if one not in over), over, done=False)


def decided(
    request: Request, judgement: Judgement, now: datetime
) -> tuple[Decision, dict[str, str]]:
    """The decision of an approval that is allowed, and the tags beside it."""
    over = " ".join(one.reason for one in judgement.overridden)
    reason, by = request.reason.strip(), request.approver.strip()
    if over:
        reason = f"forced: {reason.rstrip('.')}. In spite of this: {over}"
    decision = Decision("promoted", reason, by, now.isoformat(timespec="seconds"), "")
    grounds = "; ".join(one.ground for one in judgement.overridden)
    return decision, {OVERRIDDEN: grounds} if grounds else {}


def rejected(reason: str, by: str, now: datetime) -> Decision:
    """The decision that a version must not become the champion."""
    return Decision("refused", f"rejected: {reason}", by, now.isoformat(timespec="seconds"), "")


def is_outdated(tags: Mapping[str, str], champion: int | None) -> bool:
    """Whether the gates compared the version with another champion than there is now."""
    compared = tags.get(COMPARED_WITH)
    return compared is not None and compared != _written(champion)


def _written(champion: int | None) -> str:
    return NO_CHAMPION if champion is None else str(champion)


def lacking(request: Request) -> list[Refusal]:
    """What a request does not say."""
    found = []
    if not request.reason.strip():
        found.append(Refusal("reason", "An approval needs a reason: say why."))
    if not request.approver.strip():
        words = f"Nobody is named who approves: set the tag {APPROVED_BY} to who you are."
        found.append(Refusal("approver", words))
    return found


def _of_request(request: Request, author: str) -> list[Refusal]:
    approver = request.approver.strip()
    found = lacking(request)
    if approver.startswith(MACHINES):
        words = f"{approver!r} is no person: set the tag {APPROVED_BY} to who you are."
        found.append(Refusal("approver", words))
    elif approver and approver.casefold() == author.casefold():
        words = f"{approver} made this version, and nobody approves their own: ask somebody else."
        found.append(Refusal("author", words))
    if not author:
        words = f"It is not known who made this version: set its tag {AUTHOR}."
        found.append(Refusal("unknown_author", words))
    return found


def _of_version(standing: Standing, decision: Decision | None) -> list[Refusal]:
    name, number, tags = standing.experiment, standing.version, standing.tags
    if "mlops.bundle_uri" not in tags:
        words = (
            f"Version {number} has no serving bundle, so no endpoint can serve it: it was not "
            "evaluated yet (mlops status), or could not be."
        )
        return [Refusal("bundle", words)]
    if decision is None:
        words = f"Nothing was decided about version {number} yet: wait for its run, or repeat it."
        return [Refusal("gates", words)]
    if decision.outcome == "refused":
        words = (
            f"Version {number} was refused by {decision.by} ({decision.reason.rstrip('.')}): train "
            "a better one."
        )
        return [Refusal("gates", words)]
    if is_outdated(tags, standing.champion):
        words = (
            f"The gates compared version {number} with champion {tags[COMPARED_WITH]}, and it is "
            f"{_written(standing.champion)} now: launch {name}__retrain, which compares anew."
        )
        return [Refusal("champion", words)]
    return []


def _of_moment(standing: Standing) -> list[Refusal]:
    found = []
    missing = [section for section in standing.required if section not in standing.written]
    if missing:
        keys = ", ".join(f"registry.card.{section}" for section in missing)
        found.append(Refusal("card", f"The model card lacks {keys}: write it into the YAML."))
    if standing.frozen is not None:
        words = f"Promotion is {standing.frozen.words()}: ask again after that."
        found.append(Refusal("freeze", words))
    return found
