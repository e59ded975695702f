"""The judge calls chance no harm however often it looks, and finds harm that is there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.deployment.counts import NOTHING
from mlops_assets.deployment.judge import Limits, interval, judge
from mlops_assets.deployment.targets.base import Traffic

LIMITS = Limits(errors=0.0, slow=0.0, slow_ms=250, predictions=0.0, requests=200, confidence=0.95)


def traffic(requests: int, *, errors: int = 0, slow: int = 0, yes: int = 0) -> Traffic:
    said = {"label=Yes": yes, "label=No": requests - yes}
    return Traffic(requests=requests, errors=errors, slow=slow, rows=requests, predictions=said)


@given(trials=st.integers(1, 100_000), data=st.data(), alpha=st.floats(1e-6, 0.5))
def test_an_interval_holds_the_rate_seen_and_narrows_with_doubt(trials, data, alpha) -> None:
    count = data.draw(st.integers(0, trials))
    low, high = interval(count, trials, alpha)
    assert 0 <= low <= count / trials <= high <= 1
    wider_low, wider_high = interval(count, trials, alpha / 10)
    assert wider_low <= low
    assert high <= wider_high


def test_intervals_hold_at_all_times_at_once() -> None:
    rng, rate, misses = np.random.default_rng(0), 0.03, 0
    for _ in range(300):
        hits = np.cumsum(rng.random(2000) < rate)
        found = [interval(int(hits[n - 1]), n, 0.05) for n in range(5, 2001, 15)]
        misses += any(not low <= rate <= high for low, high in found)
    assert misses <= 15


def test_equal_versions_are_seldom_called_harmful_however_often_one_looks() -> None:
    """Even with no allowance at all; looking 40 times."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(300):
        seen = [rng.random((3, 2000)) < np.array([[0.02], [0.05], [0.3]]) for _ in range(2)]
        totals = [np.cumsum(one, axis=1) for one in seen]
        for n in range(50, 2001, 50):
            candidate, stable = (
                traffic(n, errors=int(t[0][n - 1]), slow=int(t[1][n - 1]), yes=int(t[2][n - 1]))
                for t in totals
            )
            if judge(candidate, stable, LIMITS).outcome == "harm":
                alarms += 1
                break
    assert alarms <= 15


@pytest.mark.parametrize(
    ("errors", "yes"), [(0.10, 0.3), (0.02, 0.6)], ids=["more errors", "other predictions"]
)
def test_harm_is_found_within_a_few_hundred_requests(errors: float, yes: float) -> None:
    limits = Limits(
        errors=0.01, slow=0.05, slow_ms=250, predictions=0.1, requests=200, confidence=0.99
    )
    rng, needed = np.random.default_rng(2), []
    for _ in range(50):
        wrong, said = np.cumsum(rng.random(3000) < errors), np.cumsum(rng.random(3000) < yes)
        for n in range(20, 3001, 20):
            candidate = traffic(n, errors=int(wrong[n - 1]), yes=int(said[n - 1]))
            stable = traffic(9 * n, errors=int(0.002 * 9 * n), yes=int(0.3 * 9 * n))
            if judge(candidate, stable, limits).outcome == "harm":
                needed.append(n)
                break
    assert len(needed) == 50
    assert np.median(needed) < 300


def test_too_little_traffic_and_a_difference_that_may_be_chance_are_unsure() -> None:
    limits = Limits(
        errors=0.01, slow=0.05, slow_ms=250, predictions=0.1, requests=100, confidence=0.99
    )
    assert judge(NOTHING, NOTHING, limits).outcome == "unsure"
    few = judge(traffic(99), traffic(900), limits)
    assert (few.outcome, few.reason) == ("unsure", "99 of 100 requests so far")
    odd = judge(traffic(100, errors=3), traffic(900), limits)
    assert odd.outcome == "unsure"
    assert "errors in 3.00% of 100, beside 0.00% of 900" in odd.reason
    assert judge(traffic(1000, errors=3), traffic(900), limits).outcome == "fine"


def test_without_a_stable_version_only_failures_count() -> None:
    limits = Limits(
        errors=0.01, slow=0.05, slow_ms=250, predictions=0.0, requests=100, confidence=0.99
    )
    assert judge(traffic(500, yes=500), NOTHING, limits).outcome == "fine"
    assert judge(traffic(500, errors=100), NOTHING, limits).outcome == "harm"


def test_only_what_both_versions_say_is_compared() -> None:
    limits = Limits(
        errors=0.01, slow=0.05, slow_ms=250, predictions=0.1, requests=100, confidence=0.99
    )
    here = Traffic(1000, 0, 0, 1000, {"value<=1.0": 900, "value<=2.5": 1000})
    there = Traffic(1000, 0, 0, 1000, {"value<=1.0": 890, "value<=2.0": 100})
    assert judge(here, there, limits).outcome == "fine"


def test_answers_that_are_not_known_yet_are_waited_for() -> None:
    """Where requests are counted by the platform, and predictions told by the processes, later."""
    limits = Limits(
        errors=0.01, slow=0.05, slow_ms=250, predictions=0.1, requests=100, confidence=0.99
    )
    late = Traffic(500, 0, 0, 60, {"label=Yes": 20}, {"bad_row": 30})
    verdict = judge(late, traffic(900, yes=300), limits)
    assert (verdict.outcome, verdict.reason) == (
        "unsure",
        "it told what came of 90 of 100 requests so far",
    )
    assert judge(replace(late, rows=70), traffic(900, yes=300), limits).outcome == "fine"
    assert judge(replace(late, rows=None), traffic(900, yes=300), limits).outcome == "fine"
