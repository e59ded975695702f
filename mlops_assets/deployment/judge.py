"""Whether a candidate does harm, judged as often as one likes while its traffic comes in. Pure.

Every rate is a count out of a number of trials: errors and slow answers out of requests, and each
thing that can be said of predictions out of rows. Its interval holds at all times at once, so that
looking again and again, and stopping at the first harm seen, does not raise the rate of false
alarms: the confidence sequence of the beta-binomial mixture with a uniform prior (Robbins, Annals
of Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49,
2021).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlops_assets.deployment.targets.base import Traffic


@dataclass(frozen=True)
class Limits:
    """How much worse than the stable version a candidate may be."""

    errors: float
    """Share of its requests that may fail above the stable version's, 0 to 1."""
    slow: float
    """The same of requests slower than the budget."""
    slow_ms: float
    """That budget in milliseconds, by which `Traffic` was counted; here it is only said."""
    predictions: float
    """Largest difference of the shares of rows that a statement on predictions holds for, 0 to 1:
    of a label, or of values up to a bound (there it is the Kolmogorov-Smirnov distance)."""
    requests: int
    """Fewer say nothing."""
    confidence: float
    """Of all intervals of one step together."""


@dataclass(frozen=True)
class Verdict:
    """What the traffic so far says."""

    outcome: Literal["harm", "fine", "unsure"]
    """`harm` is proven, at the confidence asked for; `fine` is enough traffic, within the limits
    as far as can be seen."""
    reason: str


def judge(candidate: Traffic, stable: Traffic, limits: Limits) -> Verdict:
    """What the traffic of one step says of the candidate.

    Args:
        candidate: its traffic since the step began.
        stable: of the version beside it, since then; all zero when there is none.
        limits: what is allowed.
    """
    compared = list(_compared(candidate, stable, limits))
    alpha = (1 - limits.confidence) / max(len(compared), 1) / 2
    beyond = []
    for rate in compared:
        low, high = interval(rate.count, rate.trials, alpha)
        stable_low, stable_high = interval(rate.stable_count, rate.stable_trials, alpha)
        above = low - (stable_high if rate.stable_trials else 0.0)
        below = stable_low - high if rate.two_sided and rate.stable_trials else -1.0
        if max(above, below) > rate.limit:
            return Verdict("harm", f"{rate.words()}: more than the {rate.limit:.2%} allowed")
        if rate.difference > rate.limit:
            beyond.append(rate)
    if candidate.requests < limits.requests:
        return Verdict("unsure", f"{candidate.requests} of {limits.requests} requests so far")
    if (known := _known(candidate)) < limits.requests:
        return Verdict(
            "unsure", f"it told what came of {known} of {limits.requests} requests so far"
        )
    if beyond:
        worst = max(beyond, key=lambda rate: rate.difference - rate.limit)
        return Verdict("unsure", f"{worst.words()}: beyond {worst.limit:.2%}, not yet for certain")
    return Verdict("fine", f"{candidate.requests} requests, {candidate.errors} errors")


def interval(count: int, trials: int, alpha: float) -> tuple[float, float]:
    """Where the rate lies, with a probability of 1 - `alpha` at all numbers of trials at once.

    Args:
        count: of `trials`.
        alpha: above 0, below 1.
    """
    if trials == 0:
        return 0.0, 1.0
    misses = trials - count
    # The mixture's likelihood ratio against a rate p stays below 1 / alpha for ever, unless p is
    # wrong, with a probability of 1 - alpha (Ville's inequality).
    mixture = math.lgamma(count + 1) + math.lgamma(misses + 1) - math.lgamma(trials + 2)

    def excluded(p: float) -> bool:
        hits_part = count * math.log(p) if count else 0.0
        misses_part = misses * math.log1p(-p) if misses else 0.0
        return mixture - hits_part - misses_part >= -math.log(alpha)

    middle = (count + 0.5) / (trials + 1)
    low = _edge(middle, 1e-15, excluded) if count else 0.0
    high = _edge(middle, 1 - 1e-15, excluded) if misses else 1.0
    return low, high


def _known(traffic: Traffic) -> int:
    """Of how many requests at most it is known what came of them: platforms that count requests may
    know of them sooner."""
    if traffic.rows is None:
        return traffic.requests
    return traffic.rows + traffic.errors + sum(traffic.refused.values())


@dataclass(frozen=True)
class _Rate:
    name: str
    count: int
    trials: int
    stable_count: int
    stable_trials: int
    limit: float
    two_sided: bool

    @property
    def difference(self) -> float:
        here = self.count / self.trials if self.trials else 0.0
        there = self.stable_count / self.stable_trials if self.stable_trials else 0.0
        return abs(here - there) if self.two_sided else here - there

    def words(self) -> str:
        here = f"{self.name} in {self.count / self.trials:.2%} of {self.trials}"
        if not self.stable_trials:
            return here
        there = f"{self.stable_count / self.stable_trials:.2%} of {self.stable_trials}"
        return f"{here}, beside {there} of the stable version"


def _compared(candidate: Traffic, stable: Traffic, limits: Limits) -> Iterator[_Rate]:
    if candidate.requests:
        trials = candidate.requests, stable.requests
        yield _rate("errors", candidate.errors, stable.errors, trials, limits.errors)
        slow = f"answers slower than {limits.slow_ms:g} ms"
        yield _rate(slow, candidate.slow, stable.slow, trials, limits.slow)
    if candidate.rows and stable.rows:
        for said in sorted(candidate.predictions.keys() & stable.predictions.keys()):
            counts = candidate.predictions[said], stable.predictions[said]
            rows = candidate.rows, stable.rows
            yield _rate(said, *counts, rows, limits.predictions, two_sided=True)


def _rate(
    name: str,
    count: int,
    stable_count: int,
    trials: tuple[int, int],
    limit: float,
    *,
    two_sided: bool = False,
) -> _Rate:
    # A request in flight may be counted on one side of a ratio already.
    here, there = min(count, trials[0]), min(stable_count, trials[1])
    return _Rate(name, here, trials[0], there, trials[1], limit, two_sided)


def _edge(inside: float, outside: float, excluded: Callable[[float], bool]) -> float:
    """By bisection, the rate next to the first excluded one."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside
