"""How often the drift check is wrong: `python bench/drift.py --workers 2`.

Windows go through what traffic goes through: the endpoints' own profiles, the merged reference,
distributions, and the verdicts of `monitoring.drift` at the default settings.

- `same`: reference and windows are samples of one distribution (`--bootstrap`: the windows are
  drawn from the rows of the reference). Whatever alarms is a false alarm.
  The same windows are held to what `monitoring.expectations` derives from the reference.
- `shifted`: one column of 20 lies half a standard deviation higher. How often it is found, and
  named first, after one window and after two.

Columns are in turns normal, lognormal, counts with many zeros, a few categories, many categories
of a long tail, and normal with a tenth of the values missing.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import numpy as np

from mlops_assets.monitoring import (
    distributions,
    drift,
    expectations,
    profiles,
    summaries,
    violations,
)
from mlops_assets.monitoring.drift import ColumnAlarm, ColumnDrift
from mlops_assets.monitoring.spec import DataQualitySpec, DriftSpec
from mlops_assets.monitoring.violations import Violation
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.schema import InputSchema

REFERENCE_ROWS = 20_000
WORST_FALSE, LEAST_FOUND = 0.01, 0.95
SHIFT = 0.5
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
TAIL = 1 / np.arange(1, 301) ** 1.1


@dataclass(frozen=True)
class Setting:
    """One kind of traffic."""

    rows: int
    columns: int
    shift: float = 0.0


SETTINGS = (
    *(Setting(rows, columns) for columns in (10, 50, 200) for rows in (500, 2000, 10_000, 50_000)),
    Setting(1000, 20, SHIFT),
)


def column(kind: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Words are the numbers of their categories."""
    match kind % 6:
        case 0:
            return rng.normal(size=rows)
        case 1:
            return rng.lognormal(sigma=1.0, size=rows)
        case 2:
            return rng.poisson(0.7, rows).astype(float)
        case 3:
            return rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
        case 4:
            return rng.choice(len(TAIL), rows, p=TAIL / TAIL.sum())
        case _:
            values = rng.normal(size=rows)
            values[rng.random(rows) < 0.1] = np.nan
            return values


def view(columns: list[np.ndarray]) -> Any:
    """What monitoring reads of an endpoint that saw these columns."""
    profile = Profile(InputSchema(()), when=WHEN)
    contents = {f"c{k:03}": _content(values) for k, values in enumerate(columns)}
    profile.add(Contents(len(columns[0]), contents))
    return profiles.deserialize(profile.serialize())


def _content(values: np.ndarray) -> Any:
    if values.dtype.kind == "f":
        return values
    found, times = np.unique(values, return_counts=True)
    return Counter({f"v{k}": int(n) for k, n in zip(found, times, strict=True)})


@cache
def reference(columns: int, seed: int) -> tuple[list[np.ndarray], Any, Any]:
    """Rows, their profile, and what is expected after it."""
    rng = np.random.default_rng((1, columns, seed))
    made = [column(kind, REFERENCE_ROWS, rng) for kind in range(columns)]
    then = view(made)
    expected = expectations.derive(summaries.summarize(then), {}, DataQualitySpec())
    return made, then, expected


def judged(
    setting: Setting, spec: DriftSpec, *, trial: int, bootstrap: bool
) -> tuple[list[list[ColumnDrift]], list[tuple[Violation, ...]]]:
    """As many windows as are looked at together: their drift, and what is not as expected."""
    # A few references: what one of them happens to be must not decide.
    rows, then, expected = reference(setting.columns, trial % 5)
    rng = np.random.default_rng((2, setting.columns, setting.rows, trial))
    windows, faults = [], []
    for _ in range(spec.windows):
        if bootstrap:
            chosen = rng.integers(0, REFERENCE_ROWS, setting.rows)
            made = [values[chosen] for values in rows]
        else:
            made = [column(kind, setting.rows, rng) for kind in range(setting.columns)]
        made[0] = made[0] + setting.shift
        now = view(made)
        windows.append(list(drift.judge(distributions.compare(then, now), spec)))
        faults.append(violations.judge(expected, summaries.summarize(now), DataQualitySpec()))
    return windows, faults


@dataclass(frozen=True)
class Outcome:
    """What one trial showed."""

    windows: int
    with_drift: int
    """Windows in which some column drifted, whatever the others say."""
    alarmed: bool
    """After all windows."""
    found: tuple[bool, bool]
    """Whether the shifted column drifted, and was first, in the first window; and alarmed, first
    and alone, after two."""
    with_violation: int
    """Windows in which some column is not as expected."""


def trial(number: int, *, setting: Setting, spec: DriftSpec, bootstrap: bool) -> Outcome:
    windows, faults = judged(setting, spec, trial=number, bootstrap=bootstrap)
    alarms = drift.over_windows(windows, spec)
    one = drift.over_windows(windows[:1], spec)[0].newest
    two = drift.over_windows(windows[:2], spec)
    return Outcome(
        len(windows),
        sum(any(each.drifted for each in window) for window in windows),
        any(each.alarming for each in alarms),
        (one.drifted and one.column == "c000", _alone(two)),
        sum(map(bool, faults)),
    )


def _alone(alarms: tuple[ColumnAlarm, ...]) -> bool:
    return [each.newest.column for each in alarms if each.alarming] == ["c000"]


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """A line of Markdown per setting, as soon as it is known."""
    spec = DriftSpec()
    yield "| traffic | rows | columns | windows: a drifted column | not as expected | alarms | |"
    yield "|---|---|---|---|---|---|---|"
    for setting in SETTINGS:
        if arguments.traffic not in ("all", "shifted" if setting.shift else "same"):
            continue
        if arguments.columns not in (None, setting.columns):
            continue
        if arguments.rows not in (None, setting.rows):
            continue
        ask = partial(trial, setting=setting, spec=spec, bootstrap=arguments.bootstrap)
        yield _line(setting, _outcomes(ask, arguments))


def _outcomes(ask: Callable[[int], Outcome], arguments: argparse.Namespace) -> list[Outcome]:
    """Of the first trials, as many as there is time for."""
    end, found = time.monotonic() + arguments.seconds, []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for each in pool.map(ask, range(arguments.trials), chunksize=1):
            found.append(each)
            if time.monotonic() > end:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    return found


def _line(setting: Setting, found: list[Outcome]) -> str:
    windows = sum(each.windows for each in found)
    shown = f"{setting.rows:,} | {setting.columns}"
    if setting.shift:
        one, two = (sum(each.found[k] for each in found) / len(found) for k in (0, 1))
        passed = two >= LEAST_FOUND
        return (
            f"| shifted | {shown} | the right one first in {one:.1%} of first windows | the right "
            f"one alone in {two:.1%} after two | | {'PASS' if passed else 'FAIL'} |"
        )
    single = sum(each.with_drift for each in found)
    alarms = sum(each.alarmed for each in found)
    faulty = sum(each.with_violation for each in found)
    passed = max(single, faulty) / windows <= WORST_FALSE
    return (
        f"| same | {shown} | {_of(single, windows)} | {_of(faulty, windows)} | "
        f"{alarms} of {len(found)} | {'PASS' if passed else 'FAIL'} |"
    )


def _of(count: int, windows: int) -> str:
    """With the 95 % interval of the share (Clopper and Pearson 1934)."""
    from scipy.stats import binomtest

    low, high = binomtest(count, windows).proportion_ci(method="exact")
    return f"{count} of {windows} ({low:.2%} to {high:.2%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100, help="of each kind, three windows each")
    parser.add_argument("--traffic", choices=("all", "same", "shifted"), default="all")
    parser.add_argument("--columns", type=int, help="only traffic of so many")
    parser.add_argument("--rows", type=int, help="only windows of so many")
    parser.add_argument("--bootstrap", action="store_true")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for each kind, at most")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    started = time.perf_counter()
    for line in table(arguments):
        print(line, flush=True)
    print(f"\nat most {arguments.trials} of each, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
