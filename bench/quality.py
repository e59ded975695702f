"""How often `quality_holds` is wrong: `python bench/quality.py --worlds 400 --workers 2`.

A world is a version with 1,000 held-out rows, and three windows of labelled rows. Probabilities are
drawn from a beta distribution and labels from the probabilities, so that the true area under the
curve is about 0.85; everything goes through the metrics, intervals and verdict of the platform at
the default settings (an alarm when two of three windows have fallen).

- `same`: nothing changed. Whatever alarms is a false alarm.
- `fallen`: of a share of the rows the label is drawn anew, whatever the inputs: concept drift.
- `estimate`: how often the realised metric lies in the interval that was estimated before labels,
  where nothing changed.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from mlops_assets.gateways.realised import QualityWindow
from mlops_assets.gateways.records import Metric
from mlops_assets.modeling import metrics
from mlops_assets.modeling.outcome import Outcome
from mlops_assets.monitoring.performance import estimation, verdict
from mlops_assets.monitoring.performance.measurement import CONFIDENCE, RESAMPLES
from mlops_assets.monitoring.performance.verdict import Standard
from mlops_assets.monitoring.spec import QualitySpec

HELD_OUT_ROWS = 1000
WINDOWS = 3
SPEC = QualitySpec()


@dataclass(frozen=True)
class Setting:
    """Labelled rows of each window, and the share of them whose label is drawn anew."""

    rows: int
    changed: float


SETTINGS = tuple(Setting(rows, changed) for rows in (100, 300, 1000) for changed in (0, 0.1, 0.2))


def world(setting: Setting, seed: int) -> tuple[bool, int]:
    """Whether it alarms, and in how many windows the estimate held."""
    rng = np.random.default_rng([seed, setting.rows, int(setting.changed * 100)])
    held_out = _realised(rows(rng, HELD_OUT_ROWS, 0))
    windows, held = [], 0
    for day in range(WINDOWS):
        outcome = rows(rng, setting.rows, setting.changed)
        found = _realised(outcome)
        windows.append(window(day, setting.rows, found))
        held += _estimated(outcome, found)
    standard = Standard("roc_auc", True, held_out, None)
    judged = verdict.judge(windows, 1, standard, SPEC)
    return not judged.passed, held


def rows(rng: np.random.Generator, count: int, changed: float) -> Outcome:
    positive = rng.beta(0.6, 1.4, count)
    truth = (rng.random(count) < positive).astype(float)
    anew = rng.random(count) < changed
    truth[anew] = (rng.random(int(anew.sum())) < 0.3).astype(float)
    probabilities = np.column_stack([1 - positive, positive])
    return Outcome(truth, (positive >= 0.5).astype(float), probabilities)


def window(day: int, count: int, found: Metric) -> QualityWindow:
    return QualityWindow(
        start=f"2026-03-0{day + 1}T00:00:00+00:00",
        version=1,
        predictions=count,
        labelled=count,
        strange=0,
        lag_median_s=None,
        lag_max_s=None,
        realised={"roc_auc": found},
        estimated={},
        revision=1,
        before={},
        computed_at="",
        log="",
        labels="",
        joined="",
    )


def _realised(outcome: Outcome) -> Metric:
    return metrics.estimate(
        ("roc_auc",), outcome, stratify=True, resamples=RESAMPLES, confidence=CONFIDENCE, seed=0
    )["roc_auc"]


def _estimated(outcome: Outcome, found: Metric) -> bool:
    assert outcome.probabilities is not None
    expected = estimation.estimate(
        ("roc_auc",),
        outcome.predicted,
        outcome.probabilities,
        resamples=RESAMPLES,
        confidence=CONFIDENCE,
        seed=0,
    )["roc_auc"]
    return expected.low <= found.value <= expected.high


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args(arguments)
    print("| labels per window | labels drawn anew | alarms | realised within the estimate |")
    print("|---|---|---|---|")
    with ProcessPoolExecutor(asked.workers) as pool:
        for setting in SETTINGS:
            found = list(pool.map(partial(world, setting), range(asked.worlds), chunksize=10))
            alarms = np.mean([alarm for alarm, _ in found])
            held = np.mean([held / WINDOWS for _, held in found])
            print(f"| {setting.rows} | {setting.changed:.0%} | {alarms:.1%} | {held:.1%} |")


if __name__ == "__main__":
    main()
