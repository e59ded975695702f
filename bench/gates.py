"""How often the promotion rules are wrong: `python bench/gates.py --workers 2`.

Candidates whose true quality is known are put through what a run puts them through: the paired
bootstrap of `training.comparison`, the default policy, and the gates of `registry.promotion`.

Scores are normal within each class (the binormal model of Metz 1978), so that the true area under
the curve is Phi(d / sqrt(2)) when the classes lie d apart, and probabilities are calibrated.

- `noise`: candidate and champion are equally good, 0.80, and differ by noise: whoever is promoted
  is promoted by chance. Their scores correlate as given.
- `better`: the candidate knows what the champion knows, and a column more, worth 0.02. The
  correlation follows from that: d of the champion / d of the candidate, 0.92.
"""

import argparse
import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
import pandas as pd

from mlops_assets.gateways.records import Comparison, Evaluation, Footprint
from mlops_assets.modeling.folds import ROW, SPLIT, TEST, held_out_rows
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.modeling.threads import threads_for
from mlops_assets.registry.checks import GATES
from mlops_assets.registry.promotion import Judged, decide
from mlops_assets.registry.spec import PromotionSpec
from mlops_assets.training.comparison import Resampling, changed_predictions, measure

METRIC = "roc_auc"
WORST_FALSE, LEAST_POWER = 0.05, 0.80
POSITIVE = 0.3
AUC = 0.80


@dataclass(frozen=True)
class Setting:
    """One kind of candidate."""

    name: str
    rows: int
    gain: float
    """True AUC of the candidate minus that of the champion."""
    correlation: float | None = None
    """Of the scores within a class; None when the candidate knows a column more."""


SETTINGS = (
    Setting("noise", 2000, 0.0, 0.9),
    Setting("noise", 2000, 0.0, 0.5),
    Setting("noise", 2000, 0.0, 0.99),
    Setting("noise", 500, 0.0, 0.9),
    Setting("better", 2000, 0.02),
    Setting("better", 2000, 0.02, 0.8),
)


def apart(auc: float) -> float:
    """Distance of the classes' means, in standard deviations, that gives this AUC."""
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def candidates(setting: Setting, seed: tuple[int, ...]) -> pd.DataFrame:
    """Test rows with their truth and what candidate and champion score, ids in random order."""
    rng = np.random.default_rng(seed)
    n, (old, new) = setting.rows, (apart(AUC), apart(AUC + setting.gain))
    rho = old / new if setting.correlation is None else setting.correlation
    truth = (np.arange(n) < POSITIVE * n).astype(float)
    common, own = rng.normal(size=n), rng.normal(size=n)
    return pd.DataFrame(
        {
            ROW: [f"{value:016x}" for value in rng.permutation(n)],
            SPLIT: TEST,
            "truth": truth,
            "champion": common + old * truth,
            "candidate": rho * common + math.sqrt(1 - rho**2) * own + new * truth,
        }
    )


def outcome(rows: pd.DataFrame, score: str, distance: float) -> Outcome:
    """Calibrated probabilities: the posterior of the binormal model."""
    odds = math.log(POSITIVE / (1 - POSITIVE)) + distance * rows[score].to_numpy()
    p = 1 / (1 + np.exp(distance**2 / 2 - odds))
    return Outcome(rows["truth"].to_numpy(), (p >= 0.5).astype(float), np.c_[1 - p, p])


def decided(
    frame: pd.DataFrame, gain: float, *, policy: PromotionSpec, resamples: int, seed: int = 0
) -> Judged:
    """The decision on a candidate, made of the code that a run executes."""
    rows = held_out_rows(frame)
    candidate = outcome(rows, "candidate", apart(AUC + gain))
    champion = outcome(rows, "champion", apart(AUC))
    measured = measure(
        policy,
        rows,
        (),
        candidate=candidate,
        champion=champion,
        resampling=Resampling("binary_classification", resamples, seed),
    )
    changed = changed_predictions("binary_classification", candidate, champion)
    evaluation = Evaluation(
        run_id="bench",
        rows=len(rows),
        metrics={},
        slices=(),
        measured=measured,
        asked=policy.asks(),
        footprint=Footprint(0.0, 0.0),
        champion=Comparison(1, changed, None, note=""),
    )
    return decide(evaluation, policy, GATES)


def promoted(setting: Setting, trial: int, *, policy: PromotionSpec, resamples: int) -> bool:
    frame = candidates(setting, (SETTINGS.index(setting), trial))
    with threads_for(1):
        return decided(frame, setting.gain, policy=policy, resamples=resamples).promoted


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927)."""
    z, share = NormalDist().inv_cdf(0.975), hits / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (middle - half) / (1 + z * z / trials), (middle + half) / (1 + z * z / trials)


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """A line of Markdown per setting, as soon as it is known."""
    policy = PromotionSpec(level=arguments.level).resolved(METRIC)
    yield "| candidates | rows | true gain | correlation | promoted | 95% interval | |"
    yield "|---|---|---|---|---|---|---|"
    with ProcessPoolExecutor(arguments.workers) as pool:
        for setting in SETTINGS:
            ask = partial(promoted, setting, policy=policy, resamples=arguments.resamples)
            hits = sum(pool.map(ask, range(arguments.trials), chunksize=5))
            low, high = wilson(hits, arguments.trials)
            share = hits / arguments.trials
            wrong = share > WORST_FALSE if setting.gain == 0 else share < LEAST_POWER
            rho = setting.correlation or apart(AUC) / apart(AUC + setting.gain)
            yield (
                f"| {setting.name} | {setting.rows:,} | {setting.gain:g} | {rho:.2f} | "
                f"{share:.1%} | {low:.1%} to {high:.1%} | {'FAIL' if wrong else 'PASS'} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500, help="candidates of each kind")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--level", type=float, default=PromotionSpec().level)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    started = time.perf_counter()
    for line in table(arguments):
        print(line, flush=True)
    print(f"\n{arguments.trials} of each, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
