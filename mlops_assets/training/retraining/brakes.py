"""What speaks against a retraining: what was done before, and the data that is there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from mlops_assets.training.spec import Brakes

Outcome = Literal["version", "failed", "canceled", "unfinished"]


@dataclass(frozen=True)
class Retraining:
    """One that the sensor started."""

    run_id: str
    started: datetime
    ended: datetime | None
    outcome: Outcome
    recipe: str
    """Fingerprint of the YAML it was made by."""


@dataclass(frozen=True)
class Past:
    """What was done for one experiment."""

    retrainings: tuple[Retraining, ...] = ()
    """Those of the last thirty days, the newest first."""
    by_hand: datetime | None = None
    """When somebody else than the sensor last had a model made or a version registered."""
    busy: str = ""
    """The run that trains it now, or waits to; empty when none does."""


@dataclass(frozen=True)
class Data:
    """The refreshed training set, beside the model that is there."""

    digest: str
    labels: int
    stale: Mapping[str, str]
    """Assets from the study on that are out of date, and why."""
    version: int | None
    """The version last registered."""
    labels_before: int | None
    """Rows with a label when the last model was made; None when there is none that says so."""
    tried: str = ""
    """How an earlier candidate of the same rows and YAML was refused, in words."""


@dataclass(frozen=True)
class Refusal:
    """Why none is started."""

    brake: str
    why: str
    until: datetime | None = None
    """When it ends by itself, where that can be known."""

    def __str__(self) -> str:
        end = "" if self.until is None else f", until {self.until.isoformat(timespec='minutes')}"
        return f"{self.brake}: {self.why}{end}"


def hold(spec: Brakes, past: Past, *, recipe: str, now: datetime) -> Refusal | None:
    """The first brake that holds; None when a retraining may start."""
    return (
        _one_at_a_time(past)
        or _circuit_breaker(spec, past, recipe)
        or _cool_down(spec, past, now)
        or _budget(spec.per_day, timedelta(days=1), "day", past, now)
        or _budget(spec.per_week, timedelta(days=7), "week", past, now)
    )


def refuse(data: Data, *, new_labels: int | None) -> Refusal | None:
    """Why the refreshed data needs no training; None when it does.

    Args:
        data: what there is.
        new_labels: how many are needed, when nothing but their number asks for the retraining.
    """
    if not data.stale:
        version = "" if data.version is None else f" since version {data.version}"
        return Refusal("no new data", f"none{version} (digest {data.digest})")
    if data.tried:
        return Refusal(
            "tried before", f"this exact data (digest {data.digest}) was already {data.tried}"
        )
    if new_labels is not None and data.labels_before is not None:
        more = data.labels - data.labels_before
        if more < new_labels:
            return Refusal("too few labels", f"{more} since the last training, {new_labels} needed")
    return None


def _one_at_a_time(past: Past) -> Refusal | None:
    if not past.busy:
        return None
    return Refusal("one at a time", f"run {past.busy} is under way or waits in the queue")


def _circuit_breaker(spec: Brakes, past: Past, recipe: str) -> Refusal | None:
    ended = [each for each in past.retrainings if each.outcome in ("version", "failed")]
    failed = takewhile(lambda each: each.outcome == "failed" and each.recipe == recipe, ended)
    since = past.by_hand
    counted = [each for each in failed if since is None or each.started > since]
    if len(counted) < spec.failed_candidates:
        return None
    return Refusal(
        "circuit breaker",
        f"{len(counted)} retrainings in a row brought no version, the last was run "
        f"{counted[0].run_id}; make a model by hand or change the YAML",
    )


def _cool_down(spec: Brakes, past: Past, now: datetime) -> Refusal | None:
    ends = [each.ended for each in past.retrainings if each.ended is not None]
    if past.by_hand is not None:
        ends.append(past.by_hand)
    if not ends:
        return None
    until = max(ends) + timedelta(hours=spec.cool_down)
    if now >= until:
        return None
    return Refusal("cool-down", f"{spec.cool_down:g} hours after the last retraining", until)


def _budget(limit: int, length: timedelta, word: str, past: Past, now: datetime) -> Refusal | None:
    starts = sorted((r.started for r in past.retrainings if r.started > now - length), reverse=True)
    if len(starts) < limit:
        return None
    until = starts[limit - 1] + length
    return Refusal(f"budget per {word}", f"{len(starts)} of {limit} are used", until)
