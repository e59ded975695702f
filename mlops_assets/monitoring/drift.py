"""How far two distributions lie apart, and when that is drift. Pure."""

import math
from dataclasses import dataclass

from mlops_assets.monitoring.distributions import Histogram
from mlops_assets.monitoring.spec import DriftSpec


@dataclass(frozen=True)
class ColumnDrift:
    """The verdict on one column."""

    column: str
    psi: float
    """Population stability index."""
    drifted: bool
    moved: str
    """The bin whose share changed most, in words."""


def judge(histograms: tuple[Histogram, ...], spec: DriftSpec) -> tuple[ColumnDrift, ...]:
    """Every column, the most drifted first."""
    verdicts = []
    for histogram in histograms:
        value = psi(histogram.reference, histogram.current)
        verdicts.append(
            ColumnDrift(histogram.column, value, value > spec.threshold, _moved(histogram))
        )
    return tuple(sorted(verdicts, key=lambda verdict: -verdict.psi))


def psi(reference: tuple[float, ...], current: tuple[float, ...]) -> float:
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


def _moved(histogram: Histogram) -> str:
    before, now = sum(histogram.reference) or 1.0, sum(histogram.current) or 1.0
    shares = [
        (bin_, r / before, c / now)
        for bin_, r, c in zip(histogram.bins, histogram.reference, histogram.current, strict=True)
    ]
    bin_, then, later = max(shares, key=lambda share: abs(share[2] - share[1]))
    return f"{bin_}: {then:.1%} → {later:.1%}"
