"""Which label belongs to which logged row. Pure.

As of now: a label that is not known yet is none. As of then: one that was known before the
prediction was made is none of its outcome. Of several labels of one identity the one that became
known last counts, or where that is not told the last one of the source; so the order in which
labels arrive is not seen.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlops_assets.monitoring.spec import LabelsSpec

if TYPE_CHECKING:
    import pandas as pd

REQUEST = ["request_id", "row"]
EVENT = ["entity", "event_time"]
LABEL_ROW = "label_row"


def newest(labels: "pd.DataFrame", spec: LabelsSpec) -> "pd.DataFrame":
    """One row per identity, in no particular order; the index is that of the labels.

    Args:
        labels: in the form of `gateways.realised.Labels`.
        spec: what the identity is.
    """
    identity = REQUEST if spec.by == "request" else EVENT
    ordered = labels.assign(_known=labels["label"].notna())
    ordered = ordered.sort_values(["_known", "known_at"], kind="stable", na_position="first")
    return ordered.drop_duplicates(identity, keep="last").drop(columns="_known")


def join(logged: "pd.DataFrame", labels: "pd.DataFrame", spec: LabelsSpec) -> "pd.DataFrame":
    """The logged rows in their order, each with `label`, `known_at` and `label_row`.

    Args:
        logged: as `logged.read` gives them.
        labels: as `newest` gives them.
        spec: how they belong together.

    Returns:
        `label` and `known_at` missing where there is no label yet; `label_row` is the place of the
        label among all, and -1 where there is none.
    """
    named = labels.assign(**{LABEL_ROW: labels.index})
    if spec.by == "request":
        joined = _by_request(logged, named)
    else:
        joined = _by_event(logged, named, timedelta(hours=spec.within_hours))
    belongs = joined["label"].notna() & ~(joined["known_at"] < joined["time"])
    return joined.assign(
        label=joined["label"].where(belongs),
        known_at=joined["known_at"].where(belongs),
        **{LABEL_ROW: joined[LABEL_ROW].where(belongs, -1).fillna(-1).astype("int64")},
    )


def _by_request(logged: "pd.DataFrame", labels: "pd.DataFrame") -> "pd.DataFrame":
    wanted = labels[[*REQUEST, "label", "known_at", LABEL_ROW]].astype({"row": "int64"})
    rows = logged.astype({"row": "int64"})
    return rows.merge(wanted, on=REQUEST, how="left", validate="many_to_one")


def _by_event(logged: "pd.DataFrame", labels: "pd.DataFrame", within: timedelta) -> "pd.DataFrame":
    """The newest event of the entity that was no later than the prediction."""
    import pandas as pd

    place = "_place"
    rows = logged.assign(**{place: range(len(logged))}).sort_values("time", kind="stable")
    # Most entities are not asked about in one window.
    asked = labels[labels["entity"].isin(rows["entity"].dropna().unique())]
    asked = asked[[*EVENT, "label", "known_at", LABEL_ROW]].sort_values("event_time")
    joined = pd.merge_asof(
        rows.assign(entity=_words(rows["entity"])),
        asked.assign(entity=_words(asked["entity"])),
        left_on="time",
        right_on="event_time",
        by="entity",
        tolerance=pd.Timedelta(within),
    )
    joined = joined.sort_values(place).drop(columns=[place, "event_time"])
    return joined.set_index(logged.index)


def _words(entities: "pd.Series[Any]") -> "pd.Series[Any]":
    """As text; who is not named is "", which no label is of."""
    return entities.fillna("").astype(str)
