"""Which files tell of a window: profiles, and where a target left none, what was logged instead."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import (
    Increment,
    PredictionStore,
    ProfileStore,
    batch,
    inputs_path,
)

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Found:
    """Files of one version, oldest window first."""

    profiles: tuple[Increment, ...]
    logs: tuple[Increment, ...] = ()
    """Of the prediction log."""
    captures: tuple[Increment, ...] = ()
    """Of a platform's own capture of requests and answers."""
    captured: float = 1.0
    """Share of the requests that is captured."""

    @classmethod
    def of(
        cls,
        profiles: Iterable[Increment],
        logs: Iterable[Increment],
        captures: Iterable[Increment] = (),
        captured: float = 1.0,
    ) -> "Found":
        """Each window of each target by the best of what there is: no row counts twice."""
        profiles, logs = tuple(profiles), tuple(logs)
        logs = _without(logs, profiles)
        return cls(profiles, logs, _without(captures, [*profiles, *logs]), captured)

    def every(self) -> tuple[Increment, ...]:
        return (*self.profiles, *self.logs, *self.captures)

    def within(self, windows: Collection[datetime]) -> "Found":
        """Of the windows that start so."""
        return Found(
            _starting(self.profiles, windows),
            _starting(self.logs, windows),
            _starting(self.captures, windows),
            self.captured,
        )


def _starting(files: Iterable[Increment], windows: Collection[datetime]) -> tuple[Increment, ...]:
    return tuple(each for each in files if each.window in windows)


def _without(files: Iterable[Increment], better: Iterable[Increment]) -> tuple[Increment, ...]:
    known = {(file.target, file.window) for file in better}
    return tuple(file for file in files if (file.target, file.window) not in known)


def find(store: DataStore, experiment: Experiment, version: int, targets: Iterable[str]) -> Found:
    """What these targets of a version left, in all windows.

    Raises:
        DataStoreError: the store does not answer.
    """
    name, wanted = experiment.name, tuple(targets)
    profiles = ProfileStore(store).increments(name, version, wanted)
    logs = PredictionStore(store).increments(name, version, wanted, since=_FIRST, until=_LAST)
    captures, shares = list[Increment](), [1.0]
    # The files do not tell what is a number in them: the version does, unless it is an old one.
    known = store.exists(inputs_path(name, version))
    for target in experiment.deployment.targets if known else ():
        kind, kept = kind_of(type(target)), target.captures(name)
        if kind in wanted and kept is not None:
            seconds = experiment.monitoring.window_seconds
            captures += kept.increments(store.storage_options, kind, seconds=seconds)
            shares.append(kept.share)
    return Found.of(profiles, logs, captures, min(shares))


def batches(experiment: Experiment) -> tuple[str, ...]:
    """What stands for the targets of the profiles that batches leave."""
    return tuple(batch(one.name) for one in experiment.deployment.batch)


def starting_at(
    store: DataStore, experiment: str, starts: Collection[datetime]
) -> dict[int, Found]:
    """What every version left of the windows that start so (aware), but for captures.

    Raises:
        DataStoreError: the store does not answer.
    """
    if not starts:
        return {}
    profiles = ProfileStore(store).starting_at(experiment, starts)
    logs = PredictionStore(store).all_between(
        experiment, since=min(starts), until=max(starts) + timedelta(microseconds=1)
    )
    return {
        version: Found.of(profiles.get(version, ()), logs.get(version, ())).within(starts)
        for version in sorted(profiles.keys() | logs.keys())
    }
