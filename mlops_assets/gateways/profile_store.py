"""Where endpoints leave their profiles and their prediction log, and how both are found again.

Layout: `<experiment>/profiles/<version>/<target>/<window start>/<increment>.bin`, and the same with
`predictions` and `.parquet` for the rows. Knows bytes and times, not what a file holds.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mlops_assets.gateways.data_store import DataStore, StoredFile
from mlops_assets.serving.recording import STAMP


@dataclass(frozen=True)
class Increment:
    """One file an endpoint flushed."""

    window: datetime
    """Start of its window, UTC."""
    url: str


PROFILES, PREDICTIONS = "profiles", "predictions"
ENDINGS = {PROFILES: ".bin", PREDICTIONS: ".parquet"}


@dataclass(frozen=True)
class Flushed:
    """A file an endpoint flushed, of whichever version and target."""

    file: StoredFile
    version: int
    window: datetime
    """Start of its window, UTC."""


def flushed(store: DataStore, experiment: str) -> list[Flushed]:
    """Every profile and every file of the prediction log of an experiment."""
    return [file for what in ENDINGS for file in _flushed(store, experiment, what)]


class ProfileStore:
    """The profiles of all experiments on one data store."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    def url_for(self, experiment: str, version: int, target: str) -> str:
        """The folder an endpoint writes to."""
        return self._store.at(_folder(experiment, PROFILES, version, target))

    def increments(self, experiment: str, version: int, targets: Iterable[str]) -> list[Increment]:
        """Files of all targets together, oldest first."""
        folders = (_folder(experiment, PROFILES, version, target) for target in targets)
        return _increments(self._store, folders, ENDINGS[PROFILES])

    def starting_at(
        self, experiment: str, starts: Collection[datetime]
    ) -> dict[int, list[Increment]]:
        """Files of the windows that start at one of `starts` (aware), by version, oldest first."""
        found: dict[int, list[Increment]] = {}
        for one in _flushed(self._store, experiment, PROFILES):
            if one.window in starts:
                increment = Increment(one.window, self._store.at(one.file.path))
                found.setdefault(one.version, []).append(increment)
        return {version: _in_order(files) for version, files in found.items()}


class PredictionStore:
    """The prediction log of all experiments on one data store."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    def url_for(self, experiment: str, version: int, target: str) -> str:
        """The folder an endpoint writes to."""
        return self._store.at(_folder(experiment, PREDICTIONS, version, target))

    def increments(
        self,
        experiment: str,
        version: int,
        targets: Iterable[str],
        *,
        since: datetime,
        until: datetime,
    ) -> list[Increment]:
        """Files of the windows of all targets that start at `since` or later and before `until`
        (both aware), oldest first."""
        folders = (_folder(experiment, PREDICTIONS, version, target) for target in targets)
        found = _increments(self._store, folders, ENDINGS[PREDICTIONS])
        return [increment for increment in found if since <= increment.window < until]

    def all_between(
        self, experiment: str, *, since: datetime, until: datetime
    ) -> dict[int, list[Increment]]:
        """The same of every version and target, by version."""
        found: dict[int, list[Increment]] = {}
        for one in _flushed(self._store, experiment, PREDICTIONS):
            if since <= one.window < until:
                increment = Increment(one.window, self._store.at(one.file.path))
                found.setdefault(one.version, []).append(increment)
        return {version: _in_order(files) for version, files in sorted(found.items())}


def reference_path(experiment: str, version: int) -> str:
    """Where the reference profile of a version stands on the data store."""
    return f"{experiment}/reference_profiles/{version}.bin"


def importances_path(experiment: str, version: int) -> str:
    """Where the importances of a version's columns stand beside it."""
    return f"{experiment}/reference_profiles/{version}.importances.json"


def _flushed(store: DataStore, experiment: str, what: str) -> Iterator[Flushed]:
    top = f"{experiment}/{what}"
    for file in store.listed(top):
        version, _, name = file.path.removeprefix(f"{top}/").partition("/")
        start = _window(name.partition("/")[2], ENDINGS[what])
        if version.isdecimal() and start is not None:
            yield Flushed(file, int(version), start)


def _folder(experiment: str, what: str, version: int, target: str) -> str:
    return f"{experiment}/{what}/{version}/{target}"


def _increments(store: DataStore, folders: Iterable[str], ending: str) -> list[Increment]:
    found = []
    for folder in folders:
        for name in store.files(folder):
            start = _window(name, ending)
            if start is not None:
                found.append(Increment(start, store.at(f"{folder}/{name}")))
    return _in_order(found)


def _in_order(increments: Iterable[Increment]) -> list[Increment]:
    return sorted(increments, key=lambda increment: (increment.window, increment.url))


def _window(name: str, ending: str) -> datetime | None:
    """The window of a file named by the layout; None for one that somebody else left there."""
    window, _, file = name.rpartition("/")
    if not file.endswith(ending):
        return None
    try:
        return datetime.strptime(window, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
