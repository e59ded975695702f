"""Expectations of training, held against windows that went through real profiles."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.monitoring import expectations, profiles, summaries, violations
from mlops_assets.monitoring.expectations import confidence, lower, upper
from mlops_assets.monitoring.spec import ColumnExpectation, DataQualitySpec, DriftSpec
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import InputSchema

SPEC = DataQualitySpec()
ROWS = 5000
WHEN = datetime(2026, 5, 3, tzinfo=UTC)


def view(**columns):
    """A profile of columns: arrays of numbers, or counters of words."""
    rows = max(map(length, columns.values()), default=0)
    profile = Profile(InputSchema(()), when=WHEN)
    profile.add(Contents(rows, columns))
    return profiles.deserialize(profile.serialize())


def length(column):
    return column.total() if isinstance(column, Counter) else len(column)


def numbers(rows=ROWS, *, seed=0, missing=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 100, rows) * scale
    values[: int(rows * missing)] = np.nan
    return values


def judged(trained, window, *, spec=SPEC, **asked):
    """Column and kind of whatever does not hold."""
    return {(v.column, v.kind): v for v in found(trained, window, spec=spec, **asked)}


def found(trained, window, *, spec=SPEC, **asked):
    rules = {name: ColumnExpectation(**rule) for name, rule in asked.items()}
    expected = expectations.derive(summaries.summarize(trained), rules, spec)
    return violations.judge(expected, summaries.summarize(window), spec)


def test_traffic_as_in_training_holds():
    trained = view(x=numbers(missing=0.1), c=Counter({"a": 4000, "b": 1000}))
    window = view(x=numbers(1000, seed=1, missing=0.1), c=Counter({"a": 820, "b": 180}))
    assert found(trained, window) == ()


@pytest.mark.parametrize(
    ("share", "violated"), [(0.1, False), (0.11, False), (0.3, True), (1.0, True)]
)
def test_more_missing_values_than_in_training(share, violated):
    window = view(x=numbers(1000, seed=1, missing=share))
    assert (("x", "missing") in judged(view(x=numbers(missing=0.1)), window)) is violated


def test_small_windows_are_judged_by_their_size():
    """Four of 20 missing is chance where training had a tenth, four fifths are not."""
    trained = view(x=numbers(missing=0.1))
    assert not judged(trained, view(x=numbers(20, missing=0.2)))
    assert judged(trained, view(x=numbers(20, missing=0.8)))


@pytest.mark.parametrize(("share", "violated"), [(0.01, False), (0.06, True)])
def test_the_yaml_says_how_many_values_may_be_missing(share, violated):
    trained = view(x=numbers(missing=0.5))
    window = view(x=numbers(4000, missing=share))
    assert bool(judged(trained, window, x={"missing": 0.02})) is violated


def test_categories_that_training_never_met():
    trained = view(c=Counter({"a": 4000, "b": 1000}))
    window = view(c=Counter({"a": 800, "b": 100, "z": 100}))
    (violation,) = found(trained, window)
    assert (violation.kind, violation.share) == ("new category", 0.1)
    assert violation.detail == "not known: 'z'"
    rare = view(c=Counter({"a": 890, "b": 109, "z": 1}))
    assert not judged(trained, rare)


def test_of_a_long_tail_new_values_are_expected():
    """In training a tenth of the rows had a value of their own."""
    tail = Counter({"a": 4500, **{f"t{k}": 1 for k in range(500)}})
    window = view(c=Counter({"a": 900, **{f"u{k}": 1 for k in range(100)}}))
    assert not judged(view(c=tail), window)
    worse = view(c=Counter({"a": 500, **{f"u{k}": 1 for k in range(500)}}))
    assert ("c", "new category") in judged(view(c=tail), worse)


def test_more_categories_than_a_profile_holds_are_not_judged_but_by_the_yaml():
    many = Counter({f"v{k}": 1 for k in range(100_000)})
    others = view(c=Counter({f"w{k}": 1 for k in range(100_000)}))
    assert not judged(view(c=many), others)
    alone = judged(view(c=Counter({"a": 5000})), others)
    assert alone["c", "new category"].share > 0.95
    assert alone["c", "new category"].detail.endswith("many different values")
    allowed = {"values": [f"w{k}" for k in range(100_000)]}
    assert not judged(view(c=many), others, c=allowed)


def test_the_yaml_names_the_values():
    trained = view(c=Counter({"a": 4000, "b": 1000}), flag=Counter({True: 10, False: 4990}))
    window = view(c=Counter({"a": 999, "b": 1}), flag=Counter({True: 10, False: 990}))
    broken = judged(trained, window, c={"values": ["a"]}, flag={"values": [False]})
    assert set(broken) == {("c", "new category"), ("flag", "new category")}
    assert not judged(trained, window, c={"values": ["a", "b"]}, flag={"values": [True, False]})


def test_numbers_out_of_range():
    trained = view(x=numbers())
    below, above = numbers(1000, seed=1), numbers(1000, seed=2)
    below[:100], above[:100] = -50.0, 5000.0
    assert set(judged(trained, view(x=below))) == {("x", "below range")}
    (violation,) = found(trained, view(x=above))
    assert violation.kind == "above range"
    assert violation.share == pytest.approx(0.1, abs=0.01)
    assert "up to 5000" in violation.detail
    near = numbers(1000, seed=3)
    near[:100] = 105.0
    assert not judged(trained, view(x=near))


def test_the_yaml_names_a_bound_that_no_row_may_cross():
    trained = view(x=numbers())
    window = numbers(1000, seed=1)
    window[0] = 100.5
    assert not judged(trained, view(x=window))
    assert ("x", "above range") in judged(trained, view(x=window), x={"maximum": 100})
    assert ("x", "below range") in judged(trained, view(x=window), x={"minimum": 50})
    assert not judged(trained, view(x=window), x={"minimum": -1, "maximum": 101})


def test_whole_numbers_stay_whole():
    counts = np.arange(ROWS) % 73.0
    halves = np.where(np.arange(1000) % 4 == 0, 0.5, np.arange(1000) % 73)
    assert set(judged(view(n=counts), view(n=halves))) == {("n", "not whole")}
    assert not judged(view(n=counts), view(n=counts[:1000]))
    assert not judged(view(n=halves), view(n=halves))


def test_numbers_that_became_words_and_words_that_became_numbers():
    trained = view(x=numbers(), c=Counter({"a": ROWS}))
    window = view(x=Counter({"12,5": 1000}), c=np.arange(1000.0))
    assert {("x", "type"), ("c", "type")} <= set(judged(trained, window))


def test_a_column_that_disappears_and_one_that_nobody_knows():
    """As of a profile with another schema; the other columns are judged all the same."""
    trained = view(x=numbers(), y=numbers())
    window = view(y=numbers(1000, missing=0.9), z=numbers(1000), prediction=numbers(1000))
    assert {key: v.share for key, v in judged(trained, window).items()} == {
        ("x", "absent column"): 1.0,
        ("y", "missing"): 0.9,
        ("z", "unknown column"): 1.0,
    }


def test_a_column_that_half_of_the_endpoints_lack():
    trained = view(x=numbers(), y=numbers())
    both, one = view(x=numbers(500), y=numbers(500)), view(y=numbers(500))
    broken = judged(trained, profiles.merge([both, one]))
    assert {key: v.share for key, v in broken.items()} == {("x", "absent column"): 0.5}


def test_columns_without_values_and_constant_ones():
    nothing, constant = np.full(ROWS, np.nan), np.full(ROWS, 5.0)
    trained = view(empty=nothing, constant=constant, words=Counter({None: ROWS}))
    same = view(empty=nothing[:1000], constant=constant[:1000], words=Counter({None: 1000}))
    assert not judged(trained, same)
    filled = view(empty=numbers(1000), constant=constant[:1000] * 3, words=Counter({"a": 1000}))
    assert set(judged(trained, filled)) == {("constant", "above range")}
    lost = view(empty=nothing[:1000], constant=nothing[:1000], words=Counter({None: 1000}))
    assert set(judged(trained, lost)) == {("constant", "missing")}


def test_infinite_numbers_are_no_error():
    infinite = numbers()
    infinite[:100] = np.inf
    assert not judged(view(x=infinite), view(x=infinite[:1000]))
    assert ("x", "above range") in judged(view(x=numbers()), view(x=infinite[:1000]))


def test_an_empty_window_violates_nothing():
    assert found(view(x=numbers()), view()) == ()


def test_two_windows_of_three_are_an_alarm_of_the_same_column_and_kind():
    trained = view(x=numbers(), y=numbers())
    fine = found(trained, view(x=numbers(1000), y=numbers(1000)))
    gaps = found(trained, view(x=numbers(1000, missing=0.5), y=numbers(1000)))
    other = found(trained, view(x=numbers(1000), y=numbers(1000, scale=9)))
    once = violations.over_windows([fine, gaps, other], DriftSpec())
    assert [alarm.alarming for alarm in once] == [False, False]
    twice = violations.over_windows([gaps, other, gaps], DriftSpec())
    assert [(a.latest.column, a.times, a.alarming) for a in twice] == [
        ("x", 2, True),
        ("y", 1, False),
    ]
    assert violations.over_windows([], DriftSpec()) == ()


def test_what_the_yaml_asks_of_columns_that_cannot_be_asked_for():
    trained = summaries.summarize(view(tenure=numbers(), c=Counter({"a": ROWS})))
    asked = {
        "tenur": ColumnExpectation(missing=0.1),
        "tenure": ColumnExpectation(values=(1,)),
        "c": ColumnExpectation(minimum=1),
    }
    assert expectations.problems(trained, asked, 3) == [
        "monitoring.expectations.tenur: version 3 has no such feature; did you mean 'tenure'?",
        "monitoring.expectations.tenure.values: the column holds numbers; set minimum and maximum",
        "monitoring.expectations.c: the column holds no numbers; set values, not a range",
    ]


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.5, 6))
def test_intervals_hold_their_share(rows, share, z):
    count = int(share * rows)
    low, high = lower(count, rows, z), upper(count, rows, z)
    assert 0.0 <= low <= count / rows + 1e-9
    assert count / rows - 1e-9 <= high <= 1.0


def test_intervals_are_those_of_wilson():
    """Newcombe (1998), method 3: of 0 among 20 and of 15 among 148, at 95%."""
    assert upper(0, 20, 1.959964) == pytest.approx(0.1611, abs=1e-4)
    assert lower(15, 148, 1.959964) == pytest.approx(0.0624, abs=1e-4)
    assert upper(15, 148, 1.959964) == pytest.approx(0.1605, abs=1e-4)


def test_more_columns_ask_for_more_certainty():
    assert confidence(1, SPEC) < confidence(10, SPEC) < confidence(1000, SPEC)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1, max_size=40),
)
def test_a_window_that_is_the_training_data_never_violates(values, words):
    rows = min(len(values), len(words))
    same = view(x=np.array(values[:rows], float), c=Counter(words[:rows]))
    assert found(same, same) == ()


def test_at_most_one_window_in_a_hundred_is_called_faulty_without_a_fault():
    """Over kinds of columns that are hard: tails, many zeros, gaps, and small windows."""
    rng = np.random.default_rng(7)

    def sample(rows):
        gaps = rng.normal(size=rows)
        gaps[rng.random(rows) < 0.1] = np.nan
        tail = rng.zipf(1.5, rows).clip(max=10_000)
        return view(
            heavy=rng.lognormal(sigma=1.5, size=rows),
            counts=rng.poisson(0.7, rows).astype(float),
            gaps=gaps,
            few=Counter(rng.choice(["a", "b", "c"], rows, p=[0.7, 0.29, 0.01]).tolist()),
            tail=Counter(map(str, tail.tolist())),
        )

    expected = expectations.derive(summaries.summarize(sample(20_000)), {}, SPEC)
    faulty = sum(
        bool(violations.judge(expected, summaries.summarize(sample(rows)), SPEC))
        for rows in (200, 500, 2000)
        for _ in range(100)
    )
    assert faulty <= 3
