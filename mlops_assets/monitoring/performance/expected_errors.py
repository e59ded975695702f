"""What the held-out rows of a version tell of its errors: kept when it is registered, and asked
when a window of a regression has no labels yet."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import held_out_path
from mlops_assets.gateways.realised import LoggedWindow
from mlops_assets.gateways.records import Metric
from mlops_assets.modeling.folds import LABEL, RESERVED, held_out_rows
from mlops_assets.modeling.scoring import Opened
from mlops_assets.monitoring.performance import features, losses
from mlops_assets.monitoring.performance.losses import Losses
from mlops_assets.serving.contents import PREDICTION

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 10_000
RESAMPLES = 300
CONFIDENCE = 0.95


def keep(
    store: DataStore, experiment: str, version: int, *, opened: Opened, rows: "pd.DataFrame"
) -> str:
    """Write down what a version says of at most `MOST_ROWS` held-out rows; return the URL.

    Args:
        store: where.
        experiment: whose.
        version: of the bundle.
        opened: its bundle.
        rows: of the training set, with the reserved columns.
    """
    held_out = held_out_rows(rows)
    if len(held_out) > MOST_ROWS:
        held_out = held_out.sample(MOST_ROWS, random_state=0)
    outcome = opened.outcome(held_out)
    names = [name for name in held_out.columns if name not in RESERVED]
    told = held_out[names].assign(**{PREDICTION: outcome.predicted, LABEL: outcome.truth})
    return store.write_table(held_out_path(experiment, version), told)


class ExpectedErrors:
    """Those of every version of a regression, each learned once."""

    def __init__(self, store: DataStore, experiment: str) -> None:
        self._store = store
        self._experiment = experiment
        self._held_out: dict[int, pd.DataFrame | None] = {}
        self._learned: dict[tuple[int, tuple[str, ...]], Losses | None] = {}

    def of(self, version: int, windows: Iterable[LoggedWindow]) -> dict[str, Metric]:
        """The estimate for the rows of some windows; empty where too little is known of the
        version's errors."""
        held_out = self._rows(version)
        if held_out is None:
            return {}
        urls = [url for window in windows for url in window.urls]
        inputs = held_out.drop(columns=LABEL)
        rows = features.answered(self._store, urls, inputs, most=MOST_ROWS)
        if rows is None:
            return {}
        learned = self._losses(version, tuple(map(str, rows.columns)), held_out)
        if learned is None:
            return {}
        return losses.estimate(learned, rows, resamples=RESAMPLES, confidence=CONFIDENCE, seed=0)

    def _rows(self, version: int) -> "pd.DataFrame | None":
        if version not in self._held_out:
            path = held_out_path(self._experiment, version)
            there = self._store.exists(path)
            self._held_out[version] = (
                self._store.read_table(self._store.at(path)) if there else None
            )
        return self._held_out[version]

    def _losses(
        self, version: int, columns: tuple[str, ...], held_out: "pd.DataFrame"
    ) -> Losses | None:
        """By the columns that the log holds: another window may have been logged with others."""
        if (version, columns) not in self._learned:
            rows = features.typed(held_out[[*columns]], held_out)
            errors = (held_out[LABEL] - held_out[PREDICTION]).to_numpy(dtype="float64")
            self._learned[version, columns] = losses.fit(rows, errors, seed=0)
        return self._learned[version, columns]
