"""Divides rows into training and test without leakage, and training rows into folds. Pure.

A row's side follows from a hash of its own content (or of its group), so that equal rows never
stand on both sides, and a row keeps its side as the data grows: always where the hash alone
decides, nearly always within classes, whose shares are kept exact instead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.modeling.folds import (
    EVENT_TIME,
    FOLD,
    GROUP,
    LABEL,
    LABEL_TIME,
    RESERVED,
    ROW,
    SPLIT,
    TEST,
    TRAIN,
    folds,
)
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    import pandas as pd


NEVER_HELD_OUT = 0.3
"""Share of the training rows, the oldest, that time-ordered folds only fit on."""


FEW = 200
"""Distinct rows or groups up to which they are ranked, to keep to the fractions asked for; of more
of them, the hash alone is even enough."""


class SplitError(Exception):
    """The rows cannot be divided as the YAML asks."""


@dataclass(frozen=True)
class SplitResult:
    """The training set's rows, with what was done in words."""

    frame: "pd.DataFrame"
    ordered: bool
    words: str


def split(
    frame: "pd.DataFrame",
    spec: FeaturesSpec,
    task: Task,
    features: tuple[str, ...],
    *,
    keep: tuple[str, ...] = (),
) -> SplitResult:
    """Label, split and fold columns for every row with a known label.

    Args:
        frame: conformed rows: features, the columns the YAML names, and the encoded `__label__`,
            NaN where it is not known.
        spec: the `features` section.
        task: decides what `auto` means.
        features: names of the feature columns.
        keep: further columns to carry along.

    Raises:
        SplitError: too few rows, or a side or fold would lack a class.
    """
    kind = _kind(spec, task)
    rows = frame[frame[LABEL].notna()]
    unlabelled = len(frame) - len(rows)
    if rows.empty:
        raise SplitError(f"none of the {len(frame)} rows has a label in {spec.target!r}")
    rows = _with_reserved(rows, spec, features)
    if kind == "time":
        rows, words = _by_time(rows, spec)
    else:
        key = rows[GROUP] if kind == "group" else rows[[*features]]
        rows, words = _by_hash(rows, _shuffled(key, spec.split.seed), spec, kind)
    if unlabelled:
        words += f"; {unlabelled} rows without a label left out"
    _refuse_poor(rows, task, spec, ordered=kind == "time")
    kept = [*dict.fromkeys((*features, *keep)), *(c for c in RESERVED if c in rows)]
    return SplitResult(rows[kept].reset_index(drop=True), ordered=kind == "time", words=words)


def _kind(spec: FeaturesSpec, task: Task) -> str:
    if spec.split.kind != "auto":
        return spec.split.kind
    if spec.event_time is not None:
        return "time"
    if spec.group is not None:
        return "group"
    return "random" if task == "regression" else "stratified"


def _with_reserved(
    rows: "pd.DataFrame", spec: FeaturesSpec, features: tuple[str, ...]
) -> "pd.DataFrame":
    identity = [name for name in (spec.entity, spec.event_time) if name is not None]
    named = spec.entity is not None
    added: dict[str, Any] = {ROW: _row_ids(rows, identity if named else [*features, *identity])}
    for reserved, name in ((EVENT_TIME, spec.event_time), (LABEL_TIME, spec.label_time)):
        if name is not None:
            added[reserved] = rows[name]
    if spec.group is not None:
        added[GROUP] = rows[spec.group].astype(str)
    return rows.assign(**added)


def _row_ids(rows: "pd.DataFrame", columns: list[str]) -> Any:
    """Hash of the identifying columns; repeated rows are numbered."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(rows[columns], index=False)
    repeat = hashes.groupby(hashes).cumcount()
    return [
        f"{value:016x}" + (f"-{n}" if n else "") for value, n in zip(hashes, repeat, strict=True)
    ]


def _shuffled(key: Any, seed: int) -> Any:
    """A pseudo-random uint64 per row that depends on the key and the seed alone."""
    import pandas as pd

    first = pd.util.hash_pandas_object(key, index=False)
    salt = (seed * 0x9E3779B97F4A7C15) % 2**64
    return pd.util.hash_array(first.to_numpy() ^ salt)


def _by_hash(
    rows: "pd.DataFrame", order: Any, spec: FeaturesSpec, kind: str
) -> tuple["pd.DataFrame", str]:
    import numpy as np

    share = _share_within(rows[LABEL], order) if kind == "stratified" else _share(order)
    fraction, number = spec.split.test_fraction, spec.split.folds
    test = share < fraction
    # Rounded first, or a share at the edge of a fold would fall to either side of it.
    fold = np.floor(((share - fraction) / (1 - fraction) * number).round(9)).astype(int)
    fold = np.clip(fold, 0, number - 1)
    rows = rows.assign(**{SPLIT: np.where(test, TEST, TRAIN), FOLD: np.where(test, -1, fold)})
    what = {"group": f"by {spec.group}", "stratified": "within classes", "random": "at random"}
    return rows, f"{fraction:.0%} of the rows held out {what[kind]}, {number} folds"


def _share(order: Any) -> Any:
    """Where each hash stands among all, from 0 up to 1; equal hashes stand at the same place."""
    import numpy as np

    distinct, rank = np.unique(order, return_inverse=True)
    return rank / len(distinct) if len(distinct) <= FEW else order / 2.0**64


def _share_within(labels: "pd.Series[Any]", order: Any) -> Any:
    """The same within each class, so that every side and fold has its share of each."""
    import pandas as pd

    by_key = pd.DataFrame({"label": labels.to_numpy(), "order": order})
    # Dense rank: rows of one key share a rank, hence a side and a fold.
    rank = by_key.groupby("label")["order"].rank(method="dense")
    share = (rank - 1) / rank.groupby(by_key["label"]).transform("max")
    # Equal features with different labels would rank apart: the first label's place counts.
    return share.groupby(by_key["order"]).transform("first").to_numpy()


def _by_time(rows: "pd.DataFrame", spec: FeaturesSpec) -> tuple["pd.DataFrame", str]:
    import numpy as np

    timeless = int(rows[EVENT_TIME].isna().sum())
    rows = rows[rows[EVENT_TIME].notna()].sort_values([EVENT_TIME, ROW], kind="stable")
    if rows.empty:
        raise SplitError(f"no row with a label has a time in {spec.event_time!r}")
    times = rows[EVENT_TIME]
    began = times.iloc[int(len(rows) * (1 - spec.split.test_fraction))]
    test = (times >= began).to_numpy()
    dropped = 0
    if LABEL_TIME in rows:
        # Not known when it became known counts as not known by then.
        late = ~test & ~(rows[LABEL_TIME] <= began).to_numpy()
        dropped = int(late.sum())
        rows, test = rows[~late], test[~late]
    fold = np.full(len(rows), -1)
    train_times = rows[EVENT_TIME][~test]
    shares = NEVER_HELD_OUT + (1 - NEVER_HELD_OUT) * np.arange(spec.split.folds) / spec.split.folds
    if len(train_times):
        edges = train_times.iloc[(len(train_times) * shares).astype(int)].to_numpy()
        fold[~test] = np.searchsorted(edges, train_times.to_numpy(), side="right") - 1
    rows = rows.assign(**{SPLIT: np.where(test, TEST, TRAIN), FOLD: fold})
    words = f"rows from {began:%Y-%m-%d %H:%M} on held out, folds follow {spec.event_time}"
    if dropped:
        words += f"; {dropped} training rows left out whose label was not known by then"
    if timeless:
        words += f"; {timeless} rows without {spec.event_time} left out"
    return rows, words


def _refuse_poor(rows: "pd.DataFrame", task: Task, spec: FeaturesSpec, *, ordered: bool) -> None:
    for side in (TRAIN, TEST):
        part = rows[rows[SPLIT] == side]
        if len(part) < 2:
            raise SplitError(
                f"the {side} side would hold {len(part)} of {len(rows)} rows: more data is needed, "
                "or another features.split"
            )
        if task != "regression" and part[LABEL].nunique() < rows[LABEL].nunique():
            raise SplitError(
                f"the {side} side would lack a class: more data is needed, or another "
                "features.split (test_fraction, kind, seed)"
            )
    train = rows[rows[SPLIT] == TRAIN]
    usable = folds(train, ordered=ordered)
    if len(usable) < spec.split.folds:
        raise SplitError(
            f"only {len(usable)} of {spec.split.folds} folds would have rows to fit on and rows to "
            "hold out; lower features.split.folds"
        )
    if task == "regression":
        return
    labels = train[LABEL].to_numpy()
    for number, fold in enumerate(usable, 1):
        # Of several classes a rare one may be missing where a fold is scored, of two it may not.
        sides = [fold.fit, fold.held_out] if task == "binary_classification" else [fold.fit]
        if any(len(set(labels[side])) < len(set(labels)) for side in sides):
            raise SplitError(
                f"fold {number} of {len(usable)} would lack a class on one side: lower "
                "features.split.folds, or give more rows of the rarest class"
            )
