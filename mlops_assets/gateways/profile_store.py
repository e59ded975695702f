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
    written: datetime | None
    """When it arrived, UTC; None where the store does not tell."""
    target: str
    """Whose endpoint, or which batch."""


PROFILES, PREDICTIONS = "profiles", "predictions"
ENDINGS = {PROFILES: ".bin", PREDICTIONS: ".parquet"}


@dataclass(frozen=True)
class Flushed:
    """A file an endpoint flushed, of whichever version and target."""

    file: StoredFile
    version: int
    target: str
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
        return _increments(self._store, experiment, version, targets, PROFILES)

    def put(
        self,
        experiment: str,
        version: int,
        target: str,
        *,
        window: datetime,
        name: str,
        content: bytes,
    ) -> None:
        """Write one file, as an endpoint does."""
        folder = _folder(experiment, PROFILES, version, target)
        path = f"{folder}/{window:{STAMP}}/{name}{ENDINGS[PROFILES]}"
        self._store.write_bytes(path, content)

    def starting_at(
        self, experiment: str, starts: Collection[datetime]
    ) -> dict[int, list[Increment]]:
        """Files of the windows that start at one of `starts` (aware), by version, oldest first."""
        every = _flushed(self._store, experiment, PROFILES)
        return _by_version(self._store, (one for one in every if one.window in starts))


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
        found = _increments(self._store, experiment, version, targets, PREDICTIONS)
        return [increment for increment in found if since <= increment.window < until]

    def all_between(
        self, experiment: str, *, since: datetime, until: datetime
    ) -> dict[int, list[Increment]]:
        """The same of every version and target, by version."""
        every = _flushed(self._store, experiment, PREDICTIONS)
        return _by_version(self._store, (one for one in every if since <= one.window < until))


def batch(name: str) -> str:
    """What stands for the target in the paths of a batch's profiles."""
    return f"batch-{name}"


def reference_path(experiment: str, version: int) -> str:
    """Where the reference profile of a version stands on the data store."""
    return f"{experiment}/reference_profiles/{version}.bin"


def importances_path(experiment: str, version: int) -> str:
    """Where the importances of a version's columns stand beside it."""
    return f"{experiment}/reference_profiles/{version}.importances.json"


def held_out_path(experiment: str, version: int) -> str:
    """Where what a version says of held-out rows stands beside it, for regression with a log."""
    return f"{experiment}/reference_profiles/{version}.held_out.parquet"


def inputs_path(experiment: str, version: int) -> str:
    """Where a version's inputs and classes stand beside it."""
    return f"{experiment}/reference_profiles/{version}.inputs.json"


def _flushed(store: DataStore, experiment: str, what: str) -> Iterator[Flushed]:
    top = f"{experiment}/{what}"
    for file in store.listed(top):
        version, _, name = file.path.removeprefix(f"{top}/").partition("/")
        target, _, rest = name.partition("/")
        start = _window(rest, ENDINGS[what])
        if version.isdecimal() and start is not None:
            yield Flushed(file, int(version), target, start)


def _by_version(store: DataStore, files: Iterable[Flushed]) -> dict[int, list[Increment]]:
    found: dict[int, list[Increment]] = {}
    for one in files:
        url = store.at(one.file.path)
        increment = Increment(one.window, url, one.file.modified, one.target)
        found.setdefault(one.version, []).append(increment)
    return {version: in_order(increments) for version, increments in sorted(found.items())}


def _folder(experiment: str, what: str, version: int, target: str) -> str:
    return f"{experiment}/{what}/{version}/{target}"


def _increments(
    store: DataStore, experiment: str, version: int, targets: Iterable[str], what: str
) -> list[Increment]:
    found = []
    for target in targets:
        folder = _folder(experiment, what, version, target)
        for file in store.listed(folder):
            start = _window(file.path.removeprefix(f"{folder}/"), ENDINGS[what])
            if start is not None:
                found.append(Increment(start, store.at(file.path), file.modified, target))
    return in_order(found)


def in_order(increments: Iterable[Increment]) -> list[Increment]:
    """Oldest window first."""
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
