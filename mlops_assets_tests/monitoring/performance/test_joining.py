"""Late, repeated, changed and unknown labels against a plain reading of the rule."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.monitoring.performance import joining
from mlops_assets.monitoring.spec import LabelsSpec

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
WITHIN = 24
BY_ENTITY = LabelsSpec(by="entity", within_hours=WITHIN)
BY_REQUEST = LabelsSpec(by="request")

hours = st.integers(0, 100)
entities = st.sampled_from(["a", "b", "c"])
predictions = st.lists(st.tuples(st.none() | entities, hours), min_size=1, max_size=12)
events = st.lists(
    st.tuples(entities, hours, st.none() | st.sampled_from(["yes", "no"]), st.integers(0, 200)),
    max_size=15,
    unique_by=lambda event: event[3],
)
"""Entity, event time, label and when it became known: no two at the same time."""


def at(hour):
    return pd.Timestamp(BEGIN + timedelta(hours=hour))


def times(found):
    return pd.Series(found, dtype="datetime64[ns, UTC]")


def logged(rows):
    return pd.DataFrame(
        {
            "request_id": [f"r{n}" for n in range(len(rows))],
            "row": [0] * len(rows),
            "entity": pd.Series([entity for entity, _ in rows], dtype=object),
            "time": times([at(hour) for _, hour in rows]),
            "prediction": ["yes"] * len(rows),
        }
    )


def labels(rows, *, requests=None):
    return pd.DataFrame(
        {
            "request_id": pd.Series(requests or [None] * len(rows), dtype=object),
            "row": pd.Series([0] * len(rows), dtype="Int64"),
            "entity": pd.Series([row[0] for row in rows], dtype=object),
            "event_time": times([at(row[1]) for row in rows]),
            "known_at": times([at(row[3]) if row[2] else pd.NaT for row in rows]),
            "label": pd.Series([row[2] for row in rows], dtype=object),
        }
    )


def joined(rows, table, spec):
    found = joining.join(logged(rows), joining.newest(table, spec), spec)
    return [None if pd.isna(label) else label for label in found["label"]]


def expected(prediction, known):
    """The rule, word by word."""
    entity, hour = prediction
    before = [e for e in known if e[0] == entity and hour - WITHIN <= e[1] <= hour]
    if entity is None or not before:
        return None
    newest = max(event[1] for event in before)
    told = [event for event in before if event[1] == newest and event[2] is not None]
    if not told:
        return None
    last = max(told, key=lambda event: event[3])
    return last[2] if last[3] >= hour else None


@given(predictions, events)
@settings(max_examples=40, deadline=None)
def test_a_label_counts_for_the_predictions_of_its_event(rows, known):
    assert joined(rows, labels(known), BY_ENTITY) == [expected(row, known) for row in rows]


@given(predictions, events, st.randoms())
@settings(max_examples=12, deadline=None)
def test_the_order_in_which_labels_arrive_is_not_seen(rows, known, random):
    shuffled = random.sample(known, len(known))
    assert joined(rows, labels(known), BY_ENTITY) == joined(rows, labels(shuffled), BY_ENTITY)


@given(predictions, events)
@settings(max_examples=12, deadline=None)
def test_labels_that_are_told_twice_count_once(rows, known):
    twice = labels([*known, *known])
    assert joined(rows, twice, BY_ENTITY) == joined(rows, labels(known), BY_ENTITY)


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("xyz")), max_size=10), st.randoms())
@settings(max_examples=12, deadline=None)
def test_by_request_the_newest_label_wins(told, random):
    """Of four requests; the labels of others belong to nothing."""
    order = random.sample(range(len(told)), len(told))
    known = [(None, 0, told[n][1], 150 + n) for n in order]
    table = labels(known, requests=[f"r{told[n][0]}" for n in order])
    newest = {f"r{request}": label for request, label in told}
    rows = [("a", 1)] * 4
    assert joined(rows, table, BY_REQUEST) == [newest.get(f"r{n}") for n in range(4)]
    used = joining.join(logged(rows), joining.newest(table, BY_REQUEST), BY_REQUEST)
    places = [place for place in used[joining.LABEL_ROW] if place >= 0]
    assert {table["request_id"][place] for place in places} == set(newest) & {
        f"r{n}" for n in range(4)
    }


def test_where_no_time_is_told_the_last_of_the_source_wins():
    table = labels([("a", 0, "no", 5), ("a", 0, "yes", 5)]).assign(known_at=times([pd.NaT] * 2))
    assert joined([("a", 1)], table, BY_ENTITY) == ["yes"]


@pytest.mark.parametrize(
    ("event", "label"),
    [
        (("a", 10, "yes", 30), "yes"),
        (("a", 10, "yes", 9), None),  # known before anything was predicted
        (("a", 13, "yes", 30), None),  # true only after the prediction
        (("b", 10, "yes", 30), None),
    ],
)
def test_as_of_the_prediction(event, label):
    assert joined([("a", 12)], labels([event]), BY_ENTITY) == [label]


def test_an_open_event_keeps_the_label_of_the_one_before_away():
    known = [("a", 2, "yes", 40), ("a", 10, None, 0)]
    assert joined([("a", 12)], labels(known), BY_ENTITY) == [None]
    assert joined([("a", 9)], labels(known), BY_ENTITY) == ["yes"]


def test_every_prediction_of_an_event_gets_its_label():
    assert joined([("a", 1), ("a", 20)], labels([("a", 0, "no", 90)]), BY_ENTITY) == ["no"] * 2
