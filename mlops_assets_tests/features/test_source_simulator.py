"""The simulator's data are what the demo needs: learnable, seasonal, late, and able to drift."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from pydantic import ValidationError
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mlops_assets.features.sources.base import SourceContext
from mlops_assets.features.sources.simulator import Simulator

ROLES = ["customer_id", "month", "label_known_at", "churned"]


def simulate(**fields: Any) -> pd.DataFrame:
    context = SourceContext(Path(), Path(), {})
    return Simulator.model_validate({"kind": "simulator", **fields}).read(context)


def test_one_row_per_customer_and_month_until_the_customer_leaves() -> None:
    frame = simulate()

    assert not frame.duplicated(["customer_id", "month"]).any()
    months = frame.groupby("customer_id")["month"]
    span = (months.max().dt.year - months.min().dt.year) * 12 + (
        months.max().dt.month - months.min().dt.month
    )
    assert (span + 1 == months.size()).all()
    left = frame[frame["churned"] == "yes"].set_index("customer_id")["month"]
    assert left.index.is_unique
    assert (months.max()[left.index] == left).all()
    assert frame["month"].nunique() == 18


def test_new_customers_join_and_the_company_neither_dies_nor_explodes() -> None:
    frame = simulate()

    active = frame.groupby("month").size()
    assert active.between(0.8 * 1500, 1.25 * 1500).all()
    assert frame["customer_id"].nunique() > 2000


@pytest.mark.parametrize("seed", [0, 1])
def test_churn_is_realistic_and_learnable(seed: int) -> None:
    frame = simulate(seed=seed).dropna(subset=["churned"])
    churned = frame["churned"] == "yes"

    assert churned.groupby(frame["month"]).mean().between(0.025, 0.12).all()
    features = frame.drop(columns=ROLES)
    words = features.select_dtypes(object).columns
    features = features.astype(dict.fromkeys(words, "category"))
    late = frame["month"] >= frame["month"].unique()[-4]
    model = HistGradientBoostingClassifier(
        learning_rate=0.08, max_iter=80, max_leaf_nodes=8, random_state=0
    ).fit(features[~late], churned[~late])
    scores = model.predict_proba(features[late])[:, 1]
    assert 0.80 <= roc_auc_score(churned[late], scores) <= 0.90


def test_labels_are_missing_exactly_where_they_are_not_known_at_the_end() -> None:
    frame = simulate(customers=200, months=6, label_delay_days=40)

    end = pd.Timestamp("2025-07-01")
    assert (frame["label_known_at"] - frame["month"] == pd.Timedelta(days=40)).all()
    assert (frame["churned"].isna() == (frame["label_known_at"] > end)).all()
    assert frame["churned"].isna().any()
    assert set(frame["churned"].dropna()) == {"yes", "no"}
    assert simulate(customers=60, months=3, label_delay_days=0)["churned"].notna().all()


def test_more_months_leave_the_earlier_ones_alone() -> None:
    short, long = simulate(customers=300, months=12), simulate(customers=300, months=18)

    assert_frame_equal(
        short.drop(columns="churned"), long.drop(columns="churned").iloc[: len(short)]
    )
    known = short["churned"].notna()
    assert (short["churned"][known] == long["churned"].iloc[: len(short)][known]).all()


def test_seed_decides_everything() -> None:
    assert not simulate(customers=100, months=3).equals(simulate(customers=100, months=3, seed=1))
    # The same bytes on every machine: a change here changes everybody's demo.
    text = simulate(customers=60, months=3).to_csv(index=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "140b41106f7e"


def test_drift_moves_the_last_quarter_only() -> None:
    calm, moved = simulate(months=16), simulate(months=16, drift=1.0)

    before, after = calm["month"] < "2026-01-01", calm["month"] == "2026-01-01"
    assert_frame_equal(calm[before], moved[moved["month"] < "2026-01-01"])
    was, now = calm[after], moved[moved["month"] == "2026-01-01"]
    assert now["monthly_charges"].mean() == pytest.approx(
        1.25 * was["monthly_charges"].mean(), 0.01
    )
    assert now["support_tickets"].mean() == pytest.approx(2 * was["support_tickets"].mean(), 0.1)
    assert now["usage_gb"].mean() == pytest.approx(0.8 * was["usage_gb"].mean(), 0.1)


def test_usage_has_a_season() -> None:
    usage = simulate(months=24).groupby("month")["usage_gb"].mean()

    by_month = usage.groupby(usage.index.month).mean()
    assert by_month[[12, 1, 2]].mean() > 1.2 * by_month[[6, 7, 8]].mean()


def test_gaps_are_where_and_as_many_as_asked_for() -> None:
    frame = simulate(missing_fraction=0.2)

    shares = frame.isna().mean().drop("churned")
    assert shares[["usage_gb", "days_since_last_login"]].between(0.18, 0.22).all()
    assert (shares.drop(["usage_gb", "days_since_last_login"]) == 0).all()
    assert simulate(missing_fraction=0.0)["usage_gb"].notna().all()


def test_columns_are_correlated_as_in_a_real_company() -> None:
    frame = simulate()

    tenure = frame.groupby("contract")["tenure_months"].mean()
    assert tenure["two-year"] > 1.3 * tenure["month-to-month"]
    assert np.corrcoef(frame["has_addon"], frame["monthly_charges"])[0, 1] > 0.4


def test_start_must_begin_a_month() -> None:
    with pytest.raises(ValidationError, match="for instance 2025-03-01"):
        simulate(start="2025-03-15")
