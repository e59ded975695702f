"""Versions that others registered: from what the registry says now, and what was seen before, to
those still to be evaluated. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from mlops_assets.gateways.decisions import Decision
from mlops_assets.gateways.registered import RegisteredModel, RegistryVersion

ATTEMPTS = 3
"""Runs that may fail for reasons of their own, before the version counts as refused."""


@dataclass(frozen=True)
class Watched:
    """How far the versions of one model were looked at."""

    born_ms: int
    """When the model was made: another one of the same name is looked at from its beginning."""
    newest: int
    """Every version up to this one was looked at."""
    waiting: Mapping[int, int] = field(default_factory=dict)
    """Versions to be evaluated, and how many runs were asked for."""


def known(model: RegisteredModel, watched: Watched | None) -> Watched:
    """What is remembered of a model. Of one never seen, the latest version alone is looked at: what
    came before it was nobody's concern here."""
    latest = 0 if model.latest is None else model.latest.version
    if watched is None:
        return Watched(model.created_ms, max(0, latest - 1))
    if watched.born_ms != model.created_ms:
        return Watched(model.created_ms, 0)
    return watched


def unseen(model: RegisteredModel, watched: Watched) -> Iterator[int]:
    """Numbers of versions not looked at yet, in their order; some may have been deleted."""
    latest = 0 if model.latest is None else model.latest.version
    return iter(range(watched.newest + 1, latest + 1))


def looked(watched: Watched, number: int, version: RegistryVersion | None) -> Watched:
    """After a look at version `number`, which may be gone (None)."""
    waiting = dict(watched.waiting)
    if version is not None and is_foreign(version):
        waiting.setdefault(number, 0)
    return replace(watched, newest=max(number, watched.newest), waiting=waiting)


def is_foreign(version: RegistryVersion) -> bool:
    """Whether somebody else registered it, and nothing was decided about it yet."""
    return "mlops.bundle_uri" not in version.tags and Decision.of(version.tags) is None


def asked(watched: Watched, number: int) -> Watched:
    """After one more run was asked for."""
    return replace(watched, waiting={**watched.waiting, number: watched.waiting[number] + 1})


def settled(watched: Watched, number: int) -> Watched:
    """After the version was decided about, or has gone."""
    left = {each: times for each, times in watched.waiting.items() if each != number}
    return replace(watched, waiting=left)
