"""Bins cut from real sketches: few values, many values, and columns that change their nature."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from mlops_assets.monitoring import distributions, profiles
from mlops_assets.monitoring.drift import psi
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import Column, InputSchema


def view(kind: Any, values: list[Any], *, name: str = "c") -> Any:
    schema = InputSchema((Column(name, kind),))
    profile = Profile(schema, when=datetime(2026, 1, 1, tzinfo=UTC))
    profile.track({name: values}, None)
    return profiles.deserialize(profile.serialize())


def histogram(kind: Any, then: list[Any], now: list[Any]) -> distributions.Distributions:
    (found,) = distributions.compare(view(kind, then), view(kind, now))
    return found


def test_a_numeric_column_is_cut_at_its_deciles() -> None:
    values = list(np.linspace(0, 1, 5001))
    found = histogram("numeric", values, values)
    for counts in (found.reference, found.current):
        tenths = [count for count in counts if count > 100]
        assert tenths == pytest.approx([500] * 10, rel=0.1)
        assert sum(counts) == pytest.approx(5001)
    assert found.bins[-1] == distributions.MISSING


def test_a_few_values_are_bins_of_their_own() -> None:
    found = histogram("numeric", [0.0] * 60 + [1.0] * 40, [0.0] * 20 + [1.0] * 80)
    counts = dict(zip(found.bins, zip(found.reference, found.current, strict=True), strict=True))
    assert counts["0"] == (60, 20)
    assert counts["1"] == (40, 80)


@pytest.mark.parametrize("value", [-1.0, 6.0])
def test_values_beyond_both_ends_have_a_bin(value: float) -> None:
    found = histogram("numeric", [5.0] * 100, [value] * 100)
    assert psi(found.reference, found.current) > 1
    assert sum(found.current) == 100


def test_gaps_that_are_nan_count_as_missing() -> None:
    found = histogram("numeric", [1.0, 2.0, None, float("nan")] * 50, [1.0, 2.0] * 100)
    assert (found.reference[-1], found.current[-1]) == (100, 0)


def test_a_column_that_had_no_value_and_gets_some_is_seen() -> None:
    found = histogram("numeric", [None] * 100, [1.0] * 100)
    assert psi(found.reference, found.current) > 1


def test_the_most_frequent_categories_are_bins_and_the_rest_is_one() -> None:
    words = [f"w{k:02}" for k in range(30) for _ in range(60 - k)]
    found = histogram("categorical", words, words)
    assert found.bins[:20] == tuple(f"w{k:02}" for k in range(20))
    assert found.bins[20:] == (distributions.OTHER, distributions.MISSING)
    assert found.reference[20] == sum(60 - k for k in range(20, 30))


def test_booleans_are_two_words() -> None:
    found = histogram("boolean", [True, False, None] * 10, [True] * 30)
    assert set(found.bins) == {"true", "false", distributions.OTHER, distributions.MISSING}
    assert found.current[found.bins.index("true")] == 30


def test_a_column_of_one_side_only_is_left_out() -> None:
    assert distributions.compare(view("numeric", [1.0]), view("numeric", [1.0], name="d")) == ()


@pytest.mark.parametrize(("distinct", "skew"), [(30, 1.1), (3000, 0.0), (3000, 1.1)])
def test_a_fresh_sample_of_many_categories_has_not_drifted(distinct: int, skew: float) -> None:
    weights = 1 / np.arange(1, distinct + 1) ** skew
    names = np.array([f"v{k}" for k in range(distinct)], dtype=object)

    def sample(rows: int, seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return list(rng.choice(names, rows, p=weights / weights.sum()))

    found = histogram("categorical", sample(20_000, 0), sample(1000, 1))
    assert sum(found.current) == 1000
    assert psi(found.reference, found.current) < 0.1
