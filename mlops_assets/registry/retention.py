"""What of the past may go, and why everything else stays. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops_assets.gateways.model_registry import CHAMPION
from mlops_assets.registry.spec import RetentionSpec


@dataclass(frozen=True)
class Version:
    """A registered version, as far as its keeping depends on it."""

    number: int
    created: datetime
    """Aware."""
    ours: bool
    """Registered by an experiment, and not by hand."""
    rolled_back: bool
    """Somebody rolled it back: it is not good, though it was live."""


@dataclass(frozen=True)
class Usage:
    """Who needs which version."""

    aliases: Mapping[str, int]
    endpoints: Mapping[int, str]
    """What endpoints do with a version, by version: one that is live, has a share of the traffic,
    served before, or is being rolled out."""
    deployed: tuple[int, ...]
    """Versions that took the traffic of an endpoint, oldest first; one may stand there often."""


@dataclass(frozen=True)
class Verdict:
    """Whether a version stays, and why."""

    version: int
    kept: bool
    reason: str


def judge(
    versions: Iterable[Version], usage: Usage, policy: RetentionSpec, now: datetime
) -> tuple[Verdict, ...]:
    """A verdict for every version, by number.

    A version goes when it is neither among the newest `keep_versions` nor younger than `keep_days`,
    and nobody needs it.
    """
    found = sorted(set(versions), key=lambda one: one.number)
    newest = {one.number for one in found[-policy.keep_versions :]}
    needed = _needed(found, usage)
    verdicts = []
    for one in found:
        reasons = list(needed.get(one.number, ()))
        if one.number in newest:
            reasons.append(f"one of the newest {policy.keep_versions}")
        if one.created >= oldest_kept(policy, now):
            reasons.append(f"younger than {policy.keep_days} days")
        if not one.ours:
            reasons.append("not registered by an experiment of ours")
        why = (
            f"{(now - one.created).days} days old, and nobody needs it"
            if not reasons
            else "; ".join(reasons)
        )
        verdicts.append(Verdict(one.number, bool(reasons), why))
    return tuple(verdicts)


def vanished(seen: Iterable[int], *, registered: frozenset[int], usage: Usage) -> frozenset[int]:
    """Versions that left something behind and are not registered any more: of these numbers, which
    are below one that is registered, so that a registry that is empty or was begun anew says
    little of the past. One that still answers somewhere is none of them."""
    newest = max(registered, default=0)
    return frozenset(
        one for one in seen if one < newest and one not in registered | set(usage.endpoints)
    )


def oldest_kept(policy: RetentionSpec, now: datetime) -> datetime:
    """What is younger stays."""
    return now - timedelta(days=policy.keep_days)


def oldest_traffic(policy: RetentionSpec, now: datetime) -> datetime:
    """Windows that began later stay."""
    return now - timedelta(days=policy.keep_traffic_days)


def _needed(versions: Iterable[Version], usage: Usage) -> dict[int, list[str]]:
    """Reasons by version, apart from its age."""
    reasons: dict[int, list[str]] = {}
    for alias, number in sorted(usage.aliases.items()):
        reasons.setdefault(number, []).append(f"has the alias {alias}")
    for number, words in usage.endpoints.items():
        reasons.setdefault(number, []).append(words)
    there = {one.number for one in versions}
    good = {one.number for one in versions if not one.rolled_back}
    champion = usage.aliases.get(CHAMPION)
    # The one that serves need not be the champion: a deployment may have been refused.
    serving = {champion, *usage.deployed[-1:]}
    before = next((n for n in reversed(usage.deployed) if n != champion and n in there), None)
    last = next((n for n in reversed(usage.deployed) if n not in serving and n in good), None)
    if before is not None:
        reasons.setdefault(before, []).append("was live before the champion")
    if last is not None and last != before:
        reasons.setdefault(last, []).append("the last good one before")
    return reasons


@dataclass(frozen=True)
class Run:
    """A run of the experiment in MLflow that began before everything younger is kept."""

    run_id: str
    ours: bool
    """Made by a run of the platform."""
    study: str
    """The study it tuned, or is a trial of; empty when it has none."""
    trial: bool


def superfluous_runs(
    runs: Iterable[Run], *, wanted: frozenset[str], studies: frozenset[str]
) -> tuple[str, ...]:
    """Which of these old runs go: those of models that never became a version or whose version
    went, and the trials of studies that are not kept.

    Args:
        runs: that began before the oldest that is kept.
        wanted: runs of versions that are kept, ours or anybody's.
        studies: that are kept: their trials stay, so that they need not be shown again.
    """
    return tuple(
        sorted(
            run.run_id
            for run in runs
            if run.run_id not in wanted and (run.study not in studies if run.trial else run.ours)
        )
    )


@dataclass(frozen=True)
class Study:
    """A tuning study in the study store."""

    name: str
    changed: datetime
    """When its newest trial began or ended; aware."""


def superfluous_studies(
    studies: Iterable[Study], *, wanted: frozenset[str], before: datetime
) -> tuple[str, ...]:
    """Which studies go: those that rested since `before`, of no version that is kept."""
    return tuple(
        sorted(one.name for one in studies if one.changed < before and one.name not in wanted)
    )


@dataclass(frozen=True)
class File:
    """A file on the data store."""

    path: str
    size: int
    """Bytes."""
    modified: datetime
    """Aware."""


def superfluous_files(
    files: Iterable[File], *, wanted: frozenset[str], before: datetime
) -> tuple[File, ...]:
    """Which files go: those written before `before` whose path is not wanted."""
    return tuple(one for one in files if one.modified < before and one.path not in wanted)


@dataclass(frozen=True)
class Window:
    """A file that an endpoint wrote about a window of its traffic."""

    file: File
    version: int
    start: datetime
    """Aware."""


def superfluous_windows(
    windows: Iterable[Window],
    *,
    kept: frozenset[int],
    removed: frozenset[int],
    newest: int,
    before: datetime,
) -> tuple[File, ...]:
    """Which of them go: all of a version that is removed; of the others those of windows that
    began before `before`, but for the newest of each version that is kept.

    Args:
        windows: in any order.
        kept: versions that stay.
        removed: versions that go, or went before.
        newest: windows of a kept version that stay, however old.
        before: aware.
    """
    found = list(windows)
    starts: dict[int, set[datetime]] = {}
    for one in found:
        if one.version in kept:
            starts.setdefault(one.version, set()).add(one.start)
    judged_by = {v: frozenset(sorted(begun)[-newest:]) for v, begun in starts.items()}
    return tuple(
        one.file
        for one in found
        if one.version in removed
        or (one.start < before and one.start not in judged_by.get(one.version, ()))
    )
