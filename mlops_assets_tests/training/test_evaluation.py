"""Slices, importances and golden rows of held-out rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_assets.modeling.folds import LABEL
from mlops_assets.modeling.metrics import point
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.training.evaluation import MIN_SLICE, golden_rows, importances, slices

RESAMPLING: dict[str, Any] = {"resamples": 100, "confidence": 0.9, "seed": 0}


def rows(n: int = 600) -> pd.DataFrame:
    """`signal` is what the label follows, `other` half as much, `noise` nothing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(0, 1, (n, 3)), columns=["signal", "other", "noise"])
    frame["plan"] = rng.choice(
        np.array(["gold", "tin", None], dtype=object), n, p=[0.5, 0.47, 0.03]
    )
    frame["region"] = "north"
    frame.loc[:3, "region"] = "south"
    score = frame["signal"] + frame["other"] / 2 + rng.normal(0, 0.5, n)
    frame[LABEL] = (score > 0).astype(float)
    return frame


def predict(frame: pd.DataFrame) -> Outcome:
    p = 1 / (1 + np.exp(-3 * (frame["signal"] + frame["other"] / 2).to_numpy()))
    return Outcome(frame[LABEL].to_numpy(), (p >= 0.5).astype(float), np.c_[1 - p, p])


def sliced(frame: pd.DataFrame, *columns: str) -> dict[tuple[str, str], Any]:
    found = slices(
        frame,
        predict(frame),
        columns,
        metric="roc_auc",
        task="binary_classification",
        **RESAMPLING,
    )
    return {(entry["column"], entry["value"]): entry for entry in found}


def test_a_slice_is_the_metric_of_its_own_rows() -> None:
    frame = rows()
    found = sliced(frame, "plan")
    gold = frame[frame["plan"] == "gold"]
    entry = found["plan", "gold"]
    assert entry["rows"] == len(gold)
    assert entry["metric"] == "roc_auc"
    assert entry["value_of"] == point("roc_auc", predict(gold))
    assert entry["low"] <= entry["value_of"] <= entry["high"]
    assert found["plan", "(missing)"]["note"] == f"fewer than {MIN_SLICE} rows"
    assert sum(entry["rows"] for entry in found.values()) == len(frame)


def test_numbers_are_cut_into_quarters() -> None:
    found = sliced(rows(), "noise")
    assert [entry["rows"] for entry in found.values()] == [150] * 4


def test_a_slice_that_says_nothing_says_why() -> None:
    frame = rows()
    frame.loc[frame["plan"] == "tin", LABEL] = 1.0
    found = sliced(frame, "plan", "region")
    assert found["plan", "tin"]["note"] == "a class is absent"
    assert found["region", "south"]["note"] == f"fewer than {MIN_SLICE} rows"
    assert "value_of" not in found["plan", "tin"]


def test_the_largest_values_of_many_are_shown() -> None:
    frame = rows().assign(code=[f"c{k % 40}" for k in range(600)])
    assert len(sliced(frame, "code")) == 12


SCHEMA = InputSchema(tuple(Column(name, "numeric") for name in ("noise", "other", "signal")))


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_importance_orders_columns_by_what_the_model_uses(metric: Any) -> None:
    found = importances(predict, rows(), SCHEMA, metric=metric, seed=0)
    assert [entry["column"] for entry in found] == ["signal", "other", "noise"]
    assert found[0]["importance"] > 0.1
    assert found[2] == {"column": "noise", "importance": 0.0, "sd": 0.0}


def test_importance_is_the_loss_on_shuffled_rows() -> None:
    frame = rows()
    (first, *_) = importances(predict, frame, SCHEMA, metric="accuracy", seed=0, repeats=50)
    rng, drops = np.random.default_rng(9), []
    for _ in range(50):
        shuffled = frame.assign(signal=rng.permutation(frame["signal"].to_numpy()))
        drops.append(point("accuracy", predict(frame)) - point("accuracy", predict(shuffled)))
    assert first["importance"] == pytest.approx(np.mean(drops), abs=0.01)
    assert first["sd"] == pytest.approx(np.std(drops), rel=0.4)


def test_a_row_is_asked_once_per_value_and_counted_in_every_repeat() -> None:
    frame = rows()
    schema = InputSchema((Column("plan", "categorical", nullable=True), Column("noise", "numeric")))
    sizes = []

    def by_plan(asked: pd.DataFrame) -> Outcome:
        sizes.append(len(asked))
        p = np.clip(asked["plan"].map({"gold": 0.1, "tin": -0.1}).fillna(0.3) + 0.5, 0, 1)
        p = p.to_numpy() * predict(asked).probabilities[:, 1]  # type: ignore[index]
        return Outcome(asked[LABEL].to_numpy(), (p >= 0.3).astype(float), np.c_[1 - p, p])

    found = importances(by_plan, frame, schema, metric="log_loss", seed=3)
    assert sizes[1] <= 3 * len(frame)
    rng, before = np.random.default_rng(3), point("log_loss", by_plan(frame))
    for column in schema.names:
        worse = []
        for _ in range(5):
            shuffled = frame.assign(**{column: frame[column].to_numpy()[rng.permutation(600)]})
            worse.append(point("log_loss", by_plan(shuffled)) - before)
        (entry,) = (each for each in found if each["column"] == column)
        assert entry["importance"] == pytest.approx(np.mean(worse), abs=1e-12)
        assert entry["sd"] == pytest.approx(np.std(worse), abs=1e-12)


def test_importance_is_reproducible_and_sampled_when_rows_are_many() -> None:
    asked: dict[str, Any] = {"metric": "roc_auc", "most_rows": 100}
    sizes = []

    def counted(frame: pd.DataFrame) -> Outcome:
        sizes.append(len(frame))
        return predict(frame)

    first = importances(counted, rows(), SCHEMA, seed=1, **asked)
    assert sizes[0] == 100
    assert all(450 < size <= 500 for size in sizes[1:])
    assert importances(predict, rows(), SCHEMA, seed=1, **asked) == first
    assert importances(predict, rows(), SCHEMA, seed=2, **asked) != first


def test_golden_rows_hold_a_gap_of_every_column_that_may_have_one() -> None:
    schema = InputSchema(
        (Column("signal", "numeric"), Column("plan", "categorical", nullable=True))
    )
    frame = rows().sort_values("plan", na_position="last").reset_index(drop=True)
    found = golden_rows(frame, schema, most=5)
    assert len(found) == 6
    assert found["plan"].isna().sum() == 1
    assert len(golden_rows(frame, schema, most=600)) == 600
