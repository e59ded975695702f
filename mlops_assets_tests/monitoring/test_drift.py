"""The population stability index, and drift through real whylogs sketches."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.monitoring import distributions, drift, plots, profiles
from mlops_assets.monitoring.spec import DriftSpec
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import Column, InputSchema

SCHEMA = InputSchema(
    (
        Column("charges", "numeric"),
        Column("visits", "numeric", integer=True),
        Column("plan", "categorical"),
        Column("paperless", "boolean"),
        Column("constant", "numeric"),
    )
)
COUNTS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=2, max_size=12
).filter(lambda bins: sum(r for r, _ in bins) and sum(c for _, c in bins))


def rows(n, *, seed, shift=0.0, missing=0.0, plans=("basic", "plus", "pro")):
    random = np.random.default_rng(seed)
    charges = (random.gamma(4, 15, n) + shift).astype(object)
    charges[random.random(n) < missing] = None
    return {
        "charges": charges.tolist(),
        "visits": random.poisson(3, n).astype(float).tolist(),
        "plan": random.choice(plans, n, p=[0.6, 0.3, 0.1] + [0.0] * (len(plans) - 3)).tolist(),
        "paperless": (random.random(n) < 0.4).tolist(),
        "constant": [1.0] * n,
    }


def view(columns):
    profile = Profile(SCHEMA, when=datetime(2026, 1, 1, tzinfo=UTC))
    profile.track(columns, None)
    return profiles.deserialize(profile.serialize())


@pytest.fixture(scope="module")
def reference():
    return view(rows(20_000, seed=0))


def judged(reference, columns):
    return drift.judge(distributions.histograms(reference, view(columns)), DriftSpec())


@given(COUNTS)
def test_psi_is_a_symmetric_distance_from_nothing(bins):
    reference, current = (tuple(map(float, side)) for side in zip(*bins, strict=True))
    assert drift.psi(reference, reference) == 0
    assert drift.psi(reference, current) >= 0
    assert drift.psi(reference, current) == pytest.approx(drift.psi(current, reference))


def test_psi_agrees_with_the_textbook_sum():
    reference, current = (4000.0, 4000.0, 2000.0), (3000.0, 4000.0, 3000.0)
    p, q = np.array(reference) / 1e4, np.array(current) / 1e4
    assert drift.psi(reference, current) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-3)


def test_a_bin_that_nobody_uses_changes_nothing():
    assert drift.psi((10.0, 20.0, 0.0), (15.0, 15.0, 0.0)) == drift.psi((10.0, 20.0), (15.0, 15.0))


@pytest.mark.parametrize("n", [200, 1000, 20_000])
def test_a_fresh_sample_has_not_drifted(reference, n):
    for seed in range(1, 11):
        assert not [v for v in judged(reference, rows(n, seed=seed)) if v.drifted]


def test_a_shifted_column_is_named_first_and_alone(reference):
    verdicts = judged(reference, rows(1000, seed=1, shift=30.0))
    assert [v.column for v in verdicts if v.drifted] == ["charges"]
    assert "→" in verdicts[0].moved


def test_missing_values_are_a_bin_of_their_own(reference):
    verdicts = judged(reference, rows(1000, seed=1, missing=0.3))
    assert [v.column for v in verdicts if v.drifted] == ["charges"]
    assert verdicts[0].moved.startswith(distributions.MISSING)


def test_a_new_category_is_found(reference):
    columns = rows(1000, seed=1)
    columns["plan"] = ["unheard of" if k % 2 else v for k, v in enumerate(columns["plan"])]
    verdicts = judged(reference, columns)
    assert verdicts[0].column == "plan"
    assert verdicts[0].drifted
    assert verdicts[0].moved.startswith(distributions.OTHER)


def test_a_constant_that_changes_is_found(reference):
    columns = rows(1000, seed=1) | {"constant": [2.0] * 1000}
    assert [v.column for v in judged(reference, columns) if v.drifted] == ["constant"]


def test_a_column_that_turns_all_missing_is_found(reference):
    columns = rows(1000, seed=1) | {"visits": [None] * 1000}
    assert [v.column for v in judged(reference, columns) if v.drifted] == ["visits"]


def test_histograms_count_every_row_of_both_sides(reference):
    current = view(rows(1000, seed=2, missing=0.1))
    for histogram in distributions.histograms(reference, current):
        assert sum(histogram.reference) == pytest.approx(20_000, rel=0.01)
        assert sum(histogram.current) == pytest.approx(1000, rel=0.01)
        assert len(histogram.bins) == len(histogram.reference) == len(histogram.current)


def test_the_picture_shows_the_most_drifted_columns(reference):
    histograms = distributions.histograms(reference, view(rows(1000, seed=1, shift=30.0)))
    figure = plots.then_and_now(histograms, drift.judge(histograms, DriftSpec()), most=3)
    assert figure.axes[0].get_title() == "charges"


def test_a_value_that_most_rows_share_is_told_from_those_above_it(reference):
    heavy = {"visits": [0.0] * 900 + list(np.linspace(1, 10, 100))}
    then = view(rows(1000, seed=1) | heavy)
    now = view(rows(1000, seed=2) | {"visits": list(np.linspace(1, 10, 1000))})
    (visits,) = [h for h in distributions.histograms(then, now) if h.column == "visits"]
    assert visits.bins[1] == "0"
    assert visits.reference[1] == pytest.approx(900, rel=0.02)
    assert visits.current[1] == 0
