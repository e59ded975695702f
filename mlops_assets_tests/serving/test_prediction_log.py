"""Rows come back from the prediction log as they were asked and answered."""

import io
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.monitoring.spec import MonitoringSpec
from mlops_assets.serving.prediction_log import PredictionLog, is_sampled
from mlops_assets.serving.recording import Answered, Bounds, Recording
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.serving.scorer import Scores
from mlops_assets_tests.builders import SCHEMA, make_columns
from mlops_assets_tests.serving.test_recorder import (
    MANIFEST,
    NOON,
    QUICK,
    answers,
    recorder_to,
    submit,
)

REGRESSION = replace(MANIFEST, task="regression", classes=(), threshold=None)
WINDOW = datetime(2026, 5, 3, 12, tzinfo=UTC)


def written(manifest, *requests, version="3", columns=None):
    log = PredictionLog(manifest, version=version, sample=1.0, columns=columns)
    for request in requests:
        log.add(WINDOW, request)
    ((window, taken),) = log.take().items()
    assert (window, log.rows, log.take()) == (WINDOW, 0, {})
    return pq.read_table(io.BytesIO(log.encode(taken)))


def read(folder):
    tables = [pq.read_table(path) for path in sorted(folder.glob("*/*.parquet"))]
    return pa.concat_tables(tables) if tables else None


def test_every_value_comes_back_with_its_type():
    first, second = make_columns(40, seed=1), make_columns(3, seed=2)
    low = Scores(["No"] * 40, [[0.75, 0.25]] * 40)
    high = Scores(["Yes", "No", "Yes"], [[0.1, 0.9], [0.6, 0.4], [0.0, 1.0]])
    table = written(
        MANIFEST,
        Answered(first, low, NOON + 0.123456, "a-1", list(range(40))),
        Answered(second, high, NOON + 1, "b-2", ["x", None, "z"]),
        Answered(make_columns(1, seed=3), answers(1), NOON + 2, "c-3", None),
    )
    assert [(field.name, field.type) for field in table.schema] == [
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("entity", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("version", pa.string()),
        ("tenure", pa.float64()),
        ("charges", pa.float64()),
        ("senior", pa.bool_()),
        ("contract", pa.string()),
        ("prediction", pa.string()),
        ("probability_No", pa.float64()),
        ("probability_Yes", pa.float64()),
    ]
    found = table.to_pydict()
    assert found["request_id"] == ["a-1"] * 40 + ["b-2"] * 3 + ["c-3"]
    assert found["row"] == [*range(40), 0, 1, 2, 0]
    assert found["entity"] == [*map(str, range(40)), "x", None, "z", None]
    assert found["version"] == ["3"] * 44
    assert found["time"][0] == datetime(2026, 5, 3, 12, 30, 10, 123456, tzinfo=UTC)
    assert found["time"][43] == datetime(2026, 5, 3, 12, 30, 12, tzinfo=UTC)
    for name in SCHEMA.names:
        assert found[name] == first[name] + second[name] + make_columns(1, seed=3)[name]
    assert found["prediction"] == ["No"] * 40 + ["Yes", "No", "Yes", "Yes"]
    assert found["probability_No"] == [0.75] * 40 + [0.1, 0.6, 0.0, 0.25]
    assert found["probability_Yes"] == [0.25] * 40 + [0.9, 0.4, 1.0, 0.75]


def test_regression_and_labels_that_are_no_text():
    values = written(
        REGRESSION, Answered(make_columns(2, seed=0), Scores([1.5, 2], []), NOON, "a", None)
    )
    assert values["prediction"].to_pylist() == [1.5, 2.0]
    assert not [name for name in values.column_names if name.startswith("probability")]
    truths = written(
        replace(MANIFEST, classes=(False, True)),
        Answered(make_columns(1, seed=0), Scores([True], [[0.2, 0.8]]), NOON, "a", None),
    )
    assert truths["prediction"].to_pylist() == ["true"]
    assert truths["probability_true"].to_pylist() == [0.8]


def test_features_chosen_and_features_with_a_taken_name():
    only = written(
        MANIFEST,
        Answered(make_columns(2, seed=0), answers(2), NOON, "a", None),
        columns=("senior",),
    )
    assert set(only.column_names) & set(SCHEMA.names) == {"senior"}
    names = ("time", "feature_time", "probability_Yes")
    columns = {"time": [1, None], "feature_time": ["a", "\ud800"], "probability_Yes": [None, True]}
    types = ("numeric", "categorical", "boolean")
    schema = InputSchema(tuple(map(Column, names, types)))
    table = written(
        replace(MANIFEST, schema=schema), Answered(columns, answers(2), NOON, "a", None)
    )
    assert table["feature_time"].to_pylist() == [1.0, None]
    assert table["feature_feature_time"].to_pylist() == ["a", "?"]
    assert table["feature_probability_Yes"].to_pylist() == [None, True]
    with pytest.raises(ValueError, match="asks for 'age'; the model's inputs are tenure, charges"):
        PredictionLog(MANIFEST, version="3", sample=1.0, columns=("age",))


def test_every_replica_samples_the_same_requests():
    ids = [f"request-{k}" for k in range(20_000)]
    tenth = {one for one in ids if is_sampled(one, 0.1)}
    assert 0.09 < len(tenth) / len(ids) < 0.11
    assert tenth <= {one for one in ids if is_sampled(one, 0.3)}
    assert all(is_sampled(one, 1.0) for one in ids)
    assert not any(is_sampled(one, 0.0) for one in ids)
    kept = [k for k in range(8) if is_sampled(f"request-{k}", 0.5)]
    assert kept == [0, 6], "endpoints of another version would choose other requests"


def test_rows_are_on_the_store_by_window_after_closing(tmp_path):
    bounds = Bounds(batch_seconds=0.02, log_cells=4 * 50)
    recorder = recorder_to(
        tmp_path / "profiles", tmp_path, bounds=bounds, log_url=str(tmp_path / "log")
    )
    for index in range(100):
        submit(recorder, 3, when=NOON + 3600 * (index % 2), seed=index)
    recorder.start()
    recorder.close()
    assert (recorder.logged_rows, recorder.dropped_log_rows) == (300, 0)
    files = sorted((tmp_path / "log").glob("*/*.parquet"))
    assert {path.parent.name for path in files} == {"20260503T120000Z", "20260503T130000Z"}
    assert len(files) > 4, "the bound of memory made no files"
    table = read(tmp_path / "log")
    assert sorted(v for v in table["charges"].to_pylist() if v is not None) == sorted(
        v for k in range(100) for v in make_columns(3, seed=k)["charges"] if v is not None
    )


def test_without_a_log_no_row_is_kept(tmp_path):
    recorder = recorder_to(tmp_path / "profiles", tmp_path)
    submit(recorder, 3)
    recorder.close()
    assert recorder.logged_rows == 0
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_full_spool_drops_rows_of_the_log_but_no_profile(tmp_path):
    for name in ("profiles", "log"):
        (tmp_path / name).write_text("a file where a folder should be")
    bounds = replace(QUICK, log_cells=4 * 100, spool_bytes=20_000)
    recorder = recorder_to(
        tmp_path / "profiles", tmp_path, bounds=bounds, log_url=str(tmp_path / "log")
    )
    for index in range(40):
        submit(recorder, 100, seed=index)
    recorder.close()
    assert recorder.dropped_rows == 0
    assert 0 < recorder.logged_rows < 4000
    assert recorder.logged_rows + recorder.dropped_log_rows == 4000
    spooled = sorted((tmp_path / "unsent").glob("*/*/*.*"))
    assert sum(path.stat().st_size for path in spooled if path.suffix == ".parquet") <= 20_000
    assert [path.suffix for path in spooled].count(".bin") == 1


def test_values_that_arrow_does_not_take_cost_only_their_file(tmp_path):
    bounds = replace(QUICK, log_cells=4 * 3)
    recorder = recorder_to(
        tmp_path / "profiles", tmp_path, bounds=bounds, log_url=str(tmp_path / "log")
    )
    bad = {**make_columns(3, seed=0), "senior": ["yes"] * 3}
    recorder.submit(bad, answers(3), when=NOON, request_id="a")
    submit(recorder, 3)
    recorder.close()
    assert (recorder.logged_rows, recorder.dropped_log_rows) == (3, 3)


def test_the_yaml_says_what_is_kept():
    urls = {"profiles_url": "s3://d/profiles", "log_url": "s3://d/predictions"}
    off = MonitoringSpec().recording(**urls)
    assert off == Recording(profiles_url="s3://d/profiles", window_seconds=3600)
    asked = {"window": "day", "prediction_log": {"sample": 0.25, "columns": ["tenure"]}}
    on = MonitoringSpec.model_validate(asked).recording(**urls)
    assert on == Recording(
        profiles_url="s3://d/profiles",
        window_seconds=86_400,
        log_url="s3://d/predictions",
        log_sample=0.25,
        log_columns=("tenure",),
    )
    assert Recording.from_json(asdict(on)) == on
    with pytest.raises(ValueError, match="sample"):
        MonitoringSpec.model_validate({"prediction_log": {"sample": 0}})
