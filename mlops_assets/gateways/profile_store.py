"""Where endpoints leave their profiles and their prediction log, and how both are found again.

Layout: `<experiment>/profiles/<version>/<target>/<window start>/<increment>.bin`, and the same with
`predictions` and `.parquet` for the rows. Knows bytes and times, not what a file holds.
"""

from collections.abc import Iterable
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
    found = []
    for what, ending in ENDINGS.items():
        top = f"{experiment}/{what}"
        for file in store.listed(top):
            version, _, name = file.path.removeprefix(f"{top}/").partition("/")
            start = _window(name.partition("/")[2], ending)
            if version.isdecimal() and start is not None:
                found.append(Flushed(file, int(version), start))
    return found


class ProfileStore:
    """The profiles of all experiments on one data store."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    def url_for(self, experiment: str, version: int, target: str) -> str:
        """The folder an endpoint writes to."""
        return self._store.at(_folder(experiment, PROFILES, version, target))

    def increments(
        self, experiment: str, version: int, targets: Iterable[str], *, windows: int
    ) -> list[Increment]:
        """Files of the newest `windows` windows of all targets together, oldest first."""
        folders = (_folder(experiment, PROFILES, version, target) for target in targets)
        found = _increments(self._store, folders, ENDINGS[PROFILES])
        newest = sorted({increment.window for increment in found})[-windows:]
        return [increment for increment in found if increment.window in newest]


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


def _folder(experiment: str, what: str, version: int, target: str) -> str:
    return f"{experiment}/{what}/{version}/{target}"


def _increments(store: DataStore, folders: Iterable[str], ending: str) -> list[Increment]:
    found = []
    for folder in folders:
        for name in store.files(folder):
            start = _window(name, ending)
            if start is not None:
                found.append(Increment(start, store.at(f"{folder}/{name}")))
    return sorted(found, key=lambda increment: (increment.window, increment.url))


def _window(name: str, ending: str) -> datetime | None:
    """The window of a file named by the layout; None for one that somebody else left there."""
    window, _, file = name.rpartition("/")
    if not file.endswith(ending):
        return None
    try:
        return datetime.strptime(window, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
