"""The table of labels, read when a window needs it, and which of them belong to a logged row."""

from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.realised import Labels
from mlops_assets.monitoring.performance import joining
from mlops_assets.monitoring.spec import LabelsSpec

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5


class KnownLabels:
    """What is known of an experiment's outcomes.

    Attributes:
        digest: of the table and of how it is joined; empty where there are no labels.
        settled: whether every window was joined with these labels before. Only then is it known
            which of them belong to no row, and a window may be left unread.
    """

    def __init__(self, store: DataStore, experiment: Experiment, labels: Labels | None) -> None:
        spec = experiment.labels
        self._spec = spec or LabelsSpec()
        self._store, self._labels = store, labels
        self._path = f"{experiment.name}/performance/unknown.json"
        self._table: pd.DataFrame | None = None
        self._used: set[int] = set()
        self.digest = "" if labels is None else f"{labels.digest[:16]}-{self._spec.fingerprint()}"
        self._before: dict[str, Any] = {}
        if labels is not None and store.exists(self._path):
            self._before = store.read_json(store.at(self._path))
        self.settled = labels is None or self._before.get("labels") == self.digest

    def joined(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Logged rows with `label` and `known_at`, as `joining.join` gives them."""
        if self._labels is None:
            return frame.assign(label=None, known_at=None)
        joined = joining.join(frame, self._newest(), self._spec)
        self._used |= set(joined[joining.LABEL_ROW]) - {-1}
        return joined

    def unknown(self) -> tuple[int, tuple[str, ...]]:
        """How many labels belong to no logged row, and by request some of these; to be asked when
        every window was joined. Counted when the labels change."""
        if not self.settled:
            table = self._newest()
            without = table[table["label"].notna() & ~table.index.isin(self._used)]
            # Of entities most are never asked about; and who they are is nobody's business here.
            named = without["request_id"].dropna().astype(str).unique()
            self._before = {
                "labels": self.digest,
                "count": len(without),
                "examples": sorted(named)[:EXAMPLES],
            }
            self._store.write_json(self._path, self._before)
        return self._before.get("count", 0), tuple(self._before.get("examples", ()))

    def _newest(self) -> "pd.DataFrame":
        assert self._labels is not None  # noqa: S101
        if self._table is None:
            table = self._store.read_table(self._labels.url)
            self._table = joining.newest(table, self._spec)
        return self._table
