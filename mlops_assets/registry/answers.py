"""What people ask for by tags in MLflow, and what a freeze held up: answered once, and written on
the version. May be repeated at any point.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import (
    ANSWER,
    APPROVE,
    APPROVED_BY,
    FROZEN_UNTIL,
    LONGEST,
    OVERRIDDEN,
    REJECT,
    ROLLED_BACK,
    THE_GATES,
    Decision,
)
from mlops_assets.gateways.model_registry import ModelRegistry, RefusedError, RegistryError
from mlops_assets.gateways.registered import RegistryVersion
from mlops_assets.registry import approval, record
from mlops_assets.registry.approval import Judgement, Request, Standing
from mlops_assets.registry.freeze import frozen
from mlops_assets.registry.spec import PromotionSpec

MOST = 20
"""Versions about which something is decided in one look; they are gone from the next one."""
SEARCHED = 1000
"""Versions with one of the tags that a look sees: what only waits must not hide the others."""
REQUEST = (APPROVED_BY, REJECT, APPROVE)
"""Removed in this order: no name is left for the request of somebody else."""
SOMEBODY = "whoever set the tag in MLflow"


@dataclass(frozen=True)
class Desk:
    """With what is answered."""

    registry: ModelRegistry
    now: datetime
    """Aware."""
    dagster_url: str


@dataclass
class Answered:
    """What was decided in one look."""

    champions: dict[str, int] = field(default_factory=dict)
    """New ones, by experiment."""
    notes: list[str] = field(default_factory=list)
    decided: dict[str, str] = field(default_factory=dict)
    """What was decided, in words, by experiment."""
    left: int = MOST
    """Versions that may still be decided about."""


def answer(desk: Desk, experiments: Iterable[Experiment]) -> Answered:
    """Answer every request, and let go what a freeze held up: three searches, whatever there is.

    Raises:
        RegistryError: MLflow does not answer.
    """
    by_model = {experiment.model_name: experiment for experiment in experiments}
    answered = Answered()
    # One search after the other: what is answered may lose the tags that are searched for next.
    for settle, search in (
        (_one, partial(_tagged, desk, REJECT)),
        (_one, partial(_tagged, desk, APPROVE)),
        (_release, partial(_held_up, desk)),
    ):
        for version in search():
            if (experiment := by_model.get(version.name)) is None:
                continue
            try:
                settle(desk, experiment, version, answered)
            except RefusedError as error:
                answered.notes.append(f"{experiment.name} {version.version}: {error}")
    return answered


def standing(desk: Desk, experiment: Experiment, version: RegistryVersion) -> Standing:
    """What is known of a version now."""
    policy = experiment.promotion
    return Standing(
        experiment=experiment.name,
        version=version.version,
        tags=version.tags,
        champion=_champion(desk, experiment),
        required=policy.required,
        written=frozenset(experiment.registry.card.written()),
        frozen=frozen(policy.freeze, desk.now),
    )


def decide(
    desk: Desk, version: RegistryVersion, decision: Decision, beside: Mapping[str, str]
) -> None:
    """Carry out a decision: its tags and those beside it, then the alias, then what asked for it or
    is outdated by it is removed. Whatever ends it in between, the same again goes on."""
    name, number = version.name, version.version
    desk.registry.tag_version(name, number, {**beside, **decision.tags()})
    if decision.outcome == "promoted":
        champions.crown(desk.registry, name, number, now=desk.now)
    past = {FROZEN_UNTIL, OVERRIDDEN}
    if decision.outcome == "promoted" and ROLLED_BACK in version.tags:
        past.add(ROLLED_BACK)
    desk.registry.untag_version(name, number, past - beside.keys())


def promote(
    desk: Desk, version: RegistryVersion, request: Request, judgement: Judgement
) -> Decision:
    """Carry out an approval that is allowed."""
    decision, beside = approval.decided(request, judgement, desk.now)
    decide(desk, version, decision, beside)
    return decision


def note(desk: Desk, experiment: Experiment, version: RegistryVersion) -> str:
    """Write `decision.md` of what was decided; empty, or why that did not work."""
    try:
        now = desk.registry.version(version.name, version.version)
        record.write(desk.registry, experiment, now, dagster_url=desk.dagster_url)
    except RegistryError as error:
        return str(error)
    return ""


def _tagged(desk: Desk, tag: str) -> list[RegistryVersion]:
    return desk.registry.versions_tagged(tag, most=SEARCHED)


def _held_up(desk: Desk) -> list[RegistryVersion]:
    """By a freeze, the newest first: it is what the others are superseded by."""
    return sorted(_tagged(desk, FROZEN_UNTIL), key=lambda one: -one.version)


def _champion(desk: Desk, experiment: Experiment) -> int | None:
    by_hand = experiment.promotion.by_hand
    return champions.current(desk.registry, experiment.model_name, by_hand=by_hand)


def _one(desk: Desk, experiment: Experiment, version: RegistryVersion, answered: Answered) -> None:
    asked = Request(version.tags.get(APPROVED_BY, ""), version.tags.get(APPROVE, ""), force=False)
    decision = Decision.of(version.tags)
    promoted = decision is not None and decision.outcome == "promoted"
    lacking = [] if promoted or REJECT in version.tags else approval.lacking(asked)
    if lacking:
        # People write a request tag by tag: it may still be completed.
        _tell(desk, version, f"refused: {lacking[0].reason}")
        return
    if answered.left <= 0:
        return
    answered.left -= 1
    if REJECT in version.tags:
        said = _reject(desk, experiment, version)
    else:
        said = _approve(desk, experiment, version, asked, answered)
    trouble = note(desk, experiment, version)
    answered.notes += [f"{experiment.name} {version.version}: {said}", *filter(None, [trouble])]
    answered.decided[experiment.name] = f"version {version.version}: {said}"
    _tell(desk, version, f"{desk.now.isoformat(timespec='seconds')}: {said}")
    # Last: what ended before this is asked again.
    desk.registry.untag_version(version.name, version.version, REQUEST)


def _approve(
    desk: Desk, experiment: Experiment, version: RegistryVersion, asked: Request, answered: Answered
) -> str:
    judgement = approval.judge(asked, standing(desk, experiment, version))
    if judgement.done:
        return "it is the champion already"
    if not judgement.allowed:
        return "refused: " + " ".join(one.reason for one in judgement.refusals)
    promote(desk, version, asked, judgement)
    answered.champions[experiment.name] = version.version
    return f"approved by {asked.approver.strip()}: {asked.reason.strip()}"


def _reject(desk: Desk, experiment: Experiment, version: RegistryVersion) -> str:
    by = version.tags.get(APPROVED_BY, "").strip() or SOMEBODY
    decision = Decision.of(version.tags)
    if _champion(desk, experiment) == version.version:
        return "refused: it is the champion; bring back another version with mlops rollback"
    if decision is not None and decision.outcome == "refused":
        return f"it was refused already by {decision.by}"
    if decision is None:
        return "refused: the gates have not decided about it yet"
    rejected = approval.rejected(version.tags[REJECT].strip() or "no reason given", by, desk.now)
    decide(desk, version, rejected, {})
    return f"{rejected.reason} ({by})"


def _tell(desk: Desk, version: RegistryVersion, said: str) -> None:
    """Once: not again while nothing else is to be said."""
    said = said[:LONGEST]
    if version.tags.get(ANSWER) != said:
        desk.registry.tag_version(version.name, version.version, {ANSWER: said})


def _release(
    desk: Desk, experiment: Experiment, version: RegistryVersion, answered: Answered
) -> None:
    """A version that passed the gates during a freeze becomes the champion after it, if the
    champion is still the one that it was compared with."""
    decision, policy = Decision.of(version.tags), experiment.promotion
    name, number = version.name, version.version
    waits = decision is not None and decision.outcome == "waiting"
    if waits and (hold := frozen(policy.freeze, desk.now)):
        answered.notes.append(f"{experiment.name} {number} waits: {hold.words()}")
        return
    if answered.left <= 0:
        return
    answered.left -= 1
    champion = _champion(desk, experiment)
    outdated = approval.is_outdated(version.tags, champion)
    if champion == number or not _is_due(version, policy, outdated=outdated):
        desk.registry.untag_version(name, number, [FROZEN_UNTIL])
        return
    at, run = desk.now.isoformat(timespec="seconds"), decision.run_id if decision else ""
    if outdated:
        words = f"superseded: it was not compared with version {champion}, the champion since"
        decide(desk, version, Decision("refused", words, THE_GATES, at, run), {})
    else:
        words = "it passed the gates, and the freeze is over"
        decide(desk, version, Decision("promoted", words, THE_GATES, at, run), {})
        answered.champions[experiment.name] = number
    trouble = note(desk, experiment, version)
    answered.notes += [f"{experiment.name} {number}: {words}", *filter(None, [trouble])]
    answered.decided[experiment.name] = f"version {number}: {words}"


def _is_due(version: RegistryVersion, policy: PromotionSpec, *, outdated: bool) -> bool:
    """Whether it waited for the end of a freeze, or became the champion a moment ago, and what did
    that was ended before the alias followed."""
    decision = Decision.of(version.tags)
    if decision is None or decision.by != THE_GATES or policy.approval != "automatic":
        return False
    if decision.outcome == "waiting":
        return True
    return decision.outcome == "promoted" and not outdated and ROLLED_BACK not in version.tags
