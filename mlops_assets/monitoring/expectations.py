"""What the values of a column are expected to be: as in training, or as the YAML has it. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import NormalDist

from mlops_assets.monitoring.spec import ColumnExpectation, DataQualitySpec
from mlops_assets.monitoring.summaries import WORD_LENGTH, Summary
from mlops_assets.serving.contents import label
from mlops_assets.serving.scorer import OUTPUTS

TESTS = 6
"""Shares that are tested of a column, at most."""


@dataclass(frozen=True)
class Allowed:
    """A share of the rows that may be so."""

    explained: float
    """What training explains: the upper end of its confidence interval."""
    at_least: float
    """Smaller shares do not matter."""

    def is_exceeded(self, found: float, rows: int, z: float) -> bool:
        """Whether such a share matters, and is more than training and chance explain."""
        if not rows or not found:
            return False
        return found / rows >= self.at_least and lower(found, rows, z) > self.explained


NONE = Allowed(0.0, 0.0)
"""Not a single row."""


@dataclass(frozen=True)
class Expectation:
    """One column."""

    column: str
    numbers: bool | None
    """Whether its values are numbers; None where training held none."""
    missing: Allowed
    values: frozenset[str] | None
    """None where they are not known, or do not matter."""
    outside: Allowed
    """Of `values`."""
    minimum: float | None
    below: Allowed
    maximum: float | None
    above: Allowed
    whole: Allowed | None
    """Numbers that may not be whole; None where training held such."""


def confidence(columns: int, spec: DataQualitySpec) -> float:
    """The one-sided normal quantile of each test, for all tests of a window together."""
    return NormalDist().inv_cdf(1 - spec.false_alarms / (TESTS * max(columns, 1)))


def upper(found: float, rows: float, z: float) -> float:
    """The upper end of the one-sided Wilson (1927) interval of a share; 1 without rows."""
    return _wilson(found, rows, z) if rows > 0 else 1.0


def lower(found: float, rows: float, z: float) -> float:
    """The lower end of it; 0 without rows."""
    return max(0.0, _wilson(found, rows, -z)) if rows > 0 and found > 0 else 0.0


def _wilson(found: float, rows: float, z: float) -> float:
    share = min(found / rows, 1.0)
    middle = share + z * z / (2 * rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return min(1.0, (middle + half) / (1 + z * z / rows))


def derive(
    trained: Mapping[str, Summary],
    asked: Mapping[str, ColumnExpectation],
    spec: DataQualitySpec,
) -> dict[str, Expectation]:
    """Of every feature, by name.

    Args:
        trained: what the version saw at training time, by column.
        asked: what the YAML asks for instead.
        spec: how far traffic may be from training.
    """
    features = [each for name, each in trained.items() if name not in OUTPUTS]
    z = confidence(len(features), spec)
    return {each.column: _expected(each, asked.get(each.column), spec, z) for each in features}


def problems(
    trained: Mapping[str, Summary], asked: Mapping[str, ColumnExpectation], version: int
) -> list[str]:
    """What the YAML asks of columns that cannot be asked for, in sentences."""
    found = []
    features = [name for name in trained if name not in OUTPUTS]
    for name, rule in asked.items():
        where = f"monitoring.expectations.{name}"
        if name not in features:
            near = get_close_matches(name, features, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {_some(features)}"
            found.append(f"{where}: version {version} has no such feature; {hint}")
        elif rule.values is not None and trained[name].numbers:
            found.append(f"{where}.values: the column holds numbers; set minimum and maximum")
        elif (rule.minimum, rule.maximum) != (None, None) and trained[name].words:
            found.append(f"{where}: the column holds no numbers; set values, not a range")
    return found


def _some(names: Collection[str]) -> str:
    first = sorted(names)[:10]
    return ", ".join(first) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _expected(
    trained: Summary, asked: ColumnExpectation | None, spec: DataQualitySpec, z: float
) -> Expectation:
    rule = asked or ColumnExpectation()
    numbers = None if not trained.numbers + trained.words else trained.numbers >= trained.words
    values, outside = _values(trained, rule, spec, z)
    # Beyond its ends training held nothing.
    beyond = Allowed(upper(0, trained.numbers, z), spec.effect)
    low, high = _range(trained, spec.range_margin)
    points = min(trained.numbers, len(trained.points))
    return Expectation(
        column=trained.column,
        numbers=numbers,
        missing=_missing(trained, rule, spec, z),
        values=values,
        outside=outside,
        minimum=low if rule.minimum is None else rule.minimum,
        below=beyond if rule.minimum is None else NONE,
        maximum=high if rule.maximum is None else rule.maximum,
        above=beyond if rule.maximum is None else NONE,
        whole=Allowed(upper(0, points, z), spec.effect) if trained.whole else None,
    )


def _missing(trained: Summary, rule: ColumnExpectation, spec: DataQualitySpec, z: float) -> Allowed:
    if rule.missing is not None:
        return Allowed(rule.missing, 0.0)
    share = trained.missing / trained.rows if trained.rows else 1.0
    return Allowed(upper(trained.missing, trained.rows, z), share + spec.effect)


def _values(
    trained: Summary, rule: ColumnExpectation, spec: DataQualitySpec, z: float
) -> tuple[frozenset[str] | None, Allowed]:
    if rule.values is not None:
        return frozenset(label(value)[:WORD_LENGTH] for value in rule.values), NONE
    if not trained.words or trained.unlisted:
        return None, NONE
    # The share of values not met yet is about that of those met once (Good 1953).
    new = Allowed(upper(trained.once, trained.words, z), trained.once / trained.words + spec.effect)
    return frozenset(trained.values), new


def _range(trained: Summary, margin: float) -> tuple[float | None, float | None]:
    """Widened by a share of its width, or, of a constant, of its size."""
    if not trained.points:
        return None, None
    low, high = trained.points[0], trained.points[-1]
    more = margin * ((high - low) or abs(high))
    ends = low - more, high + more
    return tuple(end if math.isfinite(end) else None for end in ends)  # type: ignore[return-value]
