"""A window without a profile is counted from its log: the same rows, once, and said so."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import PredictionStore, ProfileStore
from mlops_assets.monitoring import logged_profiles, profiles
from mlops_assets.monitoring.files import Found, find, starting_at
from mlops_assets.monitoring.windows import collect
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.prediction_log import PredictionLog
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recording import STAMP, Answered
from mlops_assets.serving.scorer import Scores
from mlops_assets_tests.builders import SCHEMA, make_columns, make_experiment
from mlops_assets_tests.monitoring.traffic import HOUR, Traffic
from mlops_assets_tests.serving.test_profile import WIDE, counted
from mlops_assets_tests.serving.test_recorder import MANIFEST, recorder_to, submit

EIGHT = datetime(2026, 5, 3, 8, tzinfo=UTC)
SEVERAL = replace(MANIFEST, classes=("high", "low", "middle"), threshold=None)
REGRESSION = replace(MANIFEST, task="regression", classes=(), threshold=None)


def scores(manifest: Manifest, rows: int, seed: int) -> Scores:
    rng = np.random.default_rng(seed)
    if not manifest.classes:
        return Scores(rng.normal(size=rows).tolist(), [])
    shares = rng.dirichlet(np.ones(len(manifest.classes)), size=rows)
    return Scores([manifest.classes[k] for k in shares.argmax(axis=1)], shares.tolist())


def request(manifest, rows, *, seed=0, name="r", columns=None) -> Answered:
    asked = make_columns(rows, seed=seed) if columns is None else columns
    return Answered(asked, scores(manifest, rows, seed), EIGHT.timestamp(), name, None)


def logged(manifest, *requests, sample=1.0, columns=None) -> bytes:
    log = PredictionLog(manifest, version="3", sample=sample, columns=columns)
    for one in requests:
        log.add(EIGHT, one)
    return log.encode(log.take()[EIGHT])


def profile(manifest, *requests) -> bytes:
    made = Profile(manifest.schema, when=EIGHT)
    for one in requests:
        made.track(one.columns, one.scores)
    return made.serialize()


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(str(tmp_path), {})


def put(store, content, *, name="1", target="local", window=EIGHT, version=3):
    """As an endpoint leaves it: bytes that start like whylogs' are a profile."""
    what, ending = ("profiles", "bin") if content[:4] == b"WHY1" else ("predictions", "parquet")
    path = f"churn/{what}/{version}/{target}/{window:{STAMP}}/{name}.{ending}"
    return store.write_bytes(path, content)


EXPERIMENT = make_experiment(deployment={"targets": [{"kind": "local"}]})


def collected(store, targets=("local", "aws_lambda")):
    return collect(store, "churn", 3, find(store, EXPERIMENT, 3, targets))


def only(store):
    """The window, and its columns."""
    (window,) = collected(store).windows
    return window, profiles.deserialize(store.read_bytes(window.url))


def columns_of(content: bytes):
    view = profiles.deserialize(content)
    return {name: counted(column) for name, column in view.get_columns().items()}


words = st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["", "yes", "é" * 130, "\x00"]))
numbers = st.one_of(st.none(), st.integers(-9, 9).map(float), st.floats(-1e9, 1e9))
flags = st.sampled_from([True, False, None])
asked = st.integers(1, 20).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            name: st.lists(one, min_size=rows, max_size=rows)
            for name, one in (("number", numbers), ("flag", flags), ("word", words))
        }
    )
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(asked, min_size=1, max_size=3),
    st.sampled_from([MANIFEST, SEVERAL, REGRESSION]),
    st.sampled_from([MANIFEST.classes, (False, True)]),
)
def test_it_is_the_profile_the_endpoint_writes_of_the_same_rows(tables, manifest, two):
    manifest = replace(manifest, schema=WIDE)
    if len(manifest.classes) == 2:
        manifest = replace(manifest, classes=two)
    requests = [
        request(manifest, len(one["word"]), seed=number, columns=one)
        for number, one in enumerate(tables)
    ]
    found = [*logged_profiles.rows(logged(manifest, *requests))]
    made = Profile(WIDE, when=EIGHT)
    for contents in found:
        made.add(contents)
    assert columns_of(made.serialize()) == columns_of(profile(manifest, *requests))


def test_what_a_real_endpoint_logged_and_profiled_is_the_same(tmp_path, store):
    profiles_url = ProfileStore(store).url_for("churn", 3, "local")
    recorder = recorder_to(
        profiles_url, tmp_path, log_url=PredictionStore(store).url_for("churn", 3, "local")
    )
    for seed in range(20):
        submit(recorder, 50, seed=seed)
    recorder.start()
    recorder.close()
    window, view = only(store)
    assert (window.rows, window.from_log, window.log_sample) == (1000, 0, None)
    for name in store.files("churn/profiles"):
        store.remove(f"churn/profiles/{name}")
    again, counted_view = only(store)
    assert (again.rows, again.from_log, again.log_sample) == (1000, 1000, 1.0)
    for name, column in view.get_columns().items():
        assert exact(column) == exact(counted_view.get_column(name)), name


def exact(column):
    """Unions of sketches estimate distinct values otherwise than one sketch."""
    return {k: v for k, v in counted(column).items() if not k.startswith("cardinality/")}


def test_rows_count_once_whatever_comes_late_or_twice(store):
    one, two, three = (request(MANIFEST, rows, seed=rows) for rows in (10, 20, 30))
    again = logged(MANIFEST, one)
    put(store, again)
    put(store, again, name="2")
    assert only(store)[0].rows == 10
    put(store, logged(MANIFEST, two), name="late")
    window, view = only(store)
    assert (window.rows, window.from_log) == (30, 30)
    assert collected(store) == collected(store)
    assert view._metadata["mlops.built_from"] == "prediction log"
    # Another target of the window has a profile, and counts by it alone.
    put(store, profile(MANIFEST, three), target="aws_lambda")
    put(store, logged(MANIFEST, three), target="aws_lambda")
    assert (only(store)[0].rows, only(store)[0].from_log) == (60, 30)
    # When one comes for the first too, the log is what it was: a log.
    put(store, profile(MANIFEST, one, two), name="at-last")
    window, view = only(store)
    assert (window.rows, window.from_log, window.log_sample) == (60, 0, None)
    assert {c.get_metric("counts").n.value for c in view.get_columns().values()} == {60}


def test_a_sampled_log_says_so_and_the_one_that_holds_least_counts(store):
    requests = [request(MANIFEST, 5, seed=n, name=f"r-{n}") for n in range(200)]
    put(store, logged(MANIFEST, *requests, sample=0.25))
    window, view = only(store)
    assert 0 < window.rows < 500
    assert window.rows == window.from_log
    assert (window.log_sample, view._metadata["mlops.log_sample"]) == (0.25, "0.25")
    put(store, logged(MANIFEST, requests[0]), name="whole")
    assert only(store)[0].log_sample == 0.25


def test_a_log_of_an_older_program_does_not_tell_its_share(store):
    table = pq.read_table(io.BytesIO(logged(MANIFEST, request(MANIFEST, 9))))
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), file)
    put(store, file.getvalue())
    window, view = only(store)
    assert (window.from_log, window.log_sample) == (9, None)
    assert view._metadata["mlops.log_sample"] == "unknown"
    assert columns_of(store.read_bytes(window.url)) == columns_of(
        profile(MANIFEST, request(MANIFEST, 9))
    )


def test_only_columns_that_the_log_holds_are_profiled_under_their_own_names(store):
    schema = replace(
        SCHEMA,
        columns=tuple(replace(c, name="time") if c.name == "tenure" else c for c in SCHEMA.columns),
    )
    manifest = replace(MANIFEST, schema=schema)
    given_columns = make_columns(7, seed=1)
    given_columns["time"] = given_columns.pop("tenure")
    put(
        store,
        logged(manifest, request(manifest, 7, columns=given_columns), columns=("senior", "time")),
    )
    _, view = only(store)
    assert set(view.get_columns()) == {"time", "senior", "prediction", "probability"}
    assert view.get_column("time").get_metric("types").fractional.value == 7


def no_log() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"tenure": [1.0], "version": ["3"]}), file)
    return file.getvalue()


def of_another_type() -> bytes:
    schema = replace(SCHEMA, columns=tuple(replace(c, type="categorical") for c in SCHEMA.columns))
    manifest = replace(MANIFEST, schema=schema)
    words = {name: ["a"] for name in SCHEMA.names}
    return logged(manifest, request(manifest, 1, columns=words))


@pytest.mark.parametrize(
    "broken",
    [b"garbage", b"", logged(MANIFEST, request(MANIFEST, 300))[:-9], no_log(), of_another_type()],
    ids=["garbage", "empty", "cut off", "another table", "another type"],
)
def test_a_file_that_is_no_log_is_named_and_stops_no_other(store, broken):
    put(store, logged(MANIFEST, request(MANIFEST, 12)))
    url = (
        put(store, broken, name="broken")
        if broken
        else store.write_bytes(f"churn/predictions/3/local/{EIGHT:{STAMP}}/broken.parquet", b"")
    )
    alone = EIGHT + timedelta(hours=1)
    other = store.write_bytes(f"churn/predictions/3/local/{alone:{STAMP}}/1.parquet", b"no log")
    found = collected(store)
    assert [(window.rows, window.from_log) for window in found.windows] == [(12, 12)]
    assert found.unreadable == (url, other)
    assert collected(store) == found


def test_many_files_are_counted_by_several_processes_as_by_one(store):
    for number in range(12):
        put(store, logged(MANIFEST, request(MANIFEST, 40, seed=number)), name=str(number))
    put(store, b"garbage", name="broken")
    found = find(store, EXPERIMENT, 3, ["local"])
    one = logged_profiles.count(store, "churn", 3, EIGHT, found)
    several = logged_profiles.count(store, "churn", 3, EIGHT, found, many=5)
    assert one.profile.rows == several.profile.rows == 480
    assert set(one.unreadable) == set(several.unreadable)
    ours, theirs = (
        profiles.deserialize(each.profile.serialize()).get_columns() for each in (one, several)
    )
    assert {n: exact(c) for n, c in ours.items()} == {n: exact(c) for n, c in theirs.items()}


def test_what_is_judged_holds_the_windows_of_logs_and_batches_too(tmp_path):
    traffic = Traffic(
        tmp_path,
        monitoring={"prediction_log": {}},
    )
    traffic.flush(traffic.now - 2 * HOUR, rows=300)
    put(traffic.store, logged(MANIFEST, request(MANIFEST, 400)), window=traffic.now - HOUR)
    record = traffic.lately()
    assert [(w.rows, w.from_log) for w in record.windows] == [(300, 0), (400, 400)]
    assert record.arrivals["local"].window == (traffic.now - HOUR).isoformat()


def test_batches_are_windows_of_their_version_and_make_no_endpoint_fresh(tmp_path):
    traffic = Traffic(tmp_path)
    batch = {"name": "nightly", "input": "rows", "output": "out"}
    deployment = {"targets": [{"kind": "local"}], "batch": [batch]}
    traffic.experiment = make_experiment(deployment=deployment, monitoring={"window": "hour"})
    folder = f"batch-nightly/{traffic.now - HOUR:{STAMP}}"
    traffic.store.write_bytes(f"churn/profiles/3/{folder}/1.bin", traffic.profile(500))
    traffic.store.write_bytes(f"churn/profiles/2/{folder}/1.bin", traffic.profile(70))
    record = traffic.lately()
    assert [w.rows for w in record.windows] == [500]
    assert "local" not in record.arrivals
    traffic.flush(traffic.now - HOUR, rows=20)
    assert [w.rows for w in traffic.lately().windows] == [520]


def test_earlier_traffic_is_found_in_logs_too(store):
    put(store, logged(MANIFEST, request(MANIFEST, 11)), version=2)
    put(store, profile(MANIFEST, request(MANIFEST, 13)), version=3)
    put(store, logged(MANIFEST, request(MANIFEST, 13)), version=3)
    put(store, logged(MANIFEST, request(MANIFEST, 5)), window=EIGHT - timedelta(hours=1))
    found = starting_at(store, "churn", {EIGHT})
    rows = {
        version: [(w.rows, w.from_log) for w in collect(store, "churn", version, files).windows]
        for version, files in found.items()
    }
    assert rows == {2: [(11, 11)], 3: [(13, 0)]}
    assert starting_at(store, "churn", set()) == {}
    assert Found.of((), ()).every() == ()
