"""Rows told apart, or not, where single columns say nothing."""

import numpy as np
import pandas as pd
import pytest

from mlops_assets.monitoring import domain
from mlops_assets.monitoring.spec import DriftSpec

SPEC = DriftSpec()
RHO = 0.8


def table(rng, rows, *, sign=1, shift=0.0):
    """Two correlated normal columns, a word with gaps, and a truth."""
    first = rng.normal(size=rows)
    second = sign * RHO * first + np.sqrt(1 - RHO**2) * rng.normal(size=rows)
    words = rng.choice(np.array(["a", "b", None], dtype=object), rows)
    truths = (rng.random(rows) < 0.3).astype(float)
    return pd.DataFrame({"x": first + shift, "y": second, "word": words, "flag": truths})


def test_a_new_combination_of_old_values_is_found():
    """Each column is as it was; only what they do together has changed."""
    rng = np.random.default_rng(0)
    found = domain.separate(table(rng, 1500), table(rng, 1500, sign=-1), SPEC)
    assert found.drifted
    assert found.auc > 0.7
    assert {name for name, _ in found.columns[:2]} == {"x", "y"}
    assert found.rows == (1500, 1500)


def test_rows_of_one_distribution_are_seldom_told_apart():
    """In 5 worlds the area keeps to what chance explains in all but 2 at most: at a level of 5 %
    more happen once in 800 times."""
    spec = DriftSpec(false_discovery_rate=0.05)
    rng = np.random.default_rng(1)
    found = [domain.separate(table(rng, 300), table(rng, 200), spec) for _ in range(5)]
    assert sum(each.auc > each.by_chance[1] for each in found) <= 2
    assert not any(each.drifted for each in found)
    assert abs(np.mean([each.auc for each in found]) - 0.5) < 0.05


def test_a_difference_that_is_certain_and_small_does_not_matter():
    rng = np.random.default_rng(2)
    found = domain.separate(table(rng, 4000), table(rng, 4000, shift=0.2), SPEC)
    assert found.auc > found.by_chance[1]
    assert not found.drifted


def test_equal_rows_are_not_known_again():
    """Few different rows, each of them often: knowing them by heart must not help."""
    rng = np.random.default_rng(3)
    kinds = table(rng, 40)
    then, now = (kinds.sample(400, replace=True, random_state=seed) for seed in (1, 2))
    assert not domain.separate(then, now, SPEC).drifted
    with pytest.raises(ValueError, match="fewer different rows"):
        domain.separate(kinds.head(1), kinds.head(1), SPEC)
