"""A candidate in the shadow of the live version: it scores copies of the rows that one has
answered, from the prediction log, and answers nobody. Knows rows and bundles, nothing of targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.deployment.breach import Breach, Problem
from mlops_assets.deployment.spec import ShadowSpec
from mlops_assets.deployment.targets.base import TargetContext
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import PredictionStore
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.wait import wait_until
from mlops_assets.modeling.scoring import columns as as_columns
from mlops_assets.serving.contents import label
from mlops_assets.serving.scorer import Scorer

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 10_000
LOOK_EVERY = 15.0
"""Seconds from one look at the log to the next."""
TAKEN = frozenset({"request_id", "row", "entity", "time", "version", "prediction"})


class ShadowError(Exception):
    """The logged rows cannot be scored by the candidate; the message says why."""


@dataclass(frozen=True)
class Flips:
    """Rows of one slice to which the candidate gives another label."""

    slice: str
    """`column=value`."""
    rows: int
    flipped: int

    @property
    def share(self) -> float:
        return self.flipped / self.rows


@dataclass(frozen=True)
class Report:
    """How the candidate compares with what was answered."""

    rows: int
    agreement: float | None
    """Share of rows with the same label; None for regression."""
    score_shift: float
    """Classification: mean over rows of half the summed differences of probabilities (total
    variation). Regression: mean absolute difference, in standard deviations of what was answered.
    """
    largest_shift: float
    """The same of the row that differs most."""
    flips: tuple[Flips, ...]
    """By slice, the largest share first."""
    problems: tuple[Problem, ...]
    """What is beyond the limits; empty when nothing is."""

    @property
    def passed(self) -> bool:
        return not self.problems


def gather(
    store: DataStore, live: Endpoint, spec: ShadowSpec, context: TargetContext
) -> "pd.DataFrame | None":
    """The newest rows that the live version has answered; None when there is none.

    Waits for more while there are fewer than asked, as long as the YAML says.
    """
    began = context.now()

    def enough() -> "tuple[pd.DataFrame] | None":
        found = _newest(store, live, spec, context.now())
        waited = (context.now() - began).total_seconds()
        return (found,) if len(found) >= spec.rows or waited >= spec.wait_s else None

    (found,) = wait_until(
        enough,
        timeout=spec.wait_s,
        interval=LOOK_EVERY,
        clock=lambda: context.now().timestamp(),
        sleep=context.sleep,
    )
    return found if len(found) else None


def compare(
    logged: "pd.DataFrame", folder: Path, *, spec: ShadowSpec, slices: tuple[str, ...]
) -> Report:
    """Score logged rows with the candidate, beside what the live version answered.

    Args:
        logged: rows of the prediction log, with every input of the candidate.
        folder: the candidate's bundle.
        spec: what is asked of it.
        slices: columns by whose values label flips are counted; those not logged are left out.

    Raises:
        ShadowError: a column is missing, or the candidate cannot score a row.
    """
    import numpy as np
    import pandas as pd

    scorer = Scorer.open(folder)
    manifest = scorer.manifest
    columns = {name: _logged_as(name, manifest.classes) for name in manifest.schema.names}
    if missing := sorted(n for n, stored in columns.items() if stored not in logged.columns):
        raise ShadowError(
            f"the prediction log holds no column {missing[0]!r}, which the candidate needs; keep "
            "all columns (monitoring.prediction_log.columns)"
        )
    labels, values = _scored(scorer, logged, columns)
    regression = manifest.task == "regression"
    if regression:
        answered = logged["prediction"].to_numpy(dtype=float)
        spread = float(np.std(answered)) or 1.0
        shifts = np.abs(values[:, 0] - answered) / spread
        same = None
    else:
        names = [f"probability_{label(one)}" for one in manifest.classes]
        if absent := sorted(set(names) - set(logged.columns)):
            raise ShadowError(f"the live version knows no {absent[0]}: its classes are others")
        shifts = np.abs(values - logged[names].to_numpy(dtype=float)).sum(axis=1) / 2
        same = pd.Series(labels, index=logged.index) == logged["prediction"]
    agreement = None if same is None else float(same.mean())
    shift = float(shifts.mean())
    problems = []
    if agreement is not None and agreement < spec.min_agreement:
        least = f"{spec.min_agreement:.2%}"
        said = (
            f"it agrees with the live version on {agreement:.2%} of {len(logged)} rows, "
            f"min_agreement is {least}"
        )
        allowed = f"{least} agree"
        problems.append(Problem(said, Breach(f"{agreement:.2%} of the labels agree", allowed)))
    if shift > spec.max_score_shift:
        most = f"{spec.max_score_shift:g}"
        said = f"its scores are {shift:.3g} away on average, max_score_shift is {most}"
        problems.append(Problem(said, Breach(f"scores {shift:.3g} away", most)))
    return Report(
        rows=len(logged),
        agreement=agreement,
        score_shift=shift,
        largest_shift=float(shifts.max()),
        flips=() if same is None else _flips(logged, same, slices),
        problems=tuple(problems),
    )


def _newest(store: DataStore, live: Endpoint, spec: ShadowSpec, now: datetime) -> "pd.DataFrame":
    import pandas as pd

    files = PredictionStore(store).increments(
        live.experiment,
        live.version,
        [live.target],
        since=datetime.min.replace(tzinfo=UTC),
        until=now,
    )
    frames, rows = [], 0
    for file in reversed(files):
        frame = store.read_table(file.url)
        frame = frame[frame["time"] >= now - timedelta(hours=spec.hours)]
        if frame.empty or rows >= spec.rows:
            break
        frames.append(frame)
        rows += len(frame)
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames).sort_values("time").tail(spec.rows).reset_index(drop=True)


def _logged_as(name: str, classes: tuple[Any, ...]) -> str:
    """The column that a feature has in the log, where some names are taken."""
    taken = TAKEN | {f"probability_{label(one)}" for one in classes}
    return f"feature_{name}" if name in taken else name


def _scored(
    scorer: Scorer, logged: "pd.DataFrame", columns: Mapping[str, str]
) -> tuple[list[str], Any]:
    """Labels as the log writes them, and an array of (rows, classes) probabilities, or of (rows, 1)
    predictions."""
    import numpy as np

    labels: list[str] = []
    values: list[list[float]] = []
    for start in range(0, len(logged), CHUNK):
        part = logged.iloc[start : start + CHUNK]
        given = part[list(columns.values())].set_axis([*columns], axis=1)
        try:
            scores = scorer.score(as_columns(given, scorer.manifest.schema))
        except ValueError as error:
            raise ShadowError(f"the candidate cannot score what was answered: {error}") from error
        labels += [label(one) for one in scores.predictions]
        values += scores.probabilities or [[float(one)] for one in scores.predictions]
    return labels, np.array(values)


def _flips(logged: "pd.DataFrame", same: Any, slices: tuple[str, ...]) -> tuple[Flips, ...]:
    found = []
    for column in slices:
        if column not in logged.columns:
            continue
        groups = (~same).groupby(logged[column].fillna("missing").astype(str))
        found += [
            Flips(f"{column}={value}", int(rows.size), int(rows.sum())) for value, rows in groups
        ]
    return tuple(sorted(found, key=lambda one: (-one.share, one.slice)))
