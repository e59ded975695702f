"""How near the errors that are expected of a regression are to those that come:
`python bench/expected_errors.py --worlds 15`.

A world has 1,500 held-out rows and a window of 1,000. Errors are normal; their spread grows with
one feature, which moves in the window, and differs by a category. The prediction is right on
average, so that nothing but the inputs changes.
"""

import argparse

import numpy as np
import pandas as pd

from mlops_assets.modeling import metrics
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.monitoring.performance import losses

HELD_OUT, WINDOW = 1500, 1000
SHIFTS = (0.0, 0.5, 1.0, 1.5)
"""Standard deviations of the feature."""


def rows(count, rng, shift):
    """Inputs with the prediction, and errors."""
    x, z = rng.normal(shift, 1, count), rng.normal(size=count)
    plan = rng.choice(np.array(["basic", "full", None], dtype=object), count)
    spread = 0.5 * np.exp(0.6 * x) + 0.3 * (plan == "basic")
    table = pd.DataFrame({"x": x, "z": z, "plan": plan, "prediction": 2 * x + z})
    return table, rng.normal(size=count) * spread


def trial(world, shift):
    """By metric, how far off the estimate was, relative; and if the interval held the truth."""
    rng = np.random.default_rng(world)
    learned = losses.fit(*rows(HELD_OUT, rng, 0.0), seed=0)
    window, errors = rows(WINDOW, rng, shift)
    found = losses.estimate(learned, window, resamples=200, confidence=0.95, seed=0)
    outcome = Outcome(errors, np.zeros(len(errors)), None)
    real = {name: metrics.point(name, outcome) for name in losses.ESTIMABLE}
    return {
        name: (found[name].value / value - 1, found[name].low <= value <= found[name].high)
        for name, value in real.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=15)
    worlds = parser.parse_args().worlds
    print("| shift | metric | off on average | at most | interval held the truth |")
    print("|---|---|---|---|---|")
    for shift in SHIFTS:
        found = [trial(world, shift) for world in range(worlds)]
        for name in losses.ESTIMABLE:
            off, held = np.transpose([one[name] for one in found])
            print(
                f"| {shift} | {name} | {off.mean():+.1%} | {abs(off).max():.1%} | "
                f"{held.sum():.0f} of {worlds} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
