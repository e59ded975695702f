"""A table of labels in one form, whatever its source calls them. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.features import values
from mlops_assets.features.table import TableSchema
from mlops_assets.monitoring.spec import LabelsSpec
from mlops_assets.serving.contents import label

if TYPE_CHECKING:
    import pandas as pd


class LabelsError(Exception):
    """The source does not hold what the YAML says of it; the message names column and key."""


@dataclass(frozen=True)
class Known:
    """What is known of the outcomes."""

    frame: "pd.DataFrame"
    """In the form of `gateways.realised.Labels`, in the order of the source."""
    unreadable: int
    """Rows left out."""


def read(table: "pd.DataFrame", spec: LabelsSpec, schema: TableSchema, *, now: datetime) -> Known:
    """What is known at `now`: a label that becomes known later is missing until then.

    Rows without a label stay: an event whose outcome is open keeps the predictions made for it from
    getting the label of the event before.

    Args:
        table: as its source holds it.
        spec: names its columns, every default filled in.
        schema: of the experiment's features: its classes, and how its times are written.
        now: aware.

    Raises:
        LabelsError: a column is missing, or one of times holds none.
    """
    import pandas as pd

    by_request = spec.by == "request"
    text = {"request_id": spec.request if by_request else None}
    text["entity"] = None if by_request else spec.entity
    columns: dict[str, Any] = {
        name: _text(table, column, spec) if column else _nothing(table)
        for name, column in text.items()
    }
    columns["row"] = _places(table, spec)
    columns["event_time"] = _times(table, None if by_request else spec.event_time, schema)
    columns["known_at"] = _times(table, spec.label_time, schema)
    target = _column(table, str(spec.target), "target")
    found = _labels(target, schema)
    frame = pd.DataFrame({**columns, "label": found.values}, index=table.index)
    identity = ["request_id", "row"] if by_request else ["entity", "event_time"]
    bad = frame[identity].isna().any(axis=1) | found.unread
    if spec.label_time is not None:
        bad |= frame["label"].notna() & frame["known_at"].isna()
        later = frame["known_at"] > pd.Timestamp(now)
        nothing = float("nan") if schema.task == "regression" else None
        frame["label"] = frame["label"].where(~later, nothing)
        frame["known_at"] = frame["known_at"].where(frame["label"].notna())
    order = ["request_id", "row", "entity", "event_time", "known_at", "label"]
    return Known(frame.loc[~bad, order].reset_index(drop=True), int(bad.sum()))


def _column(table: "pd.DataFrame", name: str, key: str) -> "pd.Series[Any]":
    if name not in table:
        shown = ", ".join(map(str, list(table.columns)[:20]))
        raise LabelsError(f"monitoring.labels.{key}: no column {name!r}; there are {shown}")
    return table[name]


def _nothing(table: "pd.DataFrame") -> "pd.Series[Any]":
    import pandas as pd

    return pd.Series(None, index=table.index, dtype=object)


def _text(table: "pd.DataFrame", name: str, spec: LabelsSpec) -> "pd.Series[Any]":
    return values.text(_column(table, name, "request" if spec.by == "request" else "entity"))


def _places(table: "pd.DataFrame", spec: LabelsSpec) -> "pd.Series[Any]":
    import pandas as pd

    if spec.by != "request" or spec.row is None:
        return pd.Series(0, index=table.index, dtype="Int64")
    places = values.numbers(_column(table, spec.row, "row")).values
    return places.where(places % 1 == 0).astype("Int64")


def _times(table: "pd.DataFrame", name: str | None, schema: TableSchema) -> "pd.Series[Any]":
    import pandas as pd

    if name is None:
        return pd.Series(pd.NaT, index=table.index, dtype="datetime64[ns, UTC]")
    column = _column(table, name, "label_time or event_time")
    written = schema.time_formats.get(name)
    if written is None or values.times(column, written).unread.any():
        found = values.time_formats(column, numeric=True, share=values.READABLE)
        if not found and values.text(column).notna().any():
            raise LabelsError(f"column {name!r} holds no times that can be read; write ISO 8601")
        written = found[0] if found else "ISO8601"
    return values.times(column, written).values


def _labels(target: "pd.Series[Any]", schema: TableSchema) -> values.Read:
    """As the prediction log writes predictions."""
    import numpy as np

    if schema.task == "regression":
        numbers = values.numbers(target)
        infinite = np.isinf(numbers.values)
        return values.Read(numbers.values.mask(infinite), numbers.unread | infinite)
    classes = values.as_classes(target, schema.classes)
    return values.Read(classes.values.map(label, na_action="ignore"), classes.unread)
