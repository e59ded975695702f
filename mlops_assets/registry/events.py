"""From what the registry says now, and what was seen before, to the deployments to start. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """The last champion of an experiment that was decided about."""

    version: int
    changes: int
    """Counts the changes of the champion: an alias moved to and fro is two of them."""
    deployment: int = 0
    """The newest deployment there was then."""


@dataclass(frozen=True)
class Live:
    """What the endpoints of an experiment say of themselves."""

    versions: frozenset[int] = frozenset()
    """More than one while targets differ; none where an endpoint was never deployed, or is being
    deployed to. One that was stopped by hand counts with the version it had."""
    newest: int | None = None
    """The version deployed last, on whichever target."""
    deployment: int = 0
    """Identifies that deployment; a later one has a greater number."""


NOTHING = Live()


@dataclass(frozen=True)
class Read:
    """Up to where it is known what every experiment has live."""

    newest: int = -1
    """The newest event of Dagster's storage when that was read."""
    settled: bool = False
    """No run was under way then, and the look before knew of no older event: an event is there a
    moment before what it changes is."""
    without: tuple[str, ...] = ()
    """Who had no champion then, and was left out."""


@dataclass(frozen=True)
class Event:
    """One deployment to start."""

    experiment: str
    version: int
    key: str
    """Equal for equal events, so that Dagster starts one run for each."""


@dataclass(frozen=True)
class Decided:
    """What to start, and what to remember."""

    events: tuple[Event, ...]
    seen: dict[str, Seen]


def to_ask(
    champions: Mapping[str, int], *, seen: Mapping[str, Seen], read: Read, newest: int
) -> frozenset[str]:
    """Whose endpoints must be asked about: all of them, unless nothing happened since they were;
    then those whose champion is another one.

    Args:
        champions: version with the alias `champion`, by experiment.
        seen: from the last decision.
        read: when they were asked about last.
        newest: event of Dagster's storage.
    """
    if not read.settled or read.newest != newest:
        return frozenset(champions)
    return frozenset(
        name for name, version in champions.items()
        if name not in seen or seen[name].version != version or name in read.without
    )  # fmt: skip


def read_now(before: Read, *, newest: int, whole: bool, without: Iterable[str]) -> Read:
    """What to remember of asking.

    Args:
        before: of the look before.
        newest: event of Dagster's storage, before anybody was asked.
        whole: whether what was asked about could be relied on.
        without: who has no champion now.
    """
    return Read(newest, whole and before.newest == newest, tuple(sorted(without)))


def decide(
    champions: Mapping[str, int],
    *,
    seen: Mapping[str, Seen],
    live: Mapping[str, Live],
    first: int,
) -> Decided:
    """One event per changed champion that is not live already, and per deployment of another
    version since: a run deploys what is champion when it runs, and the alias may be moved there and
    back between two looks. A deployment that failed is not asked for again.

    Args:
        champions: version with the alias `champion`, by experiment; one that has none keeps what
            was seen.
        seen: from the last decision.
        live: by experiment; one that is left out has nothing live that can be relied on.
        first: where counting begins for an experiment never seen, above every earlier count. When
            what was seen is lost, keys would repeat otherwise, and Dagster starts none twice.
    """
    events, remembered = [], dict(seen)
    for name, version in sorted(champions.items()):
        before, now = seen.get(name), live.get(name, NOTHING)
        if before is not None and before.version == version and not _strayed(before, now):
            continue
        changes = before.changes + 1 if before else first
        remembered[name] = Seen(version, changes, now.deployment)
        if now.versions != {version}:
            events.append(Event(name, version, f"{name}:{version}:{changes}"))
    return Decided(tuple(events), remembered)


def _strayed(seen: Seen, now: Live) -> bool:
    """Whether another version was deployed after the champion had been decided about."""
    known = bool(now.versions)
    return known and now.newest != seen.version and now.deployment > seen.deployment
