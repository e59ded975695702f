"""Which rows a fold fits on and holds out."""

import pandas as pd

from mlops_assets.modeling.folds import EVENT_TIME, FOLD, LABEL_TIME, folds


def positions(train: pd.DataFrame, *, ordered: bool) -> list[tuple[list[int], list[int]]]:
    return [(f.fit.tolist(), f.held_out.tolist()) for f in folds(train, ordered=ordered)]


def test_without_order_a_fold_fits_on_all_others() -> None:
    train = pd.DataFrame({FOLD: [0, 1, 0, 2]}, index=[7, 3, 9, 1])
    assert positions(train, ordered=False) == [
        ([1, 3], [0, 2]),
        ([0, 2, 3], [1]),
        ([0, 1, 2], [3]),
    ]


def test_in_order_a_fold_fits_on_earlier_ones_and_on_rows_never_held_out() -> None:
    train = pd.DataFrame({FOLD: [-1, 0, 1, 1]})
    assert positions(train, ordered=True) == [([0], [1]), ([0, 1], [2, 3])]


def test_in_order_rows_wait_for_their_label() -> None:
    day = pd.Timestamp("2025-01-01")
    train = pd.DataFrame(
        {
            FOLD: [-1, -1, 0, 1],
            EVENT_TIME: [day + pd.Timedelta(days=d) for d in range(4)],
            LABEL_TIME: [day + pd.Timedelta(days=d) for d in (2, 3, 3, 9)],
        }
    )
    assert positions(train, ordered=True) == [([0], [2]), ([0, 1, 2], [3])]
    train.loc[0, LABEL_TIME] = pd.NaT  # nobody knows when: not known then
    assert positions(train, ordered=True) == [([1, 2], [3])]


def test_a_fold_without_rows_is_none() -> None:
    assert positions(pd.DataFrame({FOLD: [0, 2, 2]}), ordered=False) == [
        ([1, 2], [0]),
        ([0], [1, 2]),
    ]
    assert positions(pd.DataFrame({FOLD: [-1, -1, 1]}), ordered=True) == [([0, 1], [2])]
