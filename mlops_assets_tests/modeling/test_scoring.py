"""Rows become the requests an endpoint would get, and a bundle's answers become outcomes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_assets.modeling.folds import LABEL
from mlops_assets.modeling.scoring import columns, opened, records
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.requests import parse_json
from mlops_assets.serving.runtimes import sklearn as runtime
from mlops_assets_tests.builders import CLASSES, SCHEMA, make_bundle, make_columns


def labelled(rows: int, classes: int = 2, seed: int = 1) -> pd.DataFrame:
    frame = runtime.frame(SCHEMA, make_columns(rows, seed=seed))
    frame[LABEL] = np.arange(rows) % max(classes, 1) + (0.0 if classes else 0.5)
    return frame


def test_values_come_as_json_would_hold_them() -> None:
    frame = labelled(3)
    frame.loc[0] = [3.0, np.nan, 1.0, None, 0.0]
    frame.loc[1] = [np.nan, 20.5, np.nan, "monthly", 1.0]
    first, second = records(frame, SCHEMA)[:2]
    assert first == {"tenure": 3, "charges": None, "senior": True, "contract": None}
    assert second == {"tenure": None, "charges": 20.5, "senior": None, "contract": "monthly"}
    assert [type(value) for value in first.values()] == [int, type(None), bool, type(None)]


def test_a_whole_number_column_that_met_a_fraction_keeps_it() -> None:
    frame = labelled(2).assign(tenure=[2.5, 4.0])
    assert columns(frame, SCHEMA)["tenure"] == [2.5, 4]


def test_an_endpoint_reads_from_the_records_what_the_estimator_saw() -> None:
    frame = labelled(200)
    body = json.dumps({"dataframe_records": records(frame, SCHEMA)}).encode()
    read = runtime.frame(SCHEMA, parse_json(body, SCHEMA, max_rows=200))
    pd.testing.assert_frame_equal(read, frame[[*SCHEMA.names]])


def test_no_rows_are_no_records() -> None:
    assert records(labelled(0), SCHEMA) == []
    assert columns(labelled(0), SCHEMA) == {name: [] for name in SCHEMA.names}


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification"])
def test_outcomes_are_encoded_as_in_the_classes(task, tmp_path: Path) -> None:
    built = make_bundle(tmp_path / "bundle", task=task)
    rows = labelled(60, classes=len(CLASSES[task]))
    outcome = opened(built.folder).outcome(rows)
    wanted = built.estimator.predict_proba(rows[[*SCHEMA.names]])
    assert (outcome.truth == rows[LABEL]).all()
    assert outcome.probabilities == pytest.approx(wanted)
    if task == "binary_classification":
        assert (outcome.predicted == (wanted[:, 1] >= 0.4)).all()
    else:
        assert (outcome.predicted == wanted.argmax(axis=1)).all()


def test_outcomes_of_a_regression_are_values(tmp_path: Path) -> None:
    built = make_bundle(tmp_path / "bundle", task="regression")
    rows = labelled(60, classes=0)
    outcome = opened(built.folder).outcome(rows)
    assert outcome.probabilities is None
    assert outcome.predicted == pytest.approx(built.estimator.predict(rows[[*SCHEMA.names]]))


def test_a_bundle_that_was_changed_is_not_opened(tmp_path: Path) -> None:
    built = make_bundle(tmp_path / "bundle")
    model = built.folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"model\.onnx is not the file its manifest describes"):
        opened(built.folder)
