"""Planted leaks are found, honest signals are left alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mlops_assets.features import leakage
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
from mlops_assets.serving.schema import Column, InputSchema

ROWS = 2000
BINARY = "binary_classification"


def training_set(label: Any, **columns: Any) -> tuple[pd.DataFrame, InputSchema]:
    """Every fifth row held out; numbers are numeric features, the rest categories."""
    frame = pd.DataFrame(columns)
    frame[LABEL] = np.asarray(label, dtype=float)
    frame[ROW] = [f"row{k}" for k in range(len(frame))]
    frame[SPLIT] = np.where(np.arange(len(frame)) % 5 == 0, TEST, TRAIN)
    types = {n: "numeric" if frame[n].dtype.kind == "f" else "categorical" for n in columns}
    return frame, InputSchema(tuple(Column(n, t) for n, t in types.items()))


def determined(label: Any, task: str = BINARY, **columns: Any) -> set[str]:
    """Columns said to determine the target."""
    found = leakage.find(*training_set(label, **columns), task)
    return {leak["column"] for leak in found if leak["kind"] == "determines the target"}


@pytest.fixture(params=[0.5, 0.05], ids=["even", "rare"])
def churned(request: pytest.FixtureRequest) -> np.ndarray:
    return (np.random.default_rng(1).random(ROWS) < request.param).astype(float)


def test_planted_leaks_are_found_with_two_classes(churned: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    words = pd.Series(np.where(churned == 1, "left", "stayed"), dtype=object)
    codes = rng.choice(["a", "b", "c"], ROWS)
    leaks = {
        "equal": churned.copy(),
        "flipped": 1 - churned,
        "shifted": 7.5 - 3 * churned,
        "words": words,
        "split_words": words + "-" + pd.Series(codes),
        "with_noise": churned * 10 + rng.normal(0, 1, ROWS),
        "only_then": np.where(churned == 1, rng.random(ROWS), np.nan),
        "named_then": pd.Series(np.where(churned == 1, codes, None), dtype=object),
    }
    assert determined(churned, **leaks) == set(leaks)


def test_honest_features_are_left_alone_with_two_classes(churned: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    strong = churned * 2.33 + rng.normal(0, 1, ROWS)
    assert 0.93 < roc_auc_score(churned, strong) < 0.97
    very_strong = churned * 3 + rng.normal(0, 1, ROWS)
    honest = {
        "strong": strong,
        "very_strong": very_strong,
        "rounded": strong.round(),
        "banded": pd.Series(strong.round(1)).map(lambda v: f"band {v}"),
        "number": np.arange(ROWS, dtype=float),
        "identifier": pd.Series([f"id{k}" for k in range(ROWS)]),
        "constant": np.ones(ROWS),
        "empty": np.full(ROWS, np.nan),
    }
    assert determined(churned, **honest) == set()


def test_leaks_are_found_with_several_classes() -> None:
    rng = np.random.default_rng(4)
    label = rng.integers(0, 4, ROWS).astype(float)
    leaks = {
        "equal": label.copy(),
        "square": label**2,
        "word": pd.Series(label).map({0: "north", 1: "east", 2: "south", 3: "west"}),
    }
    honest = {"near": label + rng.normal(0, 0.6, ROWS), "identifier": rng.random(ROWS)}
    found = determined(label, "multiclass_classification", **leaks, **honest)
    assert found == set(leaks)


@pytest.mark.parametrize("shape", ["even", "skewed"])
def test_leaks_are_found_in_a_regression(shape: str) -> None:
    rng = np.random.default_rng(5)
    value = rng.random(ROWS) if shape == "even" else rng.lognormal(0, 2, ROWS)
    leaks = {"equal": value.copy(), "logarithm": np.log(value), "negative": 3 - value * 2}
    spread = rng.normal(0, 0.35 * np.std(np.log(value)), ROWS)
    honest = {"near": np.log(value) + spread, "identifier": np.arange(ROWS, dtype=float)}
    assert determined(value, "regression", **leaks, **honest) == set(leaks)


def test_determination_lies_between_nothing_and_all() -> None:
    rng = np.random.default_rng(6)
    label = pd.Series((rng.random(ROWS) < 0.3).astype(float))
    for strength in (0.0, 0.5, 1.0, 2.0, 4.0, 20.0):
        feature = pd.Series(label * strength + rng.normal(0, 1, ROWS))
        assert 0.0 <= leakage.determination(feature, label, BINARY) <= 1.0
    assert leakage.determination(pd.Series(rng.random(ROWS)), label, BINARY) < 0.1
    assert leakage.determination(label, pd.Series(np.zeros(ROWS)), BINARY) == 0.0


def test_rows_without_a_label_do_not_count() -> None:
    label = pd.Series([0.0, 1.0] * 100 + [np.nan] * 100)
    feature = pd.Series([0.0, 1.0] * 100 + [5.0, 6.0] * 50)
    assert leakage.determination(feature, label, BINARY) == 1.0


def copied(**times: Any) -> tuple[pd.DataFrame, InputSchema]:
    """Rows 0 and 5 (test) equal rows 1 and 6 (training)."""
    rng = np.random.default_rng(7)
    frame, schema = training_set(np.arange(100) % 2, usage=rng.random(100))
    frame.loc[[0, 5], "usage"] = frame.loc[[1, 6], "usage"].to_numpy()
    return frame.assign(**times), schema


def test_equal_rows_on_both_sides_block_and_are_named() -> None:
    (leak,) = leakage.find(*copied(), BINARY)
    assert leak["kind"] == "rows on both sides of the split"
    assert leak["evidence"] == "2 test rows equal a training row, e.g. row0, row5"
    assert leak["blocking"]


def test_equal_rows_of_another_time_or_group_are_reported_only() -> None:
    hours = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=k) for k in range(100)]
    for told_apart in ({EVENT_TIME: hours}, {GROUP: [f"g{k}" for k in range(100)]}):
        (leak,) = leakage.find(*copied(**told_apart), BINARY)
        assert not leak["blocking"]
        assert "of another time or group" in leak["evidence"]
    (leak,) = leakage.find(*copied(**{EVENT_TIME: hours[:1] * 100}), BINARY)
    assert leak["blocking"]


def test_features_newer_than_their_label_block() -> None:
    hours = pd.Series([datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=k) for k in range(100)])
    frame, schema = training_set(np.arange(100) % 2, usage=np.random.default_rng(8).random(100))
    frame = frame.assign(**{EVENT_TIME: hours, LABEL_TIME: hours})
    assert leakage.find(frame, schema, BINARY) == ()
    frame.loc[[3, 4], LABEL_TIME] -= timedelta(minutes=1)
    (leak,) = leakage.find(frame, schema, BINARY)
    assert leak["kind"] == "features from after the label"
    assert leak["evidence"].startswith("2 rows have features newer than their label")
    assert "row3" in leak["evidence"]


def test_blocking_leaks_come_first() -> None:
    hours = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=k) for k in range(100)]
    frame, schema = copied(**{EVENT_TIME: hours})
    frame["usage"] = frame[LABEL]
    assert [leak["blocking"] for leak in leakage.find(frame, schema, BINARY)] == [True, False]
