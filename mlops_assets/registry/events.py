"""From what the registry says now, and what was seen before, to the deployments to start. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """The last champion of an experiment that was decided about."""

    version: int
    changes: int
    """Counts the changes of the champion: an alias moved to and fro is two of them."""


@dataclass(frozen=True)
class Event:
    """One deployment to start."""

    experiment: str
    version: int
    key: str
    """Equal for equal events, so that Dagster starts one run for each."""


@dataclass(frozen=True)
class Decision:
    """What to start, and what to remember."""

    events: tuple[Event, ...]
    seen: dict[str, Seen]


def decide(
    champions: Mapping[str, int],
    *,
    seen: Mapping[str, Seen],
    live: Mapping[str, set[int]],
    first: int,
) -> Decision:
    """One event per changed champion that is not live already.

    Args:
        champions: version with the alias `champion`, by experiment; one that has none keeps what
            was seen.
        seen: from the last decision.
        live: versions on the endpoints of the experiments whose champion changed; empty where
            nothing is, or where that is about to change.
        first: where counting begins for an experiment never seen, above every earlier count. When
            what was seen is lost, keys would repeat otherwise, and Dagster starts none twice.
    """
    events, remembered = [], dict(seen)
    for name, version in sorted(champions.items()):
        before = seen.get(name)
        if before is not None and before.version == version:
            continue
        changes = before.changes + 1 if before else first
        remembered[name] = Seen(version, changes)
        if live.get(name) != {version}:
            events.append(Event(name, version, f"{name}:{version}:{changes}"))
    return Decision(tuple(events), remembered)
