"""Finds the type and role of every column in the data, as far as the YAML does not say. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from mlops_assets.features import values
from mlops_assets.features.spec import FeaturesSpec
from mlops_assets.features.table import Dropped, FeatureError, TableSchema
from mlops_assets.features.target import classes
from mlops_assets.serving.bundle import Task
from mlops_assets.serving.schema import Column, InputSchema

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["numeric", "boolean", "categorical", "datetime", "empty", "nested"]

IDENTIFIES_FROM = 50
"""A column of words with more distinct values than this, nearly all different, identifies rows."""
NEARLY_ALL_DISTINCT = 0.9


def infer(frame: "pd.DataFrame", spec: FeaturesSpec, task: Task) -> TableSchema:
    """The schema of the table: types of the features, classes of the target.

    Args:
        frame: the table as its source holds it; text may be untyped.
        spec: roles and declared types.
        task: what the target must look like.

    Raises:
        FeatureError: every reason why the data does not fit the section.
    """
    problems = _missing_columns(frame, spec)
    columns: list[Column] = []
    dropped: list[Dropped] = []
    for name in map(str, frame.columns):
        if name in spec.exclude:
            dropped.append(Dropped(name, "excluded in the YAML"))
        elif name not in spec.roles:
            found = _feature(frame[name], spec, problems)
            (dropped if isinstance(found, Dropped) else columns).append(found)  # type: ignore[arg-type]
    if not columns and not problems:
        problems.append("no feature is left: every column has a role, is excluded, or is a time")
    formats = _role_formats(frame, spec, problems)
    target = classes(frame[spec.target], spec, task, problems) if spec.target in frame else None
    if problems or target is None:
        raise FeatureError(problems)
    return TableSchema(
        inputs=InputSchema(tuple(columns)),
        task=task,
        target=spec.target,
        classes=target.classes,
        dropped=tuple(dropped),
        time_formats=formats,
        notes=target.notes,
    )


def kind_of(series: "pd.Series[Any]") -> Kind:
    """The type the values of a column suggest.

    Numbers written with leading zeros are codes, hence categorical; `yes` and `no` are words.
    """
    import pandas as pd

    if series.isna().all():
        return "empty"
    if pd.api.types.is_bool_dtype(series):
        return "boolean"
    if pd.api.types.is_datetime64_any_dtype(series):
        return "datetime"
    if pd.api.types.is_numeric_dtype(series):
        return "numeric"
    nested = (list, dict, set, bytes, tuple)
    if not values.is_text(series) and series.map(lambda value: isinstance(value, nested)).any():
        return "nested"
    words = values.text(series).dropna()
    distinct = words.drop_duplicates()
    if words.empty:
        return "empty"
    if set(distinct.str.lower()) <= {"true", "false"}:
        return "boolean"
    if values.share_of_numbers(words) >= values.READABLE:
        return "categorical" if distinct.str.fullmatch(r"-?0\d+").any() else "numeric"
    if values.time_formats(words, numeric=False, share=values.READABLE):
        return "datetime"
    return "categorical"


def identifies(series: "pd.Series[Any]") -> bool:
    """A column of words whose values are nearly all different."""
    known = series.dropna()
    distinct = known.nunique()
    return bool(distinct > IDENTIFIES_FROM and distinct >= NEARLY_ALL_DISTINCT * len(known))


def _missing_columns(frame: "pd.DataFrame", spec: FeaturesSpec) -> list[str]:
    known = [str(name) for name in frame.columns]
    named = {
        "target": (spec.target,),
        "entity": (spec.entity,),
        "event_time": (spec.event_time,),
        "label_time": (spec.label_time,),
        "group": (spec.group,),
        "exclude": spec.exclude,
        "columns": tuple(spec.columns),
    }
    return [
        f"features.{key}: the data has no column {name!r}{_near(name, known)}"
        for key, names in named.items()
        for name in names
        if name is not None and name not in known
    ]


def _near(name: str, known: list[str]) -> str:
    folded = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), list(folded), n=3, cutoff=0.65)
    if near:
        return f"; did you mean {', '.join(repr(folded[match]) for match in near)}?"
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"; it has {shown}"


def _feature(series: "pd.Series[Any]", spec: FeaturesSpec, problems: list[str]) -> Column | Dropped:
    name = str(series.name)
    found = kind_of(series)
    kind = spec.columns.get(name, found)
    if kind == "datetime":
        return Dropped(name, "a time is no feature; name it event_time, or derive a number from it")
    if name.startswith("__"):
        problems.append(f"column {name!r}: names that begin with __ are reserved; rename it")
    elif found == "empty":
        problems.append(f"column {name!r} holds no value; list it in features.exclude")
    elif found == "nested":
        problems.append(f"column {name!r} holds lists or objects; list it in features.exclude")
    elif kind == "categorical":
        return _categorical(series, problems, declared=name in spec.columns)
    else:
        return _numeric(series, "boolean" if kind == "boolean" else "numeric", problems)
    return Dropped(name, "unusable")


def _categorical(series: "pd.Series[Any]", problems: list[str], *, declared: bool) -> Column:
    name = str(series.name)
    words = values.text(series)
    known = words.dropna()
    if not declared and identifies(words):
        share = values.share_of_numbers(known)
        why = ""
        if share > 0.5:
            stray = known[values.numbers(known).unread].iloc[0] if share < 1 else None
            why = f" ({share:.1%} are numbers, but not {stray!r})" if stray is not None else ""
        problems.append(
            f"column {name!r} holds {known.nunique()} different texts in {len(known)} rows{why}: "
            "an identifier or free text; list it in features.exclude, make it the entity, "
            f"or set its type in features.columns.{name}"
        )
    return Column(
        name,
        "categorical",
        nullable=bool(words.isna().any()),
        categories=tuple(sorted(known.unique())),
    )


def _numeric(
    series: "pd.Series[Any]", kind: Literal["numeric", "boolean"], problems: list[str]
) -> Column:
    import numpy as np

    name = str(series.name)
    read = values.truths(series) if kind == "boolean" else values.numbers(series)
    finite = read.values[np.isfinite(read.values)]
    if finite.empty:
        stray = read.values.dropna()
        example = repr(values.text(series).dropna().iloc[0]) if stray.empty else "only infinity"
        problems.append(f"column {name!r} is declared {kind}, but holds {example}")
        return Column(name, kind)
    bounds = (None, None) if kind == "boolean" else (float(finite.min()), float(finite.max()))
    return Column(
        name,
        kind,
        integer=kind == "numeric" and bool((finite % 1 == 0).all()),
        nullable=len(finite) < len(series),
        minimum=bounds[0],
        maximum=bounds[1],
    )


def _role_formats(frame: "pd.DataFrame", spec: FeaturesSpec, problems: list[str]) -> dict[str, str]:
    formats = {}
    for key, name in (("event_time", spec.event_time), ("label_time", spec.label_time)):
        if name is None or name not in frame:
            continue
        found = values.time_formats(frame[name], numeric=True, share=values.READABLE)
        example = next(iter(values.text(frame[name]).dropna()), "only blanks")
        if not found:
            problems.append(
                f"features.{key}: column {name!r} holds no times that can be read, "
                f"for instance {example!r}; write ISO 8601, 2024-01-31 or 2024-01-31T12:00:00Z"
            )
        elif len(found) > 1 and _differ(frame[name], found):
            problems.append(
                f"features.{key}: column {name!r} can be read as {' or '.join(found)}, "
                f"for instance {example!r}; write ISO 8601, 2024-01-31"
            )
        else:
            formats[name] = found[0]
    return formats


def _differ(series: "pd.Series[Any]", formats: Iterable[str]) -> bool:
    first, *others = (values.times(series, written).values for written in formats)
    return any(not first.equals(other) for other in others)
