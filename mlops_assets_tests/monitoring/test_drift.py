"""Distances and tests against their textbook values, and drift through real whylogs sketches."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlops_assets.monitoring import charts, distributions, drift, profiles
from mlops_assets.monitoring.spec import DriftSpec
from mlops_assets.serving.contents import Contents
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


def judged(reference, columns, **settings):
    """Ranked, as one window alone."""
    spec = DriftSpec(**settings)
    compared = distributions.compare(reference, view(columns))
    alarms = drift.over_windows([drift.judge(compared, spec)], spec)
    return sorted((a.newest for a in alarms), key=lambda v: (not v.drifted, -v.jensen_shannon))


def numbers(reference, current):
    """The distributions of one numeric column."""
    (found,) = distributions.compare(view_of(reference), view_of(current))
    return found


def view_of(values, size=None):
    """A profile of one column `c`: numbers, or counts of words."""
    profile = Profile(InputSchema(()), when=datetime(2026, 1, 1, tzinfo=UTC))
    profile.add(Contents(size or len(values), {"c": values}))
    return profiles.deserialize(profile.serialize())


@given(COUNTS)
def test_distances_are_symmetric_and_nothing_between_equals(bins):
    reference, current = (tuple(map(float, side)) for side in zip(*bins, strict=True))
    for distance in (drift.psi, drift.jensen_shannon):
        assert distance(reference, reference) == pytest.approx(0, abs=1e-7)
        assert distance(reference, current) >= 0
        assert distance(reference, current) == pytest.approx(distance(current, reference))
    assert drift.jensen_shannon(reference, current) <= 1 + 1e-9


@given(COUNTS)
def test_the_jensen_shannon_distance_is_the_one_of_scipy(bins):
    reference, current = (np.array(side, dtype=float) for side in zip(*bins, strict=True))
    expected = jensenshannon(reference, current, base=2)
    assert drift.jensen_shannon(reference, current) == pytest.approx(expected, abs=1e-7)


def test_psi_agrees_with_the_textbook_sum():
    reference, current = (4000.0, 4000.0, 2000.0), (3000.0, 4000.0, 3000.0)
    p, q = np.array(reference) / 1e4, np.array(current) / 1e4
    assert drift.psi(reference, current) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-3)


def test_a_bin_that_nobody_uses_changes_nothing():
    assert drift.psi((10.0, 20.0, 0.0), (15.0, 15.0, 0.0)) == drift.psi((10.0, 20.0), (15.0, 15.0))


@pytest.mark.parametrize("rows_now", [300, 1000, 40_000])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_distances_of_sketches_are_those_of_the_rows(rows_now, shift):
    """Sketches draw by chance: in 400 draws of each, these were off by 0.0023 and 0.012 at most."""
    rng = np.random.default_rng(rows_now)
    then, now = rng.gamma(2, 1, 50_000), rng.gamma(2, 1, rows_now) + shift
    ranks = numbers(then, now).ranks
    assert drift.kolmogorov_smirnov(ranks) == pytest.approx(stats.ks_2samp(then, now)[0], abs=0.01)
    exact = stats.wasserstein_distance(then, now) / then.std()
    assert drift.wasserstein(ranks) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(("rows_then", "rows_now"), [(1000, 300), (8000, 1000), (8000, 8000)])
def test_p_values_are_those_of_the_sizes_of_both_samples(rows_then, rows_now):
    """Never too small where nothing changed; right where the sketches hold every value."""
    rng = np.random.default_rng(rows_then + rows_now)
    trials = 200
    found = [
        drift.p_value(numbers(rng.normal(size=rows_then), rng.normal(size=rows_now)))
        for _ in range(trials)
    ]
    for level in (0.05, 0.2):
        false = sum(p <= level for p in found)
        assert stats.binomtest(false, trials, level, alternative="greater").pvalue > 0.001
        if rows_then <= 1000:
            assert stats.binomtest(false, trials, level).pvalue > 0.001


def test_p_values_of_words_are_right_too():
    rng = np.random.default_rng(0)
    shares, trials = np.array([0.6, 0.3, 0.09, 0.01]), 400
    found = []
    for _ in range(trials):
        sides = [tuple(map(float, (*rng.multinomial(n, shares), 0))) for n in (5000, 800)]
        found.append(drift.p_value(distributions.Distributions("c", tuple("abcd-"), *sides)))
    for level in (0.05, 0.2):
        false = sum(p <= level for p in found)
        assert stats.binomtest(false, trials, level).pvalue > 0.001


def test_the_chi_square_test_is_the_one_of_scipy():
    then, now = (300.0, 200.0, 100.0, 0.0), (80.0, 90.0, 30.0, 0.0)
    column = distributions.Distributions("c", ("a", "b", "c", "(missing)"), then, now)
    expected = stats.chi2_contingency([then[:3], now[:3]], correction=False).pvalue
    assert drift.p_value(column) == pytest.approx(expected)


def test_rare_values_are_put_together_before_they_are_tested():
    """Twenty values of one row each would make a chi-square test cry wolf, or miss."""
    rare_then, rare_now = (1.0,) * 20, (0.0,) * 20
    column = distributions.Distributions(
        "c", ("common", *map(str, range(20)), "-"), (1000.0, *rare_then, 0), (900.0, *rare_now, 0)
    )
    expected = stats.chi2_contingency([[1000, 20], [900, 0]], correction=False).pvalue
    assert drift.p_value(column) == pytest.approx(expected)


def test_equal_shares_of_missing_values_are_no_difference_and_unequal_ones_are():
    rng = np.random.default_rng(1)

    def sample(missing):
        values = rng.normal(size=4000)
        values[rng.random(4000) < missing] = np.nan
        return values

    assert drift.p_value(numbers(sample(0.1), sample(0.1))) > 0.01
    assert drift.p_value(numbers(sample(0.1), sample(0.2))) < 1e-6


@given(st.lists(st.floats(0, 1), max_size=30))
def test_q_values_are_never_below_the_p_values_nor_above_one(p_values):
    for p, q in zip(p_values, drift.adjusted(p_values), strict=True):
        assert p <= q <= 1


@pytest.mark.parametrize("n", [200, 1000, 20_000])
def test_a_fresh_sample_has_not_drifted(reference, n):
    for seed in range(1, 11):
        assert not [v for v in judged(reference, rows(n, seed=seed)) if v.drifted]


def test_a_certain_difference_that_does_not_matter_is_no_drift(reference):
    verdicts = judged(reference, rows(50_000, seed=1, shift=3.0))
    charges = next(v for v in verdicts if v.column == "charges")
    assert charges.q_value < 1e-6
    assert not charges.drifted
    verdicts = judged(reference, rows(50_000, seed=1, shift=3.0), effect=0.01)
    assert [v.column for v in verdicts if v.drifted] == ["charges"]


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
    (constant,) = [v for v in judged(reference, columns) if v.column == "constant"]
    assert constant.wasserstein is None


def test_a_column_that_turns_all_missing_is_found(reference):
    columns = rows(1000, seed=1) | {"visits": [None] * 1000}
    assert [v.column for v in judged(reference, columns) if v.drifted] == ["visits"]


def test_a_million_categories_are_one_bin_and_stop_no_other_column(reference):
    window = Profile(SCHEMA, when=datetime(2026, 1, 1, tzinfo=UTC))
    columns = rows(2000, seed=1)
    window.track(columns | {"plan": [None] * 2000}, None)
    for part in range(10):
        new = Counter({f"id-{part}-{k}": 1 for k in range(100_000)})
        window.add(Contents(100_000, {"plan": new}))
    content = window.serialize()
    assert len(content) < 100_000, "bytes"
    compared = distributions.compare(reference, profiles.deserialize(content))
    verdicts = {each.column: each for each in drift.judge(compared, DriftSpec())}
    assert [name for name, each in verdicts.items() if each.drifted] == ["plan"]
    assert verdicts["plan"].jensen_shannon > 0.99
    assert verdicts["plan"].moved.startswith("(other)")


@pytest.mark.parametrize("seed", range(8))
def test_distances_of_sketched_numbers_are_those_of_the_rows(seed):
    """Counted on the bins that the sketch of the reference gives.

    Sketches draw by chance. In 1,500 draws with the seed whose distance is smallest (0.010), it was
    off by 0.0135 at most.
    """
    random = np.random.default_rng(seed)
    sizes = random.choice([1000, 5000, 20_000, 50_000], 2)
    shift = random.choice([0.0, 0.1, 0.3, 1.0])
    then, now = (random.gamma(4, 15, size) for size in sizes)
    now += shift * then.std()
    found = numbers(then, now)
    starts = distributions._edges(distributions._kll(view_of(then).get_columns()["c"]))
    exact = [np.bincount(np.digitize(v, starts), minlength=len(starts) + 1) for v in (then, now)]
    assert drift.jensen_shannon(found.reference, found.current) == pytest.approx(
        drift.jensen_shannon(*exact), abs=0.02
    )
    assert drift.psi(found.reference, found.current) == pytest.approx(
        drift.psi(*exact), rel=0.2, abs=0.01
    )


@pytest.mark.parametrize(("values", "size"), [(10, 1000), (5000, 20_000), (100_000, 50_000)])
def test_frequent_words_are_counted_as_in_the_rows(values, size):
    random = np.random.default_rng(values)
    then, now = (
        Counter(f"v{k}" for k in np.minimum(random.zipf(power, size), values).tolist())
        for power in (1.3, 1.5)
    )
    (found,) = distributions.compare(view_of(then, size), view_of(now, size))
    for counted, exact in ((found.reference, then), (found.current, now)):
        known = [exact[name] for name in found.bins[:-2]]
        assert counted == pytest.approx([*known, size - sum(known), 0], abs=size * 0.005)


def test_categories_that_are_all_new_are_one_bin_and_stop_no_other_column(reference):
    columns = rows(2000, seed=1)
    columns["plan"] = [f"id-{k}" for k in range(2000)]
    drifted = [v.column for v in judged(reference, columns) if v.drifted]
    assert drifted == ["plan"]


def test_infinite_values_have_no_distance_of_their_own(reference):
    columns = rows(1000, seed=1) | {"charges": [float("inf")] * 1000}
    (charges,) = [v for v in judged(reference, columns) if v.column == "charges"]
    assert charges.drifted
    assert charges.wasserstein is None
    assert charges.ks == pytest.approx(1, abs=0.01)


def verdict(column, drifted, distance=0.2):
    return drift.ColumnDrift(column, distance, 0.0, None, None, 0.0, 0.0, drifted, "")


@given(
    st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_an_alarm_is_k_of_the_newest_n_windows(history, n, k):
    spec = DriftSpec(windows=max(n, k), at_least=min(n, k))
    windows = [[verdict("a", one), verdict("b", two)] for one, two in history]
    alarms = {alarm.newest.column: alarm for alarm in drift.over_windows(windows, spec)}
    for place, column in enumerate("ab"):
        times = sum(window[place] for window in history[-spec.windows :])
        assert alarms[column].times == times
        assert alarms[column].alarming is (times >= spec.at_least)


def test_columns_are_ranked_by_what_quality_may_suffer():
    window = [
        verdict("noisy", True, 0.9),
        verdict("vital", True, 0.2),
        verdict("calm", False, 0.05),
    ]
    spec = DriftSpec(windows=1, at_least=1)
    known = drift.over_windows([window], spec, {"vital": 0.1, "noisy": 0.001, "calm": 0.5})
    assert [alarm.newest.column for alarm in known] == ["vital", "noisy", "calm"]
    patient = drift.over_windows([window], DriftSpec(), {"vital": 0.1, "noisy": 0.001, "calm": 0.5})
    assert [alarm.newest.column for alarm in patient] == ["vital", "noisy", "calm"], "no alarm yet"
    unknown = drift.over_windows([window], spec)
    assert [alarm.newest.column for alarm in unknown] == ["noisy", "vital", "calm"]


def test_distributions_count_every_row_of_both_sides(reference):
    current = view(rows(1000, seed=2, missing=0.1))
    for column in distributions.compare(reference, current):
        assert sum(column.reference) == pytest.approx(20_000, rel=0.01)
        assert sum(column.current) == pytest.approx(1000, rel=0.01)
        assert len(column.bins) == len(column.reference) == len(column.current)


def test_the_pictures_show_the_most_drifted_columns(reference):
    compared = distributions.compare(reference, view(rows(1000, seed=1, shift=30.0)))
    verdicts = drift.judge(compared, DriftSpec())
    ranked = [a.newest.column for a in drift.over_windows([verdicts], DriftSpec())]
    assert [each.title for each in charts.then_and_now(compared, ranked, most=3)] == ranked[:3]
    assert ranked[0] == "charges"


def test_a_value_that_most_rows_share_is_told_from_those_above_it(reference):
    heavy = {"visits": [0.0] * 900 + list(np.linspace(1, 10, 100))}
    then = view(rows(1000, seed=1) | heavy)
    now = view(rows(1000, seed=2) | {"visits": list(np.linspace(1, 10, 1000))})
    (visits,) = [h for h in distributions.compare(then, now) if h.column == "visits"]
    assert visits.bins[1] == "0"
    assert visits.reference[1] == pytest.approx(900, rel=0.02)
    assert visits.current[1] == 0
