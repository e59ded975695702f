"""Which columns of the traffic are not as expected. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from mlops_assets.monitoring.expectations import (
    NONE,
    Allowed,
    Expectation,
    confidence,
)
from mlops_assets.monitoring.spec import DataQualitySpec, DriftSpec
from mlops_assets.monitoring.summaries import Summary
from mlops_assets.serving.scorer import OUTPUTS

Kind = Literal[
    "absent column", "unknown column", "type", "missing", "new category", "below range",
    "above range", "not whole",
]  # fmt: skip

SHOWN = 3


@dataclass(frozen=True)
class Violation:
    """Something that does not hold of a column in one window."""

    column: str
    kind: Kind
    rows: int
    """Of the window in which it could have held."""
    share: float
    """Of these rows, for which it does not."""
    allowed: float
    detail: str
    """In words."""


@dataclass(frozen=True)
class Alarm:
    """The same over the newest windows."""

    latest: Violation
    times: int
    """Windows of those judged in which it did not hold."""
    of: int
    alarming: bool


def judge(
    expected: Mapping[str, Expectation],
    window: Mapping[str, Summary],
    spec: DataQualitySpec,
) -> tuple[Violation, ...]:
    """What does not hold in one window, column by column.

    Args:
        expected: by feature.
        window: what was seen, by column.
        spec: how sure a verdict must be.
    """
    z = confidence(len(expected), spec)
    rows = max((summary.rows for summary in window.values()), default=0)
    if not rows:
        return ()
    found: list[Violation] = []
    for name, expectation in expected.items():
        seen = window.get(name)
        there = 0 if seen is None else seen.rows
        if there < rows:
            said = f"{rows - there:,} rows do not have it"
            found.append(Violation(name, "absent column", rows, 1 - there / rows, 0.0, said))
        if seen is not None:
            found += _violations(expectation, seen, z)
    for name in sorted(window.keys() - expected.keys() - {*OUTPUTS}):
        said = "the version does not have it"
        share = window[name].rows / rows
        found.append(Violation(name, "unknown column", rows, share, 0.0, said))
    return tuple(found)


def over_windows(windows: Sequence[Sequence[Violation]], spec: DriftSpec) -> tuple[Alarm, ...]:
    """Whatever did not hold lately: what alarms first, and in each group what concerns most rows.

    Args:
        windows: oldest first.
        spec: how many windows are looked at, and how many of them are an alarm.
    """
    judged = windows[-spec.windows :]
    met: dict[tuple[str, str], list[Violation]] = {}
    for window in judged:
        for violation in window:
            met.setdefault((violation.column, violation.kind), []).append(violation)
    alarms = [
        Alarm(found[-1], len(found), len(judged), len(found) >= spec.at_least)
        for found in met.values()
    ]
    return tuple(sorted(alarms, key=lambda a: (not a.alarming, -a.latest.share, a.latest.column)))


def _violations(expected: Expectation, seen: Summary, z: float) -> Iterator[Violation]:
    """Of a column that the window holds."""

    def of(kind: Kind, count: float, rows: int, allowed: Allowed, detail: str) -> list[Violation]:
        if not allowed.is_exceeded(count, rows, z):
            return []
        worst = max(allowed.explained, allowed.at_least)
        return [Violation(expected.column, kind, rows, count / rows, worst, detail)]

    yield from of("missing", seen.missing, seen.rows, expected.missing, "without a value")
    if expected.numbers is not None:
        wrong = seen.words if expected.numbers else seen.numbers
        met = "words, numbers are expected" if expected.numbers else "numbers, words are expected"
        yield from of("type", wrong, seen.present, NONE, met)
    if expected.values is not None and expected.numbers is not True:
        outside = _outside(expected.values, seen)
        detail = _new(expected.values, seen)
        yield from of("new category", outside, seen.words, expected.outside, detail)
    if expected.minimum is not None and seen.points:
        below = _beyond([p < expected.minimum for p in seen.points], seen)
        detail = f"below {expected.minimum:g}, down to {seen.points[0]:g}"
        yield from of("below range", below, seen.numbers, expected.below, detail)
    if expected.maximum is not None and seen.points:
        above = _beyond([p > expected.maximum for p in reversed(seen.points)], seen)
        detail = f"above {expected.maximum:g}, up to {seen.points[-1]:g}"
        yield from of("above range", above, seen.numbers, expected.above, detail)
    if expected.whole is not None and seen.points:
        # A sample of so many values at most.
        sample = min(seen.numbers, len(seen.points))
        count = seen.fractional / len(seen.points) * sample
        yield from of("not whole", count, sample, expected.whole, "not whole numbers")


def _outside(known: frozenset[str], seen: Summary) -> float:
    """Words that are surely none of the known ones, however much of them the sketch forgot."""
    inside = sum(seen.values.get(value, seen.unlisted) for value in known)
    return float(max(seen.words - inside, 0))


def _new(known: frozenset[str], seen: Summary) -> str:
    found = sorted((v for v in seen.values if v not in known), key=lambda v: -seen.values[v])
    shown = ", ".join(repr(value[:40]) for value in islice(found, SHOWN))
    return f"not known: {shown or 'many different values'}"


def _beyond(points: Sequence[bool], seen: Summary) -> float:
    """Numbers that are surely beyond a bound, of whose quantiles the first ones are. The end is
    exact: it is one row at least."""
    if not points[0]:
        return 0.0
    beyond = next((k for k, is_beyond in enumerate(points) if not is_beyond), len(points))
    share = (beyond - 1) / (len(points) - 1) - seen.error
    return max(1.0, math.floor(share * seen.numbers))
