"""The reserved columns of a training set, and which rows are fitted and held out per fold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

LABEL = "__label__"
ROW = "__row__"
SPLIT = "__split__"
FOLD = "__fold__"
EVENT_TIME = "__event_time__"
LABEL_TIME = "__label_time__"
GROUP = "__group__"
RESERVED = (LABEL, ROW, SPLIT, FOLD, EVENT_TIME, LABEL_TIME, GROUP)

TRAIN = "train"
TEST = "test"


def held_out_rows(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The held-out rows in the order of their ids, whatever the order in which they came: what is
    drawn from them with a seed is then always the same."""
    return rows[rows[SPLIT] == TEST].sort_values(ROW, kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Fold:
    """Positions of the rows of one cross-validation fold, within the training rows."""

    fit: Any
    held_out: Any


def folds(train: "pd.DataFrame", *, ordered: bool) -> tuple[Fold, ...]:
    """The cross-validation folds of the training rows, those left out that would be empty.

    Args:
        train: training rows with the reserved columns; `__fold__` is -1 where never held out.
        ordered: folds follow time, so a fold is predicted from earlier ones only, and from rows
            whose label was known when the fold began.
    """
    import numpy as np

    number = train[FOLD].to_numpy()
    result = []
    for index in range(int(number.max()) + 1):
        held_out = number == index
        fit = number < index if ordered else number != index
        if ordered and LABEL_TIME in train:
            began = train.loc[held_out, EVENT_TIME].min()
            fit &= (train[LABEL_TIME] <= began).to_numpy()
        if fit.any() and held_out.any():
            result.append(Fold(np.flatnonzero(fit), np.flatnonzero(held_out)))
    return tuple(result)
