"""Labels of any source in the one form that they are joined in."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from mlops_assets.features.labels import known
from mlops_assets.features.labels.known import LabelsError
from mlops_assets.features.table import TableSchema
from mlops_assets.monitoring.spec import LabelsSpec
from mlops_assets.serving.schema import InputSchema

NOW = datetime(2026, 4, 1, tzinfo=UTC)
BY_ENTITY = LabelsSpec(entity="customer", event_time="month", label_time="known", target="churned")
BY_REQUEST = LabelsSpec(by="request", target="churned")
TABLE = {
    "customer": ["7", "8", "9"],
    "month": ["2026-01-01", "2026-02-01", "2026-03-01"],
    "known": ["2026-02-05", "2026-03-05", "2026-04-05"],
    "churned": ["yes", "no", "yes"],
}


def schema(task="binary_classification", classes=("no", "yes"), **formats):
    return TableSchema(InputSchema(()), task, "churned", classes, (), formats, ())


def read(table, spec=BY_ENTITY, found=None):
    return known.read(pd.DataFrame(table), spec, found or schema(), now=NOW)


def test_what_becomes_known_later_is_missing_and_its_event_stays():
    found = read(TABLE)
    assert found.unreadable == 0
    assert found.frame["entity"].tolist() == ["7", "8", "9"]
    assert found.frame["label"].tolist() == ["yes", "no", None]
    assert found.frame["known_at"].isna().tolist() == [False, False, True]


def test_rows_that_belong_to_nothing_or_say_nothing_are_counted():
    table = {
        **TABLE,
        "customer": [None, "8", "9"],
        "churned": ["yes", "perhaps", "no"],
        "known": ["2026-02-05", "2026-02-05", None],
    }
    found = read(table)
    assert (len(found.frame), found.unreadable) == (0, 3)


def test_labels_are_written_as_the_log_writes_predictions():
    truths = read({**TABLE, "churned": [1.0, "0", None]}, found=schema(classes=(0, 1)))
    assert truths.frame["label"].tolist() == ["1", "0", None]
    flags = read({**TABLE, "churned": ["True", "false", None]}, found=schema(classes=(False, True)))
    assert flags.frame["label"].tolist() == ["true", "false", None]
    numbers = read({**TABLE, "churned": ["1.5", "inf", None]}, found=schema("regression", ()))
    assert numbers.frame["label"].dtype == "float64"
    assert numbers.frame["label"].dropna().tolist() == [1.5]
    assert numbers.unreadable == 1


def test_by_request_a_label_is_that_of_the_first_row_unless_a_column_says_which():
    table = {"request_id": ["r1", "r1"], "place": ["0", "1"], "churned": ["yes", "no"]}
    assert read(table, BY_REQUEST).frame["row"].tolist() == [0, 0]
    placed = BY_REQUEST.model_copy(update={"row": "place"})
    assert read(table, placed).frame["row"].tolist() == [0, 1]
    assert read({**table, "place": ["0", "1.5"]}, placed).unreadable == 1


def test_times_are_read_as_the_features_write_them():
    """12 January where the schema says that days come first."""
    table = {**TABLE, "month": ["12.01.2026"] * 3}
    found = read(table, found=schema(month="%d.%m.%Y")).frame["event_time"]
    assert found.iloc[0] == pd.Timestamp("2026-01-12", tz="UTC")
    other = read({**TABLE, "month": ["2026-01-12"] * 3}, found=schema(month="%d.%m.%Y"))
    assert other.frame["event_time"].iloc[0] == pd.Timestamp("2026-01-12", tz="UTC")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": "churn"}, "monitoring.labels.target: no column 'churn'; there are customer"),
        ({"entity": "client"}, "monitoring.labels.entity: no column 'client'"),
        ({"event_time": "churned"}, "column 'churned' holds no times"),
    ],
)
def test_what_the_source_does_not_hold_is_named(change, words):
    with pytest.raises(LabelsError, match=words):
        read(TABLE, BY_ENTITY.model_copy(update=change))
