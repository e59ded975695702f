"""The histogram of what a model answers: its bounds, and counting many values at once."""

import math
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import bundle
from mlops_assets.serving.scorer import Scorer

if TYPE_CHECKING:
    from prometheus_client import Histogram

FEW = 16
"""Values that are observed one by one."""
SHARES = tuple(step / 10 for step in range(1, 11))


def histogram(scorer: Scorer, registry: Any) -> "Histogram":
    from prometheus_client import Histogram

    if scorer.manifest.task != "regression":
        return Histogram(
            "mlops_prediction_probability",
            "Probability of the positive class, or of the predicted one of several.",
            buckets=SHARES,
            registry=registry,
        )
    # The golden requests are the only hint of the target's range that an endpoint has.
    known = [float(value) for value in bundle.read_golden(scorer.folder).predictions]
    low, high = min(known, default=0.0), max(known, default=1.0)
    return Histogram(
        "mlops_prediction_value", "Predicted values.", buckets=bounds(low, high), registry=registry
    )


def observe_one(histogram: "Histogram", value: float) -> None:
    """As `histogram.observe`, for a third of its price: it is paid by every request."""
    histogram._buckets[bisect_left(histogram._upper_bounds, value)].inc(1)
    histogram._sum.inc(value)


def observe(histogram: "Histogram", values: list[float]) -> None:
    """As `histogram.observe` of each value. The library has no way for many at once, which would
    cost more than their profile."""
    if len(values) < FEW:
        for value in values:
            observe_one(histogram, value)
        return
    import numpy as np

    counts = np.bincount(np.searchsorted(histogram._upper_bounds, values))
    for place in np.flatnonzero(counts):
        histogram._buckets[place].inc(int(counts[place]))
    histogram._sum.inc(math.fsum(values))


def up_to(histogram: "Histogram") -> dict[str, int]:
    """How many values are at most each bound, by the bound as Prometheus writes it."""
    from prometheus_client.utils import floatToGoString

    counts = accumulate(int(bucket.get()) for bucket in histogram._buckets)
    pairs = zip(histogram._upper_bounds, counts, strict=True)
    return {
        floatToGoString(bound): count  # type: ignore[no-untyped-call]
        for bound, count in pairs
        if bound < math.inf
    }


def bounds(low: float, high: float) -> list[float]:
    """About twenty round numbers from below `low` to above `high`: multiples of 1, 2 or 5 times a
    power of ten, so that two versions of a model, whose ranges differ a little, share most."""
    width = (high - low) or max(abs(high), 1.0)
    digits = -math.floor(math.log10(width / 10))
    power = 10.0**-digits
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= width / 10)
    first, last = math.floor((low - width / 2) / step), math.ceil((high + width / 2) / step)
    return [round(number * step, digits) for number in range(first, last + 1)]
