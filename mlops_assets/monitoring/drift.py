"""How far two distributions lie apart, whether chance explains it, and when that is drift. Pure.

A column has drifted in a window when three things hold: it lies far enough from the reference to
matter (the Jensen-Shannon distance), samples of these sizes would seldom lie as far apart by
chance, and seldom still after allowing for all the columns that were looked at (the false discovery
rate of Benjamini and Hochberg 1995). A p-value alone would find every difference in enough rows, a
distance alone every small sample.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.monitoring.distributions import Distributions, Ranks
from mlops_assets.monitoring.spec import DriftSpec

if TYPE_CHECKING:
    import numpy as np

_SMALLEST_EXPECTED = 5.0
"""Rows that a bin of a chi-square test is expected to hold; smaller ones are put together
(Cochran 1954)."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column in one window."""

    column: str
    jensen_shannon: float
    """The Jensen-Shannon distance (Endres and Schindelin 2003), base 2: 0 for equal distributions,
    1 for such as share no value."""
    psi: float
    """Population stability index, in nats."""
    ks: float | None
    """Kolmogorov-Smirnov distance: the largest difference of the distribution functions; None
    for words."""
    wasserstein: float | None
    """Earth mover's distance in standard deviations of the reference; None for words, and where
    the reference does not vary."""
    p_value: float
    """How often samples of one distribution lie as far apart as these."""
    q_value: float
    """The smallest false discovery rate at which this column counts as different."""
    drifted: bool
    moved: str
    """The bin whose share changed most, in words."""


@dataclass(frozen=True)
class ColumnAlarm:
    """One column over the newest windows."""

    newest: ColumnDrift
    worst: ColumnDrift
    """Of the windows in which it drifted, the one where it lay furthest; else the newest."""
    times: int
    """Windows of those judged in which it drifted."""
    of: int
    importance: float | None
    """How much the model's quality depends on the column; None when that is not known."""
    alarming: bool

    @property
    def likely_effect(self) -> float:
        """What quality may suffer: importance times effect, or the effect alone."""
        weight = 1.0 if self.importance is None else max(self.importance, 0.0)
        return weight * self.worst.jensen_shannon


def judge(columns: Sequence[Distributions], spec: DriftSpec) -> tuple[ColumnDrift, ...]:
    """Every column of one window, in the order given."""
    p_values = [p_value(column) for column in columns]
    verdicts = []
    for column, p, q in zip(columns, p_values, adjusted(p_values), strict=True):
        distance = jensen_shannon(column.reference, column.current)
        drifted = q <= spec.false_discovery_rate and distance >= spec.effect
        ranks = column.ranks
        verdicts.append(
            ColumnDrift(
                column.column,
                distance,
                psi(column.reference, column.current),
                kolmogorov_smirnov(ranks) if ranks else None,
                wasserstein(ranks) if ranks else None,
                p,
                q,
                drifted,
                _moved(column),
            )
        )
    return tuple(verdicts)


def over_windows(
    windows: Sequence[Sequence[ColumnDrift]],
    spec: DriftSpec,
    importances: Mapping[str, float] | None = None,
) -> tuple[ColumnAlarm, ...]:
    """Every column of the newest window: those that alarm first, then those that drifted in some
    window, and in each group those that may hurt most.

    Args:
        windows: oldest first; at least one.
        spec: how many windows must have drifted.
        importances: of the columns that have one.
    """
    known = importances or {}
    judged = windows[-spec.windows :]
    alarms = []
    for newest in judged[-1]:
        drifted = [
            each
            for window in judged
            for each in window
            if each.column == newest.column and each.drifted
        ]
        alarms.append(
            ColumnAlarm(
                newest,
                max(drifted, key=lambda each: each.jensen_shannon, default=newest),
                len(drifted),
                len(judged),
                known.get(newest.column, 0.0) if known else None,
                len(drifted) >= spec.at_least,
            )
        )
    return tuple(sorted(alarms, key=_rank))


def _rank(alarm: ColumnAlarm) -> tuple[bool, bool, float, float]:
    return (
        not alarm.alarming,
        not alarm.times,
        -alarm.likely_effect,
        -alarm.worst.jensen_shannon,
    )


def psi(reference: Sequence[float], current: Sequence[float]) -> float:
    """The population stability index (Siddiqi 2006) of two histograms on the same bins: the
    symmetrised Kullback-Leibler divergence in nats.

    Half a row is added to every bin that either histogram uses, so that an empty bin is unlikely
    rather than impossible; bins that both leave empty do not count.
    """
    used = [(r, c) for r, c in zip(reference, current, strict=True) if r > 0 or c > 0]
    if len(used) < 2:
        return 0.0
    padding = 0.5 * len(used)
    total_r = sum(r for r, _ in used) + padding
    total_c = sum(c for _, c in used) + padding
    value = 0.0
    for r, c in used:
        p, q = (r + 0.5) / total_r, (c + 0.5) / total_c
        value += (q - p) * math.log(q / p)
    return value


def jensen_shannon(reference: Sequence[float], current: Sequence[float]) -> float:
    """The Jensen-Shannon distance of two histograms on the same bins: the square root of the
    divergence in bits. 1 when one of them is empty and the other is not."""
    total_r, total_c = sum(reference), sum(current)
    if not total_r or not total_c:
        return float(total_r != total_c)
    divergence = 0.0
    for r, c in zip(reference, current, strict=True):
        p, q = r / total_r, c / total_c
        middle = (p + q) / 2
        divergence += sum(share * math.log2(share / middle) / 2 for share in (p, q) if share)
    return math.sqrt(max(divergence, 0.0))


def kolmogorov_smirnov(ranks: Ranks) -> float:
    """The largest difference of the two distribution functions; that of the sketches differs from
    that of the rows by less than 0.01 (`Ranks.error`, and 1/256 between points)."""
    pairs = zip(ranks.reference, ranks.current, strict=True)
    return max(abs(r - c) for r, c in pairs)


def wasserstein(ranks: Ranks) -> float | None:
    """The area between the two distribution functions (Vallender 1974), in standard deviations of
    the reference; None where it has none, or a value is infinite."""
    import numpy as np

    points = np.asarray(ranks.points)
    if not (ranks.spread > 0 and math.isfinite(ranks.spread) and np.isfinite(points).all()):
        return None
    gaps = np.abs(np.subtract(ranks.reference, ranks.current))
    return float(np.trapezoid(gaps, points) / ranks.spread)


def p_value(column: Distributions) -> float:
    """How often two samples of one distribution, of these sizes, lie as far apart as these.

    Numbers: the Kolmogorov-Smirnov test, for the distance that remains after what the sketches may
    be off; together with the chi-square test of the shares of missing values and of words, where
    there are any (the smaller of both, doubled: Bonferroni). Words: the chi-square test of
    homogeneity, missing values being one of them.
    """
    reference, current = column.reference, column.current
    if column.ranks is None:
        return _chi_square(reference, current)
    values, first = _ks_p_value(column.ranks), -column.beside
    if not any((*reference[first:], *current[first:])):
        return values
    there = [(sum(side[:first]), *side[first:]) for side in (reference, current)]
    return min(1.0, 2 * min(values, _chi_square(*there)))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """The p-values, adjusted for their number so that the false discovery rate is controlled."""
    if not p_values:
        return []
    from scipy.stats import false_discovery_control

    found: list[float] = false_discovery_control(list(p_values), method="bh").tolist()
    return found


def _ks_p_value(ranks: Ranks) -> float:
    """Of the distribution of Kolmogorov's statistic at the effective size n·m/(n+m) (as in
    Numerical Recipes, 14.3); ties only make it larger."""
    from scipy.stats import kstwo

    then, now = ranks.rows
    size = max(1, round(then * now / (then + now)))
    distance = max(0.0, kolmogorov_smirnov(ranks) - ranks.error)
    return float(kstwo.sf(distance, size))


def _chi_square(reference: Sequence[float], current: Sequence[float]) -> float:
    """Pearson's test that both are samples of one distribution; 1 when there is one bin."""
    import numpy as np
    from scipy.stats import chi2

    counts = _without_small_bins(np.array([reference, current], dtype=float))
    if counts.shape[1] < 2 or not counts.sum(axis=1).all():
        return 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(chi2.sf(statistic, counts.shape[1] - 1))


def _without_small_bins(counts: "np.ndarray") -> "np.ndarray":
    """The bins in which both samples are expected to hold enough rows, and the others as one, or
    with the smallest of them when even that is too small."""
    import numpy as np

    smaller = counts.sum(axis=1).min() / max(counts.sum(), 1.0)
    order = np.argsort(counts.sum(axis=0))
    ascending = counts[:, order]
    expected = ascending.sum(axis=0) * smaller
    small = int((expected < _SMALLEST_EXPECTED).sum())
    while small < len(expected) and 0 < expected[:small].sum() < _SMALLEST_EXPECTED:
        small += 1
    together = ascending[:, :small].sum(axis=1, keepdims=True)
    kept = ascending[:, small:]
    return np.hstack([together, kept]) if together.any() else kept


def _moved(column: Distributions) -> str:
    before, now = sum(column.reference) or 1.0, sum(column.current) or 1.0
    shares = [
        (bin_, r / before, c / now)
        for bin_, r, c in zip(column.bins, column.reference, column.current, strict=True)
    ]
    bin_, then, later = max(shares, key=lambda share: abs(share[2] - share[1]))
    return f"{bin_}: {then:.1%} → {later:.1%}"
