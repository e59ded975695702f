"""The only whylogs import: mergeable sketches of what a model was asked and what it answered.

Used by the endpoint and by the platform alike. A profile is not safe to share between threads.
"""

import importlib.util
import os
import sys
import types
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Columns, Scores

PREDICTION = "prediction"
PROBABILITY = "probability"


def prepare() -> Any:
    """The whylogs package, made to work: takes seconds the first time, so choose when.

    Three traps: it reports usage unless told otherwise, it uses a name numpy 2 removed, and its
    drift functions import a plotting stack that is not installed.
    """
    if "whylogs" not in sys.modules:
        os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "1")
        import numpy as np

        if not hasattr(np, "unicode_"):
            np.unicode_ = np.str_  # type: ignore[attr-defined]
        import whylogs

        if importlib.util.find_spec("IPython") is None:
            viz = types.ModuleType("whylogs.viz")
            viz.__path__ = [str(Path(whylogs.__file__).parent / "viz")]
            sys.modules["whylogs.viz"] = viz
    import whylogs

    return whylogs


def new_profile(when: datetime, *, metadata: dict[str, str] | None = None) -> Any:
    """An empty profile of the window that starts `when` (aware)."""
    prepare()
    from whylogs.core import DatasetProfile

    return DatasetProfile(dataset_timestamp=when, metadata=metadata)


def track(profile: Any, schema: InputSchema, columns: Columns, scores: Scores | None) -> None:
    """Add n rows: features by their name, outputs as `prediction` and `probability`.

    Numeric values are tracked as float, booleans as "true" or "false", categories as str. A label
    is tracked as str, a regression's prediction as float. `probability` is that of the positive
    class (binary) or of the predicted class (several); regression has none. Without scores, the
    features alone are added.
    """
    import pandas as pd

    table: dict[str, Any] = {}
    for column in schema.columns:
        values = columns[column.name]
        if column.type == "numeric":
            table[column.name] = pd.Series(values, dtype="float64")
        elif column.type == "boolean":
            table[column.name] = pd.Series([_word(value) for value in values], dtype="object")
        else:
            table[column.name] = pd.Series(values, dtype="object")
    if scores is not None and scores.probabilities:
        table[PREDICTION] = pd.Series(
            [label(value) for value in scores.predictions], dtype="object"
        )
        table[PROBABILITY] = pd.Series(
            [row[-1] if len(row) == 2 else max(row) for row in scores.probabilities],
            dtype="float64",
        )
    elif scores is not None:
        table[PREDICTION] = pd.Series(scores.predictions, dtype="float64")
    profile.track(pandas=pd.DataFrame(table))


def label(value: Any) -> str:
    """A class label as profiles name it."""
    return _word(value) or "" if isinstance(value, bool) else str(value)


def rows(profile: Any) -> int:
    """How many rows a profile or a view of one has seen."""
    view = _view(profile)
    return max((int(_count(column)) for column in view.get_columns().values()), default=0)


def serialize(profile: Any) -> bytes:
    """The profile, or view, as bytes that `deserialize` reads."""
    return bytes(_view(profile).serialize())


def deserialize(content: bytes) -> Any:
    """The view that `serialize` wrote.

    Raises:
        ValueError: the bytes are no profile.
    """
    prepare()
    from whylogs.core import DatasetProfileView

    try:
        return DatasetProfileView.deserialize(content)
    except Exception as error:  # whylogs answers garbage with whatever its parser provokes
        raise ValueError(f"{len(content)} bytes that are no whylogs profile: {error!r}") from error


def merge(views: Iterable[Any]) -> Any:
    """One view of all rows of at least one view or profile.

    Raises:
        ValueError: there is nothing to merge.
    """
    merged = None
    for view in views:
        merged = _view(view) if merged is None else merged.merge(_view(view))
    if merged is None:
        raise ValueError("there is no profile to merge")
    return merged


def _view(profile: Any) -> Any:
    return profile.view() if hasattr(profile, "view") else profile


def _count(column: Any) -> int:
    counts = column.get_metric("counts")
    return 0 if counts is None else int(counts.n.value)


def _word(value: Any) -> str | None:
    if value is None or value != value:
        return None
    return "true" if value else "false"
