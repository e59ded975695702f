"""Looks for labels that leak into features or across the split. Pure."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.folds import (
    EVENT_TIME,
    GROUP,
    LABEL,
    LABEL_TIME,
    ROW,
    SPLIT,
    TEST,
    TRAIN,
)
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import InputSchema

if TYPE_CHECKING:
    import pandas as pd

NEARLY_DETERMINES = 0.99
"""Share of the label that one feature alone explains from which on it is a leak."""

_BINS = 64

Leak = dict[str, Any]


def find(frame: "pd.DataFrame", schema: InputSchema, task: Task) -> tuple[Leak, ...]:
    """Every leak in a training set, blocking ones first.

    Args:
        frame: a training set, with the reserved columns.
        schema: its features.
        task: how the label is to be read.
    """
    leaks = _duplicates(frame, schema) + _after_the_label(frame)
    for column in schema.columns:
        explained = determination(frame[column.name], frame[LABEL], task)
        if explained >= NEARLY_DETERMINES:
            leaks.append(
                {
                    "kind": "determines the target",
                    "column": column.name,
                    "evidence": f"alone explains {explained:.1%} of the label",
                    "blocking": True,
                }
            )
    return tuple(sorted(leaks, key=lambda leak: not leak["blocking"]))


def determination(feature: "pd.Series[Any]", label: "pd.Series[Any]", task: Task) -> float:
    """How much of the label one feature explains alone, from 0 (nothing) to 1 (all).

    The label is predicted from the feature's own value (its category, or which of up to 64
    quantile bins it falls in) by leaving the row out; the result is the reduction of the squared
    error of the one-hot label (Goodman and Kruskal's tau), or of the value's rank in a
    regression: the rank, so that a leak is one on whatever scale either is written. With two
    classes, a numeric feature that orders the rows by class explains them too (Somers' D).
    """
    import numpy as np
    import pandas as pd

    known = label.notna().to_numpy()
    feature, label = feature[known], label[known]
    codes = _codes(feature)
    if task == "regression":
        truth = label.rank().to_numpy()[:, None]
    else:
        labels = label.to_numpy(dtype=int)
        truth = np.eye(int(labels.max()) + 1)[labels]
    n = len(truth)
    base = ((truth - truth.mean(axis=0)) ** 2).sum() * (n / (n - 1)) ** 2
    if base == 0:
        return 0.0
    sizes = np.bincount(codes).astype(float)
    sums = pd.DataFrame(truth).groupby(codes).transform("sum").to_numpy()
    others = sizes[codes] - 1
    alone = others == 0
    predicted = np.where(
        alone[:, None],
        (truth.sum(axis=0) - truth) / (n - 1),
        (sums - truth) / np.where(alone, 1, others)[:, None],
    )
    tau = float(max(0.0, 1 - ((truth - predicted) ** 2).sum() / base))
    ordered = task == "binary_classification" and _is_continuous(feature)
    return max(tau, _somers_d(feature, label)) if ordered else tau


def _codes(feature: "pd.Series[Any]") -> Any:
    import pandas as pd

    if _is_continuous(feature):
        feature = pd.qcut(feature, _BINS, duplicates="drop", labels=False)
    return pd.factorize(feature, use_na_sentinel=False)[0]


def _is_continuous(feature: "pd.Series[Any]") -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(feature) and feature.nunique() > _BINS)


def _somers_d(feature: "pd.Series[Any]", label: "pd.Series[Any]") -> float:
    """How much more often a positive row's value is the larger than the smaller one, in absolute
    terms (2 AUC - 1); missing values count as the smallest."""
    positive = (label == 1).to_numpy()
    ranks, hits = feature.rank(na_option="top").to_numpy(), int(positive.sum())
    larger = ranks[positive].sum() - hits * (hits + 1) / 2
    return abs(2 * float(larger) / (hits * (len(positive) - hits)) - 1)


def _duplicates(frame: "pd.DataFrame", schema: InputSchema) -> list[Leak]:
    """Equal rows on both sides. Where time or groups divide the rows, equal features of another
    time or group are no proof of a leak, and reported without blocking."""
    told_apart = [name for name in (EVENT_TIME, GROUP) if name in frame]
    leaks: list[Leak] = []
    for columns, blocking in (([*schema.names, *told_apart], True), ([*schema.names], False)):
        count, examples = _on_both_sides(frame, columns)
        if count and not leaks:
            evidence = f"{count} test rows equal a training row, e.g. {', '.join(examples)}"
            leaks.append(
                {
                    "kind": "rows on both sides of the split",
                    "column": "",
                    "evidence": evidence if blocking else f"{evidence}, of another time or group",
                    "blocking": blocking,
                }
            )
    return leaks


def _on_both_sides(frame: "pd.DataFrame", columns: list[str]) -> tuple[int, list[str]]:
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame[columns], index=False)
    test = frame[SPLIT] == TEST
    both = test & hashes.isin(hashes[frame[SPLIT] == TRAIN])
    return int(both.sum()), frame.loc[both, ROW].head(5).tolist()


def _after_the_label(frame: "pd.DataFrame") -> list[Leak]:
    if LABEL_TIME not in frame:
        return []
    later = frame[EVENT_TIME] > frame[LABEL_TIME]
    if not later.any():
        return []
    examples = frame.loc[later, ROW].head(5).tolist()
    return [
        {
            "kind": "features from after the label",
            "column": "",
            "evidence": f"{int(later.sum())} rows have features newer than their label, "
            f"e.g. {examples}",
            "blocking": True,
        }
    ]
