"""No row is lost, none stands on both sides, and time flows one way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.features.splits import FEW, SplitError, SplitResult, split
from mlops_assets.modeling.folds import (
    EVENT_TIME,
    FOLD,
    GROUP,
    LABEL,
    LABEL_TIME,
    ROW,
    SPLIT,
    TEST,
    TRAIN,
    folds,
)
from mlops_assets_tests.features.tables import features

FEATURES = ("usage", "plan")
START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(n: int, *, seed: int = 0, values: int = 10_000, classes: int = 2) -> pd.DataFrame:
    """Rows with a label; few `values` make many of them equal."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "usage": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, values, n) / 8),
            "plan": rng.choice(np.array(["gold", "tin", None], dtype=object), n),
            "customer": [f"c{k}" for k in rng.integers(0, max(2, n // 3), n)],
            "seen": [START + timedelta(hours=int(h)) for h in rng.integers(0, 24 * 60, n)],
            LABEL: rng.permutation(np.arange(n) % classes).astype(float),
        }
    )


def divided(
    frame: pd.DataFrame, task: str = "binary_classification", **section: Any
) -> SplitResult:
    return split(frame, features(**section), task, FEATURES)


def sides(result: SplitResult) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = result.frame
    return frame[frame[SPLIT] == TRAIN], frame[frame[SPLIT] == TEST]


KINDS: dict[str, dict[str, Any]] = {
    "stratified": {},
    "random": {"split": {"kind": "random"}},
    "group": {"group": "customer"},
    "time": {"event_time": "seen"},
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(n=st.integers(80, 400), seed=st.integers(0, 99), values=st.sampled_from([12, 10_000]))
def test_no_row_is_lost_and_every_row_is_named_once(
    kind: str, n: int, seed: int, values: int
) -> None:
    frame = rows(n, seed=seed, values=values)
    frame["entry"] = range(n)
    found = split(
        frame, features(**KINDS[kind]), "binary_classification", FEATURES, keep=("entry",)
    )
    assert sorted(found.frame["entry"]) == list(range(n))
    assert found.frame[ROW].is_unique
    assert set(found.frame[SPLIT]) == {TRAIN, TEST}
    assert found.ordered == (kind == "time")
    train, test = sides(found)
    assert (test[FOLD] == -1).all()
    assert set(train[FOLD]) - {-1} == set(range(5))
    if kind != "time":
        assert (train[FOLD] >= 0).all()
    parts = folds(train, ordered=found.ordered)
    held_out = np.concatenate([part.held_out for part in parts])
    assert len(held_out) == len(set(held_out)) == (train[FOLD] >= 0).sum()
    assert all(not set(part.fit) & set(part.held_out) for part in parts)


@pytest.mark.parametrize("kind", ["stratified", "random"])
@settings(max_examples=30, deadline=None)
@given(n=st.integers(120, 400), seed=st.integers(0, 99))
def test_equal_rows_stand_on_one_side_and_in_one_fold(kind: str, n: int, seed: int) -> None:
    found = divided(rows(n, seed=seed, values=40), **KINDS[kind]).frame
    places = found.fillna({"usage": -1, "plan": "?"}).groupby(list(FEATURES))[[SPLIT, FOLD]]
    assert found.duplicated(list(FEATURES)).any()
    assert (places.nunique() == 1).all(axis=None)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(60, 400), seed=st.integers(0, 99), split_seed=st.integers(0, 9))
def test_a_group_stands_on_one_side_and_in_one_fold(n: int, seed: int, split_seed: int) -> None:
    asked = {"group": "customer", "split": {"seed": split_seed, "folds": 2}}
    found = divided(rows(n, seed=seed), **asked).frame
    assert (found.groupby(GROUP)[[SPLIT, FOLD]].nunique() == 1).all(axis=None)


@pytest.mark.parametrize("kind", ["random", "group"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), more=st.integers(1, 600))
def test_a_row_keeps_its_side_as_rows_are_appended(kind: str, seed: int, more: int) -> None:
    frame = rows(4 * FEW + more, seed=seed)
    before = divided(frame.head(4 * FEW), **KINDS[kind]).frame
    after = divided(frame, **KINDS[kind]).frame
    assert after.head(4 * FEW)[[SPLIT, FOLD]].equals(before[[SPLIT, FOLD]])


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_within_classes_nearly_every_row_keeps_its_side(seed: int) -> None:
    frame = rows(1200, seed=seed)
    before = divided(frame.head(1000)).frame[SPLIT]
    after = divided(frame).frame[SPLIT].head(1000)
    assert (before == after).mean() > 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_side_has_about_the_share_asked_for(kind: str) -> None:
    for fraction in (0.1, 0.4):
        asked = {
            **KINDS[kind],
            "split": {**KINDS[kind].get("split", {}), "test_fraction": fraction},
        }
        _, test = sides(divided(rows(3000), **asked))
        assert len(test) / 3000 == pytest.approx(fraction, abs=0.04)


def test_few_groups_keep_to_the_fractions_too() -> None:
    for seed in range(30):
        frame = rows(100, seed=seed).assign(customer=[f"site {k % 10}" for k in range(100)])
        asked = {"group": "customer", "split": {"seed": seed, "folds": 4}}
        found = divided(frame, **asked).frame
        assert found.groupby(SPLIT)[GROUP].nunique().to_dict() == {TEST: 2, TRAIN: 8}
        assert found[found[SPLIT] == TRAIN].groupby(FOLD)[GROUP].nunique().tolist() == [2] * 4


def test_within_classes_a_rare_class_has_its_share_on_each_side() -> None:
    frame = rows(1000).assign(usage=np.arange(1000.0))
    frame[LABEL] = [1.0 if k % 20 == 0 else 0.0 for k in range(1000)]
    train, test = sides(divided(frame))
    assert test[LABEL].sum() == 10
    assert train.groupby(FOLD)[LABEL].sum().tolist() == [8] * 5


def test_another_seed_holds_out_other_rows() -> None:
    first, other = (divided(rows(400), split={"seed": seed}).frame[SPLIT] for seed in (0, 1))
    assert 0.2 < (first != other).mean() < 0.5


@settings(max_examples=30, deadline=None)
@given(n=st.integers(80, 400), seed=st.integers(0, 99))
def test_the_test_side_is_later_than_all_training(n: int, seed: int) -> None:
    frame = rows(n, seed=seed).sort_values("seen")
    frame[LABEL] = np.arange(n) % 2.0  # no stretch of time lacks a class
    train, test = sides(divided(frame.sample(frac=1, random_state=seed), event_time="seen"))
    assert train[EVENT_TIME].max() < test[EVENT_TIME].min()
    for part in folds(train, ordered=True):
        times = train[EVENT_TIME]
        assert times.iloc[part.fit].max() < times.iloc[part.held_out].min()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), days=st.integers(0, 8))
def test_no_row_is_fitted_before_its_label_was_known(seed: int, days: int) -> None:
    frame = rows(400, seed=seed)
    frame["known"] = frame["seen"] + timedelta(days=days)
    found = divided(frame, event_time="seen", label_time="known", split={"folds": 3})
    train, test = sides(found)
    assert train[LABEL_TIME].max() <= test[EVENT_TIME].min()
    assert len(found.frame) < 400 or days == 0
    assert ("was not known by then" in found.words) == (len(found.frame) < 400)
    parts = folds(train, ordered=True)
    assert len(parts) == 3
    for part in parts:
        began = train[EVENT_TIME].iloc[part.held_out].min()
        assert train[LABEL_TIME].iloc[part.fit].max() <= began


def test_a_label_of_unknown_date_is_not_trained_on() -> None:
    frame = rows(300)
    frame["known"] = frame["seen"]
    frame.loc[:49, "known"] = pd.NaT
    train, _ = sides(divided(frame, event_time="seen", label_time="known"))
    assert train[LABEL_TIME].notna().all()


def test_rows_without_a_time_or_a_label_are_left_out_and_counted() -> None:
    frame = rows(300)
    frame.loc[:9, "seen"] = pd.NaT
    frame.loc[280:, LABEL] = np.nan
    found = divided(frame, event_time="seen")
    assert len(found.frame) == 270
    assert "10 rows without seen left out" in found.words
    assert "20 rows without a label left out" in found.words


def test_auto_follows_the_columns_that_are_named() -> None:
    frame = rows(300)
    frame[LABEL] += np.arange(300) / 1000
    assert "at random" in divided(frame, task="regression").words
    assert "by customer" in divided(rows(300), group="customer").words
    assert "within classes" in divided(rows(300)).words
    both = divided(rows(300), group="customer", event_time="seen")
    assert both.ordered
    assert GROUP in both.frame


def test_entity_and_time_name_a_row_whatever_its_features() -> None:
    frame = rows(200).assign(customer=[f"c{k}" for k in range(200)])
    changed = frame.assign(usage=frame["usage"] + 1)
    asked = {"entity": "customer", "event_time": "seen"}
    first, second = (divided(f, **asked).frame[ROW] for f in (frame, changed))
    assert first.tolist() == second.tolist()
    anonymous = [divided(f).frame[ROW].tolist() for f in (frame, changed)]
    assert anonymous[0] != anonymous[1]


@pytest.mark.parametrize(
    ("frame", "section", "words"),
    [
        (rows(0), {}, "none of the 0 rows has a label in 'churn'"),
        (rows(50).assign(**{LABEL: np.nan}), {}, "none of the 50 rows has a label"),
        (rows(4), {}, "side would hold 1 of 4 rows"),
        (rows(60).assign(**{LABEL: [1.0] + [0.0] * 59}), {}, "side would lack a class"),
        (rows(60).assign(**{LABEL: [1.0] * 4 + [0.0] * 56}), {}, "would lack a class"),
        (rows(60).assign(seen=START), {"event_time": "seen"}, "train side would hold 0 of 60 rows"),
        (
            rows(60).assign(seen=pd.Series([pd.NaT] * 60, dtype="datetime64[ns, UTC]")),
            {"event_time": "seen"},
            "no row with a label has a time in 'seen'",
        ),
        (
            rows(60).assign(seen=[START + timedelta(days=k > 40) for k in range(60)]),
            {"event_time": "seen"},
            r"only \d of 5 folds",
        ),
        (rows(40).assign(customer="c1"), {"group": "customer"}, "train side would hold 0"),
    ],
)
def test_rows_that_cannot_be_divided_are_refused(
    frame: pd.DataFrame, section: dict[str, Any], words: str
) -> None:
    with pytest.raises(SplitError, match=words):
        divided(frame, **section)


def test_a_rare_class_missing_from_one_fold_of_several_classes_is_no_reason_to_refuse() -> None:
    frame = rows(300, classes=3)
    frame[LABEL] = [2.0 if k % 75 == 0 else float(k % 2) for k in range(300)]
    result = divided(frame, task="multiclass_classification")
    assert set(result.frame[LABEL]) == {0.0, 1.0, 2.0}
