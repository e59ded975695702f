"""The course of a retraining: asked for, refreshed, held back or refused, trained. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from mlops_assets.training.retraining import brakes
from mlops_assets.training.retraining.brakes import Data, Past
from mlops_assets.training.retraining.cases import Case, Part
from mlops_assets.training.spec import Retrain

PATIENCE = timedelta(minutes=10)
"""After it was asked for, a run that is not there counts as lost."""
MOST_STARTS = 20
"""Runs asked for in one tick, over all experiments: the others keep their turn."""


@dataclass(frozen=True)
class Awaited:
    """The run that was asked for, as it is now."""

    run_id: str
    state: Literal["unfinished", "succeeded", "failed"]


@dataclass(frozen=True)
class Facts:
    """What is known of one experiment whose case is open."""

    spec: Retrain
    recipe: str
    past: Past
    awaited: Awaited | None = None
    data: Data | None = None
    """Once the refresh has succeeded."""


@dataclass(frozen=True)
class Start:
    """A run to ask for."""

    part: Part
    key: str
    assets: tuple[str, ...] = ()
    """What is out of date, for the part `model`."""
    digest: str = ""
    """Of the training set that it trains on."""


@dataclass(frozen=True)
class Step:
    """How a case goes on."""

    case: Case
    words: str
    start: Start | None = None


def step(name: str, case: Case, facts: Facts, now: datetime) -> Step:
    """One step of one open case."""
    if case.key:
        if facts.awaited is None:
            asked = datetime.fromisoformat(case.requested_at)
            if now - asked < PATIENCE:
                return Step(case, f"waits for run {case.key} to be made")
            return step(name, replace(case, key="", part="data", requested_at=""), facts, now)
        return _after(name, case, facts, facts.awaited, now)
    held = brakes.hold(facts.spec.brakes, facts.past, recipe=facts.recipe, now=now)
    if held is not None:
        return Step(case.saying(f"held back by {held}", now), f"held back by {held}")
    return _starting(name, case, "data", None, now)


def turns(steps: Mapping[str, Step], priorities: Mapping[str, int]) -> Sequence[str]:
    """The experiments whose run is asked for in this tick: by priority, then who asked first."""
    wanted = [name for name, each in steps.items() if each.start is not None]
    wanted.sort(key=lambda name: (-priorities[name], steps[name].case.asked_at, name))
    return wanted[:MOST_STARTS]


def _after(name: str, case: Case, facts: Facts, run: Awaited, now: datetime) -> Step:
    doing = "refreshes the training set" if case.part == "data" else "trains"
    if run.state == "unfinished":
        return Step(case, f"run {run.run_id} {doing}")
    if run.state == "failed":
        if case.part == "data":
            return _closed(case, f"run {run.run_id} could not refresh the training set", now)
        return _closed(case, f"run {run.run_id} brought no version", now)
    if case.part == "model":
        return _closed(case, f"run {run.run_id} registered a version", now)
    if facts.data is None:
        return _closed(case, f"run {run.run_id} left no training set", now)
    alone = facts.spec.new_labels if set(case.asked) == {"labels"} else None
    refusal = brakes.refuse(facts.data, new_labels=alone)
    if refusal is not None:
        return _closed(case, f"refused: {refusal}", now)
    held = brakes.hold(facts.spec.brakes, facts.past, recipe=facts.recipe, now=now)
    if held is not None:
        return Step(case.saying(f"held back by {held}", now), f"held back by {held}")
    return _starting(name, case, "model", facts.data, now)


def _starting(name: str, case: Case, part: Part, data: Data | None, now: datetime) -> Step:
    key = f"{name}:retraining:{int(now.timestamp() * 1000)}:{part}"
    at = now.isoformat(timespec="seconds")
    following = replace(case, key=key, part=part, requested_at=at)
    start = Start(part, key) if data is None else Start(part, key, tuple(data.stale), data.digest)
    return Step(following, f"asks for run {key}", start)


def _closed(case: Case, words: str, now: datetime) -> Step:
    return Step(case.closed(words, now), words)
