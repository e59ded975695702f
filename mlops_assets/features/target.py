"""Finds the classes of the target, and refuses a target that the task cannot predict. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.features import values
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.features.table import Label
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 100
POSITIVE_WORDS = ("yes", "true", "1", "y", "t", "positive", "pos")


@dataclass(frozen=True)
class Target:
    """Labels by encoded value, the positive class last; empty for regression or when refused."""

    classes: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()


def classes(
    series: "pd.Series[Any]", spec: FeaturesSpec, task: Task, problems: list[str]
) -> Target:
    """The target's classes; what speaks against it is added to `problems`."""
    if values.text(series).dropna().empty:
        problems.append(f"target {spec.target!r} holds no value")
        return Target()
    if task == "regression":
        return _regression_target(series, spec, problems)
    labels = values.labels(series)
    counts: dict[Any, int] = dict(labels.value_counts().sort_index().items())
    if fault := _class_fault(counts, series, task):
        problems.append(f"target {spec.target!r} {fault}")
        return Target()
    notes = tuple(
        f"class {name!r} has only {count} rows" for name, count in counts.items() if count < 10
    )
    if task == "multiclass_classification":
        return Target(tuple(counts), notes)
    return _binary_target(counts, spec, notes, problems)


def positive_label(counts: dict[Label, int]) -> tuple[Label, str]:
    """The label to predict when nobody said so, and why: an affirmative word, else the rarer."""
    for word in POSITIVE_WORDS:
        for found in counts:
            if str(found).lower() == word:
                return found, "it affirms"
    rarer = min(counts, key=lambda found: (counts[found], str(found)))
    return rarer, "it is the rarer"


def _class_fault(counts: dict[Label, int], series: "pd.Series[Any]", task: Task) -> str | None:
    shown = ", ".join(f"{name!r} ({count} rows)" for name, count in list(counts.items())[:8])
    if len(counts) == 1:
        return f"holds one class only: {shown}; there is nothing to learn"
    fractions = values.numbers(series)
    if len(counts) > 2 and not fractions.unread.any() and (fractions.values % 1 > 0).any():
        return f"holds {len(counts)} different numbers with fractions; set task: regression"
    if len(counts) > MOST_CLASSES:
        return f"holds {len(counts)} classes, more than {MOST_CLASSES}: {shown}, ..."
    if task == "binary_classification" and len(counts) != 2:
        return f"holds {len(counts)} classes: {shown}; set task: multiclass_classification"
    if task == "multiclass_classification" and len(counts) == 2:
        return f"holds two classes: {shown}; set task: binary_classification"
    if single := [name for name, count in counts.items() if count < 2]:
        return f"has one row only of {single}; collect more, or merge or remove the class"
    return None


def _binary_target(
    counts: dict[Label, int], spec: FeaturesSpec, notes: tuple[str, ...], problems: list[str]
) -> Target:
    known = tuple(counts)
    if spec.positive is None:
        positive, why = positive_label(counts)
        notes += (f"positive label {positive!r}, because {why}; set features.positive to change",)
    else:
        positive = values.label(spec.positive, known)
        if positive not in known:
            problems.append(
                f"features.positive: {spec.positive!r} is no label of {spec.target!r}; "
                f"its labels are {', '.join(map(repr, known))}"
            )
            return Target()
    (negative,) = (name for name in known if name != positive)
    return Target((negative, positive), notes)


def _regression_target(series: "pd.Series[Any]", spec: FeaturesSpec, problems: list[str]) -> Target:
    read = values.numbers(series)
    if (share := values.share_of_numbers(series)) < values.READABLE:
        example = values.text(series)[read.unread].iloc[0]
        problems.append(
            f"target {spec.target!r} is no number in {1 - share:.1%} of the rows, for instance "
            f"{example!r}; clean it, or set task: binary_classification or "
            "multiclass_classification"
        )
    elif read.values.nunique() < 2:
        problems.append(f"target {spec.target!r} holds one value only; there is nothing to learn")
    return Target()
