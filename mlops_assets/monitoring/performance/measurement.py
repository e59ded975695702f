"""The quality of each window of predictions, computed when its rows or its labels changed."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import record_json
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.realised import Labels, LoggedWindow, QualityWindow
from mlops_assets.gateways.records import Metric
from mlops_assets.modeling import metrics
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.tasks import metrics_for
from mlops_assets.monitoring.performance import estimation, logged
from mlops_assets.monitoring.performance.expected_errors import ExpectedErrors
from mlops_assets.monitoring.performance.labels import KnownLabels
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.contents import PREDICTION
from mlops_assets.serving.recording import STAMP, window_start

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 300
CONFIDENCE = 0.95
MOST_ROWS = 10_000
"""Rows that metrics are computed on: of more of them those whose ids have the smallest hashes."""


@dataclass(frozen=True)
class Measured:
    """Every window of predictions there is."""

    windows: tuple[QualityWindow, ...]
    """Oldest first."""
    unknown: int
    """Labels that belong to no logged row of these windows."""
    examples: tuple[str, ...]


def measure(
    store: DataStore,
    experiment: Experiment,
    windows: Iterable[LoggedWindow],
    labels: Labels | None,
    *,
    now: datetime,
) -> Measured:
    """Estimate and realised quality of every window of `monitoring.quality.window`.

    A window whose files and labels are those of the last time is not read again. One whose labels
    changed anywhere is read and joined again, and measured anew only if they are other labels for
    its own rows.

    Args:
        store: where the log is, and what was measured before.
        experiment: whose.
        windows: what was logged.
        labels: what is known by now; None where nothing says to which row a label belongs.
        now: aware.
    """
    table = KnownLabels(store, experiment, labels)
    errors = ExpectedErrors(store, experiment.name)
    found = [
        _window(store, experiment, version, start, parts, table, errors, now)
        for (version, start), parts in _grouped(experiment, windows)
    ]
    unknown, examples = table.unknown()
    ordered = sorted(found, key=lambda window: (window.start, window.version))
    return Measured(tuple(ordered), unknown, examples)


def _grouped(
    experiment: Experiment, windows: Iterable[LoggedWindow]
) -> Iterator[tuple[tuple[int, datetime], list[LoggedWindow]]]:
    seconds = experiment.monitoring.quality_window_seconds
    found: dict[tuple[int, datetime], list[LoggedWindow]] = {}
    for window in windows:
        start = window_start(datetime.fromisoformat(window.start).timestamp(), seconds)
        found.setdefault((window.version, start), []).append(window)
    yield from sorted(found.items())


def _window(
    store: DataStore,
    experiment: Experiment,
    version: int,
    start: datetime,
    parts: Sequence[LoggedWindow],
    labels: KnownLabels,
    errors: ExpectedErrors,
    now: datetime,
) -> QualityWindow:
    path = f"{experiment.name}/performance/{version}/{start:{STAMP}}.json"
    before = _before(store, path)
    log = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()[:16]
    same_log = before is not None and before.log == log
    if before is not None and same_log and labels.settled and before.labels == labels.digest:
        return before
    frame = logged.read(store, parts)
    classes = logged.classes(frame)
    rows = labels.joined(frame)
    joined = _digest(rows)
    if before is not None and same_log and before.joined == joined:
        made = replace(before, labels=labels.digest)
    else:
        if before is not None and same_log:
            estimated = before.estimated
        elif classes:
            estimated = _estimated(_sampled(rows), classes, experiment.task)
        else:
            estimated = errors.of(version, parts)
        made = _measured(rows, classes, experiment.task, before, estimated)
        made = replace(
            made,
            start=start.isoformat(),
            version=version,
            computed_at=now.isoformat(timespec="seconds"),
            log=log,
            labels=labels.digest,
            joined=joined,
        )
    store.write_bytes(path, record_json.to_json(made).encode())
    return made


def _before(store: DataStore, path: str) -> QualityWindow | None:
    if not store.exists(path):
        return None
    return record_json.from_json(QualityWindow, store.read_bytes(store.at(path)).decode())


def _digest(rows: "pd.DataFrame") -> str:
    import pandas as pd

    labelled = rows.loc[rows["label"].notna(), [*logged.ROW, "label", "known_at"]].astype(str)
    hashed = pd.util.hash_pandas_object(labelled, index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()[:16]


def _measured(
    rows: "pd.DataFrame",
    classes: tuple[str, ...],
    task: Task,
    before: QualityWindow | None,
    estimated: dict[str, Metric],
) -> QualityWindow:
    """Without what only the caller knows."""
    known = rows["label"].notna()
    if classes:
        strange = known & ~rows["label"].isin(classes)
    else:
        strange = known & rows["label"].astype("float64").isna()
    labelled = rows[known & ~strange]
    lags = _lags(labelled)
    return QualityWindow(
        start="",
        version=0,
        predictions=len(rows),
        labelled=len(labelled),
        strange=int(strange.sum()),
        lag_median_s=float(lags.median()) if len(lags) else None,
        lag_max_s=float(lags.max()) if len(lags) else None,
        realised=realised(outcome(_sampled(labelled), classes), task) if len(labelled) else {},
        estimated=estimated,
        revision=1 if before is None else before.revision + 1,
        before={} if before is None else {n: m.value for n, m in before.realised.items()},
        computed_at="",
        log="",
        labels="",
        joined="",
    )


def _lags(labelled: "pd.DataFrame") -> "pd.Series[float]":
    """Seconds until each label was known, of those that tell it."""
    import pandas as pd

    if labelled.empty:
        return pd.Series(dtype="float64")
    lags: pd.Series[float] = (labelled["known_at"] - labelled["time"]).dt.total_seconds()
    return lags.dropna()


def outcome(labelled: "pd.DataFrame", classes: tuple[str, ...]) -> Outcome:
    """Labelled rows as metrics want them, encoded by the places of their labels in `classes`."""
    if not classes:
        truth = labelled["label"].to_numpy(dtype="float64")
        return Outcome(truth, labelled[PREDICTION].to_numpy(dtype="float64"), None)
    return Outcome(
        _encoded(labelled["label"], classes),
        _encoded(labelled[PREDICTION], classes),
        _probabilities(labelled, classes),
    )


def realised(found: Outcome, task: Task) -> dict[str, Metric]:
    """Every metric of the task that is defined on these rows, with its interval."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        defined = tuple(n for n in metrics_for(task) if np.isfinite(metrics.point(n, found)))
        return metrics.estimate(
            defined,
            found,
            stratify=metrics.stratified(task),
            resamples=RESAMPLES,
            confidence=CONFIDENCE,
            seed=0,
        )


def _estimated(rows: "pd.DataFrame", classes: tuple[str, ...], task: Task) -> dict[str, Metric]:
    return estimation.estimate(
        estimation.estimable(task),
        _encoded(rows[PREDICTION], classes),
        _probabilities(rows, classes),
        resamples=RESAMPLES,
        confidence=CONFIDENCE,
        seed=0,
    )


def _sampled(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The same ones whenever they are asked for, however many came."""
    import pandas as pd

    if len(rows) <= MOST_ROWS:
        return rows
    hashes = pd.util.hash_pandas_object(rows[logged.ROW], index=False)
    return rows.loc[hashes.nsmallest(MOST_ROWS).index].sort_values(logged.ROW)


def _encoded(labels: Any, classes: tuple[str, ...]) -> Any:
    return labels.map({name: float(code) for code, name in enumerate(classes)}).to_numpy(float)


def _probabilities(rows: "pd.DataFrame", classes: tuple[str, ...]) -> Any:
    return rows[[f"probability_{name}" for name in classes]].to_numpy(dtype="float64")
