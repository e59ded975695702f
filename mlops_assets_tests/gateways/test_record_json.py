"""Records survive JSON, and refuse what is not theirs."""

import dataclasses
import json

import pytest

from mlops_assets.gateways import record_json
from mlops_assets.gateways.records import (
    Comparison,
    Endpoint,
    Evaluation,
    Footprint,
    Measured,
    Metric,
    Snapshot,
    TrainingSet,
)

SNAPSHOT = Snapshot("data.parquet", "ab" * 32, 3, ("a", "b"), "data.csv", "2026-05-03T00:00:00")
TRAINING_SET = TrainingSet(
    url="rows.parquet",
    digest="cd" * 32,
    train_rows=2,
    test_rows=1,
    schema=({"name": "a", "type": "numeric"},),
    classes=("No", "Yes"),
    ordered=False,
    split="in words",
    leaks=(),
    snapshot=SNAPSHOT,
)
EVALUATION = Evaluation(
    run_id="r",
    rows=1,
    metrics={"roc_auc": Metric(0.8, 0.7, 0.9)},
    slices=(),
    measured=(Measured("roc_auc", "", "", 9, 0.8, 0.7, Metric(0.1, 0.0, 0.2), 0.95, ""),),
    asked="a1",
    footprint=Footprint(0.1, 2.5),
    champion=Comparison(2, 0.1, Footprint(0.2, 2.0), ""),
)


@pytest.mark.parametrize(
    "record",
    [
        SNAPSHOT,
        TRAINING_SET,
        EVALUATION,
        dataclasses.replace(EVALUATION, champion=None),
        Endpoint("churn", "local", "http://127.0.0.1:1", 2, "ef", "2026-05-03T00:00:00", None),
    ],
)
def test_a_record_survives_json(record):
    assert record_json.from_json(type(record), record_json.to_json(record)) == record


def test_equal_records_are_equal_text():
    assert record_json.to_json(SNAPSHOT) == record_json.to_json(dataclasses.replace(SNAPSHOT))


def test_an_unknown_field_is_named():
    content = json.loads(record_json.to_json(SNAPSHOT)) | {"colour": "red"}
    with pytest.raises(ValueError, match=r"Snapshot has no field \['colour'\]"):
        record_json.from_json(Snapshot, json.dumps(content))


def test_a_missing_field_is_named():
    content = json.loads(record_json.to_json(TRAINING_SET))
    del content["snapshot"]["digest"]
    with pytest.raises(ValueError, match=r"incomplete Snapshot.*digest"):
        record_json.from_json(TrainingSet, json.dumps(content))


@pytest.mark.parametrize("text", ["[]", "null", '"text"', "{"])
def test_what_is_no_record_at_all_is_refused(text):
    with pytest.raises(ValueError, match=r"a Snapshot is a JSON object|Expecting"):
        record_json.from_json(Snapshot, text)


def test_a_record_within_that_is_none_is_refused():
    content = json.loads(record_json.to_json(EVALUATION))
    content["metrics"]["roc_auc"] = 0.8
    with pytest.raises(ValueError, match=r"a Metric is a JSON object, not 0\.8"):
        record_json.from_json(Evaluation, json.dumps(content))
