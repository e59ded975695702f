"""The alias `champion` of one model as it is found: followed, finished or put back, and what was
moved around the policy written down. May be repeated at any point.
"""

from dataclasses import dataclass
from datetime import datetime

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions
from mlops_assets.gateways.champions import Mode
from mlops_assets.gateways.decisions import BY_HAND, MOVED_BY_HAND, Decision
from mlops_assets.gateways.model_registry import CHAMPION, AbsentError, ModelRegistry
from mlops_assets.gateways.registered import RegisteredModel, RegistryVersion
from mlops_assets.registry import by_hand
from mlops_assets.registry.arrivals import is_foreign


@dataclass(frozen=True)
class Found:
    """What the alias means now."""

    champion: int | None
    """The version that may be deployed; None when none may."""
    note: str = ""
    """What there is to say; empty when all is as decided."""
    moved: bool = False
    """Whether it is about a move by hand that the YAML wants reported."""
    unevaluated: bool = False
    """The version is to be evaluated before it may serve."""


def found(
    registry: ModelRegistry,
    experiment: Experiment,
    model: RegisteredModel,
    version: RegistryVersion,
    *,
    before: int | None,
    now: datetime,
    adopt: bool,
) -> Found:
    """What to make of the version that has the alias.

    Args:
        registry: where it is.
        experiment: whose model it is.
        model: as the sweep saw it.
        version: that has the alias.
        before: the version that had it at the last look.
        now: aware.
        adopt: whether to write down the champion of a model about which nothing was decided yet.

    Raises:
        RegistryError: MLflow does not answer.
    """
    rightful, mode = champions.crowned(model), _mode(registry, experiment, model)
    said = by_hand.meaning(
        version.version,
        rightful,
        before=before,
        decision=Decision.of(version.tags),
        evaluated=not is_foreign(version),
        mode=mode,
        now=now,
    )
    name, number = experiment.name, version.version
    if said == "in_order" and not adopt:
        return Found(number)
    if said == "under_way" or _changed(registry, experiment, model):
        return Found(None, f"{name}: the alias {CHAMPION} is being moved")
    if said == "in_order":
        champions.follow(registry, experiment.model_name, number)
        return Found(number)
    if said == "interrupted":
        return _finished(registry, experiment, model)
    if said == "put_back":
        return _put_back(registry, experiment, model, version, now)
    if said == "leave":
        return _left(registry, experiment, version, now)
    return _followed(registry, experiment, model, version, now=now, told=mode == "report")


def removed(
    registry: ModelRegistry, experiment: Experiment, model: RegisteredModel, *, before: int | None,
    now: datetime,
) -> Found:  # fmt: skip
    """What to make of a model without the alias."""
    rightful = champions.crowned(model)
    young = rightful and rightful.since and now - rightful.since < champions.UNDER_WAY
    if rightful is None or young or _changed(registry, experiment, model):
        return Found(None)
    if not _exists(registry, experiment, rightful.version):
        return Found(None, f"{experiment.name} {rightful.version}, the champion, was deleted")
    if before is None:
        return _finished(registry, experiment, model)
    words = f"{experiment.name}: the alias {CHAMPION} was taken away by hand"
    if experiment.promotion.by_hand != "put_back":
        return Found(None, words)
    champions.restore(registry, experiment.model_name)
    words += f", and put back to version {rightful.version}"
    return Found(rightful.version, words, moved=True)


def _mode(registry: ModelRegistry, experiment: Experiment, model: RegisteredModel) -> Mode:
    """To a version that is gone, no alias can be put back."""
    mode, rightful = experiment.promotion.by_hand, champions.crowned(model)
    if mode != "put_back" or rightful is None:
        return mode
    if rightful.version in model.aliases.values():
        return mode
    return mode if _exists(registry, experiment, rightful.version) else "report"


def _exists(registry: ModelRegistry, experiment: Experiment, number: int) -> bool:
    try:
        registry.version(experiment.model_name, number)
    except AbsentError:
        return False
    return True


def _changed(registry: ModelRegistry, experiment: Experiment, seen: RegisteredModel) -> bool:
    """Whether alias or decision moved since the sweep, which reads one after the other."""
    now = registry.model(experiment.model_name)
    return now is None or (
        (now.aliases.get(CHAMPION), champions.crowned(now))
        != (seen.aliases.get(CHAMPION), champions.crowned(seen))
    )


def _finished(registry: ModelRegistry, experiment: Experiment, model: RegisteredModel) -> Found:
    rightful = champions.crowned(model)
    if rightful is None or not _exists(registry, experiment, rightful.version):
        return Found(None, f"{experiment.name}: the champion by decision was deleted")
    champions.restore(registry, experiment.model_name)
    words = f"{experiment.name} {rightful.version} got the alias {CHAMPION}, as was decided"
    return Found(rightful.version, words)


def _put_back(
    registry: ModelRegistry, experiment: Experiment, model: RegisteredModel,
    version: RegistryVersion, now: datetime,
) -> Found:  # fmt: skip
    rightful = champions.crowned(model)
    where = f"put back to version {rightful.version}" if rightful else "taken away"
    words = f"the alias {CHAMPION} was moved here by hand, and {where}"
    _tell(registry, version, words, now)
    champions.restore(registry, experiment.model_name)
    note = f"{experiment.name} {version.version}: {words}"
    return Found(rightful.version if rightful else None, note, moved=True)


def _left(
    registry: ModelRegistry, experiment: Experiment, version: RegistryVersion, now: datetime
) -> Found:
    if is_foreign(version):
        return Found(None, unevaluated=True)
    news = MOVED_BY_HAND not in version.tags and experiment.promotion.by_hand != "accept"
    if news:
        words = f"the alias {CHAMPION} was moved here by hand; it was refused, and is not deployed"
        _tell(registry, version, words, now)
    note = f"{experiment.name} {version.version} is the champion, and was refused"
    return Found(None, note, moved=news)


def _followed(
    registry: ModelRegistry, experiment: Experiment, model: RegisteredModel,
    version: RegistryVersion, *, now: datetime, told: bool,
) -> Found:  # fmt: skip
    decision, rightful = Decision.of(version.tags), champions.crowned(model)
    if decision is not None and decision.outcome == "waiting":
        reason = f"the alias {CHAMPION} was set although it was waiting"
    else:
        of = f" from version {rightful.version}" if rightful else ""
        reason = f"the alias {CHAMPION} was moved here by hand{of}"
    at = now.isoformat(timespec="seconds")
    if told:
        _tell(registry, version, f"{reason}, and followed", now)
    written = Decision("promoted", reason, BY_HAND, at, "").tags()
    registry.tag_version(version.name, version.version, written)
    champions.follow(registry, experiment.model_name, version.version)
    note = f"{experiment.name} {version.version}: {reason}" if told else ""
    return Found(version.version, note, moved=told)


def _tell(registry: ModelRegistry, version: RegistryVersion, words: str, now: datetime) -> None:
    tags = {MOVED_BY_HAND: f"{now.isoformat(timespec='seconds')}: {words}"}
    registry.tag_version(version.name, version.version, tags)
