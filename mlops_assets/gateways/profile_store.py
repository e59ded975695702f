"""Where endpoints leave their profiles, and how they are found again.

Layout: `<experiment>/profiles/<version>/<target>/<window start>/<increment>.bin`. Knows bytes and
times, not what a profile is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mlops_assets.gateways.data_store import DataStore

WINDOW_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Increment:
    """One file an endpoint flushed."""

    window: datetime
    """Start of its window, UTC."""
    url: str


class ProfileStore:
    """The profiles of all experiments on one data store."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    def url_for(self, experiment: str, version: int, target: str) -> str:
        """The folder an endpoint writes to."""
        return self._store.at(_folder(experiment, version, target))

    def increments(
        self, experiment: str, version: int, targets: Iterable[str], *, windows: int
    ) -> list[Increment]:
        """Files of the newest `windows` windows of all targets together, oldest first."""
        found = []
        for target in targets:
            folder = _folder(experiment, version, target)
            for name in self._store.files(folder):
                start = _window(name)
                if start is not None:
                    found.append(Increment(start, self._store.at(f"{folder}/{name}")))
        newest = sorted({increment.window for increment in found})[-windows:]
        return sorted((i for i in found if i.window in newest), key=lambda i: (i.window, i.url))


def _folder(experiment: str, version: int, target: str) -> str:
    return f"{experiment}/profiles/{version}/{target}"


def _window(name: str) -> datetime | None:
    """The window of a file named by the layout; None for one that somebody else left there."""
    window, _, file = name.rpartition("/")
    if not file.endswith(".bin"):
        return None
    try:
        return datetime.strptime(window, WINDOW_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
