"""How far a rollout has come, written down before each step, so that whoever comes next knows.

One file per endpoint on the data store. Knows nothing of what the steps do.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlops_assets.gateways.data_store import DataStore, DataStoreError

Stage = Literal["bringing_up", "shifting", "settling", "rolling_back", "done", "rolled_back"]
ENDED = ("done", "rolled_back")


@dataclass(frozen=True)
class Progress:
    """One rollout of one version on one target."""

    run: str
    """Who began it."""
    version: int
    manifest: dict[str, Any]
    stage: Stage
    """What is being done, or how it ended."""
    share: float
    """What the candidate was last asked to have of the traffic, 0 to 1."""
    began: str
    """ISO 8601, UTC."""
    reason: str
    """Why it is rolled back; empty else."""

    @property
    def ended(self) -> bool:
        return self.stage in ENDED


class Journal:
    """The progress of one endpoint's rollouts; the newest is kept."""

    def __init__(self, store: DataStore, experiment: str, target: str) -> None:
        self._store = store
        self._path = f"{experiment}/rollouts/{target}.json"

    def read(self) -> Progress | None:
        """The newest rollout; None before the first.

        Raises:
            DataStoreError: it cannot be read, or is not what `write` writes.
        """
        if not self._store.exists(self._path):
            return None
        url = self._store.at(self._path)
        try:
            return Progress(**self._store.read_json(url))
        except (ValueError, TypeError) as error:
            raise DataStoreError(f"{url} does not hold a rollout's progress: {error}") from error

    def write(self, progress: Progress) -> None:
        self._store.write_json(self._path, asdict(progress))
