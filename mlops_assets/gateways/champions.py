"""Which version is the champion by decision, whatever the alias says: a tag of the registered model
that is set before the alias, and another one after it. An alias elsewhere was moved by hand, or is
about to follow.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlops_assets.gateways.model_registry import CHAMPION, AbsentError, ModelRegistry
from mlops_assets.gateways.registered import RegisteredModel

Mode = Literal["accept", "report", "put_back"]
"""What is to become of an alias that was moved by hand."""

CHAMPION_TAG = "mlops.champion"
GIVEN_TAG = "mlops.champion_given"
"""The same, written once the alias is there."""
UNDER_WAY = timedelta(minutes=1)
"""As long as this after a decision, its alias may still follow."""
ON_ITS_WAY = timedelta(minutes=2)
"""As long as this after a decision, the run that deploys the version may still be started."""
_SINCE = " since "
_ROUNDS = 5


@dataclass(frozen=True)
class Crowned:
    """The champion by decision."""

    version: int
    since: datetime | None
    """Aware; None for one that had the alias before anything was decided here."""
    given: bool = False
    """Whether the alias has followed: elsewhere it was moved since."""


def crowned(model: RegisteredModel) -> Crowned | None:
    """None where nothing was decided yet, or somebody wrote something else into the tag."""
    decided = model.tags.get(CHAMPION_TAG, "")
    number, _, since = decided.partition(_SINCE)
    if not number.isdecimal():
        return None
    given = model.tags.get(GIVEN_TAG) == decided
    try:
        return Crowned(int(number), datetime.fromisoformat(since) if since else None, given)
    except ValueError:
        return Crowned(int(number), None, given)


def is_on_its_way(registry: ModelRegistry, name: str, *, now: datetime) -> bool:
    """Whether the champion was decided a moment ago (`now` is aware), so that whoever deploys it
    need not have seen it yet.

    Raises:
        RegistryError: MLflow does not answer.
    """
    model = registry.model(name)
    rightful = None if model is None else crowned(model)
    if rightful is None or rightful.since is None:
        return False
    return timedelta() <= now - rightful.since < ON_ITS_WAY


def crown(registry: ModelRegistry, name: str, version: int, *, now: datetime) -> None:
    """Make a version the champion. May be repeated, whatever the call before came to.

    Of two that do so at once, the one that decides last has the alias.

    Args:
        registry: where it is.
        name: of the registered model.
        version: that was decided for.
        now: aware.
    """
    since = now.isoformat(timespec="seconds")
    registry.tag_model(name, {CHAMPION_TAG: f"{version}{_SINCE}{since}"})
    registry.set_alias(name, CHAMPION, version)
    restore(registry, name)


def follow(registry: ModelRegistry, name: str, version: int) -> None:
    """Write down that a version, which has the alias, is the champion."""
    registry.tag_model(name, {CHAMPION_TAG: str(version), GIVEN_TAG: str(version)})


def restore(registry: ModelRegistry, name: str) -> None:
    """Give the alias back to the champion by decision, also if that changes meanwhile; where there
    never was one, take the alias away."""
    for _ in range(_ROUNDS):
        model = registry.model(name)
        if model is None:
            return
        alias, rightful = model.aliases.get(CHAMPION), crowned(model)
        if alias == (rightful and rightful.version):
            if rightful is not None and not rightful.given:
                registry.tag_model(name, {GIVEN_TAG: model.tags[CHAMPION_TAG]})
            return
        if rightful is None:
            registry.remove_alias(name, CHAMPION)
        else:
            registry.set_alias(name, CHAMPION, rightful.version)


def current(registry: ModelRegistry, name: str, *, by_hand: Mode) -> int | None:
    """The version that may be deployed, and that others are compared with; None without one.

    Args:
        registry: where it is.
        name: of the registered model.
        by_hand: what the YAML says of moves by hand; of `put_back` they count for nothing.

    Raises:
        RegistryError: MLflow does not answer.
    """
    model = registry.model(name)
    if model is None:
        return None
    alias, rightful = model.aliases.get(CHAMPION), crowned(model)
    if by_hand != "put_back" or rightful is None or rightful.version == alias:
        return alias
    try:
        return registry.version(name, rightful.version).version
    except AbsentError:
        return alias
