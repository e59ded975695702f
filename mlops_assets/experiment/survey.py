"""Looks at a table nobody has described yet, and guesses what each column is for. Pure.

Every guess carries its reason, so that the YAML made of it can say why.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mlops_assets.features import cleaning, inference, leakage, values
from mlops_assets.features.inference import Kind
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.features.table import FeatureError, Label, TableSchema
from mlops_assets.features.target import MOST_CLASSES
from mlops_assets.serving.bundle import Task

if TYPE_CHECKING:
    import pandas as pd

LEAKS_FROM = 0.99
"""ROC AUC of a single column from which on it is taken for a copy of the target."""
MOST_SLICES = 3
WHOLE_NUMBER_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a quantity."""

_ID_NAME = re.compile(
    r"(?:^|[_\s.-])(?:id|uuid|guid|key|index)$|[a-z](?:ID|Id)$|^Unnamed", re.ASCII
)
_TIME_NAME = re.compile(
    r"event|timestamp|created|updated|observed|snapshot|as_?of|date$|time$|_at$|_on$|_?ts$", re.I
)
_OTHER_TIME = re.compile(r"birth|dob|expir|due|until|valid|first|last|end", re.I)


@dataclass(frozen=True)
class Survey:
    """What the columns of a table seem to be for."""

    task: Task
    rows: int
    schema: TableSchema
    counts: Mapping[Label, int]
    """Rows per class; empty for regression."""
    entity: str | None
    event_time: str | None
    group: str | None
    excluded: Mapping[str, str]
    """Columns that should be no feature, with the reason."""
    slices: tuple[str, ...]


def survey(
    frame: "pd.DataFrame",
    source: Mapping[str, Any],
    *,
    target: str,
    task: Task | None,
    positive: Label | None,
) -> Survey:
    """What to do with a table.

    Args:
        frame: the table as its source holds it.
        source: the `features.source` of the YAML to be.
        target: column to predict.
        task: the prediction task; None to guess.
        positive: the label to predict; None to guess.

    Raises:
        FeatureError: the target is absent or cannot be predicted, or no feature is left.
    """
    if target not in frame:
        near = get_close_matches(target, map(str, frame.columns), n=3, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(map(repr, near))}?"
            if near
            else "it has " + ", ".join(map(str, frame.columns[:20]))
        )
        raise FeatureError([f"the data has no column {target!r}; {hint}"])
    chosen = task or guess_task(frame[target])
    kinds = {str(name): inference.kind_of(frame[name]) for name in frame if name != target}
    excluded = _unusable(kinds)
    kinds = {name: kind for name, kind in kinds.items() if name not in excluded}
    event_time = _event_time(frame, kinds)
    entity, group = _identity(frame, kinds, excluded, timed=event_time is not None)
    section: dict[str, Any] = {
        "source": source,
        "target": target,
        "positive": positive,
        "entity": entity,
        "event_time": event_time,
        "group": group,
        "exclude": [*excluded],
    }
    spec = FeaturesSpec.model_validate(section)
    schema = inference.infer(frame, spec, chosen)
    explained = _explained(frame, schema, spec)
    if leaks := {name: why for name, (_, why) in explained.items() if why}:
        excluded |= leaks
        spec = FeaturesSpec.model_validate({**section, "exclude": [*excluded]})
        schema = inference.infer(frame, spec, chosen)
    counts = values.labels(frame[target]).value_counts()
    return Survey(
        task=chosen,
        rows=len(frame),
        schema=schema,
        counts={label: int(counts[label]) for label in schema.classes},
        entity=entity,
        event_time=event_time,
        group=group,
        excluded=excluded,
        slices=_slices(schema, {name: share for name, (share, _) in explained.items()}),
    )


def guess_task(target: "pd.Series[Any]") -> Task:
    """Two values: binary. Words, or few whole numbers: multiclass. Otherwise regression."""
    labels = values.labels(target).dropna()
    distinct = labels.nunique()
    if distinct <= 2:
        return "binary_classification"
    if values.share_of_numbers(target) >= values.READABLE:
        read = values.numbers(target).values.dropna()
        whole = bool((read % 1 == 0).all())
        few = whole and distinct <= WHOLE_NUMBER_CLASSES
        return "multiclass_classification" if few else "regression"
    if distinct > MOST_CLASSES:
        raise FeatureError(
            [f"target {target.name!r} holds {distinct} different texts; choose another target"]
        )
    return "multiclass_classification"


def _unusable(kinds: Mapping[str, Kind]) -> dict[str, str]:
    excluded = {}
    for name, kind in kinds.items():
        if kind == "empty":
            excluded[name] = "holds no value"
        elif kind == "nested":
            excluded[name] = "holds lists or objects"
        elif name.startswith("__"):
            excluded[name] = "names that begin with __ are reserved"
    return excluded


def _event_time(frame: "pd.DataFrame", kinds: Mapping[str, Kind]) -> str | None:
    """The column that says when a row was true, if one is named like that or is the only one."""
    found = []
    for name, kind in kinds.items():
        series = frame[name]
        named = bool(_TIME_NAME.search(name)) and not _OTHER_TIME.search(name)
        if kind != "datetime" and not (kind == "numeric" and named):
            continue
        formats = values.time_formats(series, numeric=True, share=values.READABLE)
        if len(formats) == 1 and series.isna().mean() <= 1 - values.READABLE and formats != ("%Y",):
            found.append((name, named))
    named_so = [name for name, named in found if named]
    if named_so:
        return named_so[0]
    others = [name for name, _ in found if not _OTHER_TIME.search(name)]
    return others[0] if len(others) == 1 and len(found) == 1 else None


def _identity(
    frame: "pd.DataFrame", kinds: Mapping[str, Kind], excluded: dict[str, str], *, timed: bool
) -> tuple[str | None, str | None]:
    """Entity and group; further identifiers are added to `excluded`.

    An identifier that comes back in several rows keeps them on one side of the split, unless
    time does.
    """
    found: list[tuple[str, int]] = []
    for name, kind in kinds.items():
        words = values.text(frame[name])
        distinct = words.nunique()
        named = bool(_ID_NAME.search(name)) and distinct > min(50, len(words) // 10)
        whole = kind == "numeric" and bool((values.numbers(words).values.dropna() % 1 == 0).all())
        if (kind == "categorical" and (inference.identifies(words) or named)) or (whole and named):
            found.append((name, distinct if words.notna().all() else 0))
    candidates = [
        (name, distinct) for name, distinct in found if _ID_NAME.search(name) and distinct
    ]
    candidates = candidates or [pair for pair in found if pair[1] == len(frame)]
    candidates = [pair for pair in candidates if not pair[0].startswith("Unnamed")]
    entity = candidates[0] if candidates else None
    for name, _ in found:
        if entity is None or name != entity[0]:
            excluded[name] = "an identifier or free text"
    if entity is None:
        return None, None
    repeated = entity[1] < len(frame) and not timed
    return entity[0], entity[0] if repeated else None


def _explained(
    frame: "pd.DataFrame", schema: TableSchema, spec: FeaturesSpec
) -> dict[str, tuple[float, str | None]]:
    """Per feature the share of the label it explains alone, and why it must be a leak, if so."""
    import pandas as pd

    table = cleaning.conform(frame, schema, spec).frame
    if schema.classes:
        codes = {label: float(code) for code, label in enumerate(schema.classes)}
        label = table[schema.target].map(codes).astype(float)
    else:
        label = table[schema.target]
    table, label = table[label.notna()], label.dropna()
    found: dict[str, tuple[float, str | None]] = {}
    for column in schema.inputs.columns:
        share = leakage.determination(table[column.name], label, schema.task)
        why = None
        if share >= leakage.NEARLY_DETERMINES:
            why = f"alone explains {share:.1%} of the target: it would not be known in time"
        elif schema.task == "binary_classification" and column.type == "numeric":
            area = _area(pd.Series(table[column.name]), label)
            if area >= LEAKS_FROM:
                why = f"alone reaches a ROC AUC of {area:.3f}: it would not be known in time"
        found[column.name] = (share, why)
    return found


def _area(feature: "pd.Series[Any]", label: "pd.Series[Any]") -> float:
    """ROC AUC of one column, whichever way it points; 0.5 where it is mostly missing."""
    known = feature.notna()
    positive = label[known] == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if known.mean() < 0.5 or not ones or not zeros:
        return 0.5
    ranks = feature[known].rank()
    area = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return float(max(area, 1 - area))


def _slices(schema: TableSchema, explained: Mapping[str, float]) -> tuple[str, ...]:
    """The categorical columns of few values that tell most about the target."""
    few = [
        column.name
        for column in schema.inputs.columns
        if column.type == "categorical" and 2 <= len(column.categories) <= 6
    ]
    best = sorted(few, key=lambda name: -explained[name])[:MOST_SLICES]
    return tuple(name for name in schema.inputs.names if name in best)
