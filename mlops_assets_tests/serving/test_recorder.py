"""Every row handed over is counted once, in its window, whatever the store and the clock do."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
from fsspec import AbstractFileSystem

from mlops_assets.monitoring import profiles
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.recorder import Recorder
from mlops_assets.serving.recording import Bounds, Recording, window_start
from mlops_assets.serving.scorer import Scores
from mlops_assets_tests.builders import SCHEMA, make_columns
from mlops_assets_tests.peers import s3

ROOT = Path(__file__).parent.parent.parent
NOON = datetime(2026, 5, 3, 12, 30, 10, tzinfo=UTC).timestamp()
HOUR = 3600
QUICK = Bounds(
    batch_seconds=0.02,
    outage_seconds=0.1,
    retry_seconds=(0.02, 0.1),
    last_pauses=(0.01,),
    patience_seconds=10,
)
MANIFEST = Manifest(
    model="churn",
    run_id="run",
    task="binary_classification",
    runtime="sklearn",
    model_file="model.skops",
    schema=SCHEMA,
    classes=("No", "Yes"),
    threshold=0.4,
    data_digest="0" * 64,
    code_version="test",
    created_at="2026-01-01T00:00:00+00:00",
    files={},
)


def answers(rows):
    return Scores(["Yes"] * rows, [[0.25, 0.75]] * rows)


def recorder_to(url, tmp_path, *, bounds=QUICK, on_rows=None, **changes):
    usual = {"profiles_url": str(url), "window_seconds": HOUR, "flush_seconds": 0.05}
    return Recorder(
        MANIFEST,
        recording=Recording(**{**usual, **changes}),
        version="3",
        spool=tmp_path / "unsent",
        on_rows=on_rows,
        bounds=bounds,
    )


def submit(recorder, rows, *, when=NOON, seed=0):
    recorder.submit(make_columns(rows, seed=seed), answers(rows), when=when, request_id="r")


def files_of(folder):
    return sorted(Path(folder).glob("*/*.bin"))


def counts(folder):
    """Rows by window, as whylogs counts them in every column."""
    by_window = {}
    for path in files_of(folder):
        by_window.setdefault(path.parent.name, []).append(profiles.deserialize(path.read_bytes()))
    found = {}
    for window, parts in by_window.items():
        merged = profiles.merge(parts)
        columns = merged.get_columns().values()
        (found[window],) = {column.get_metric("counts").n.value for column in columns}
    return found


def wait_for(true, seconds=20):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def spooled(tmp_path):
    return sorted((tmp_path / "unsent").glob("*/*/*.*"))


def test_windows_start_at_multiples_of_their_length():
    assert window_start(NOON, HOUR) == datetime(2026, 5, 3, 12, tzinfo=UTC)
    assert window_start(NOON, 60) == datetime(2026, 5, 3, 12, 30, tzinfo=UTC)
    sunday = datetime(2026, 5, 3, 23, 59, 59, 999_999, tzinfo=UTC).timestamp()
    assert window_start(sunday, 604_800) == datetime(2026, 4, 27, tzinfo=UTC)
    assert window_start(sunday, 86_400) == datetime(2026, 5, 3, tzinfo=UTC)
    assert window_start(math.nextafter(7200.0, 0), HOUR) == window_start(3600.0, HOUR)
    assert window_start(-0.5, 60) == datetime(1969, 12, 31, 23, 59, tzinfo=UTC)


def test_closing_leaves_every_row_in_its_window_wherever_the_clock_jumps(tmp_path):
    recorder = recorder_to(tmp_path / "store", tmp_path)
    jumps = (0, HOUR, -HOUR, 0, 2 * HOUR, -HOUR)
    for index, jump in enumerate(jumps * 10):
        submit(recorder, 3, when=NOON + jump, seed=index)
    recorder.start()
    recorder.close()
    assert counts(tmp_path / "store") == {
        "20260503T110000Z": 60,
        "20260503T120000Z": 60,
        "20260503T130000Z": 30,
        "20260503T140000Z": 30,
    }
    assert (recorder.pending_rows, recorder.dropped_rows, recorder.waiting_bytes) == (0, 0, 0)
    assert spooled(tmp_path) == []
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_hundred_thousand_rows_of_several_threads_are_counted_exactly(tmp_path):
    told = []
    bounds = Bounds(batch_seconds=0.02, pending_cells=10_000_000)
    recorder = recorder_to(
        tmp_path / "store",
        tmp_path,
        bounds=bounds,
        on_rows=lambda contents: told.append(
            (len(contents.columns["tenure"]), contents.columns["prediction"].total())
        ),
    )
    recorder.start()
    sizes = [1, 1, 1, 2, 7, 50, 300]
    pool = {size: make_columns(size, seed=size) for size in set(sizes)}
    sent = {"20260503T120000Z": 0, "20260503T130000Z": 0}
    lock = threading.Lock()

    def send(seed):
        rng = random.Random(seed)
        left = 50_000
        while left:
            size = min(rng.choice(sizes), left)
            columns = {name: values[:size] for name, values in pool.get(size, pool[300]).items()}
            later = rng.random() < 0.5
            when = NOON + (HOUR if later else 0)
            recorder.submit(columns, answers(size), when=when, request_id=f"{seed}-{left}")
            with lock:
                sent["20260503T130000Z" if later else "20260503T120000Z"] += size
            left -= size

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert recorder.dropped_rows == 0
    assert sum(sent.values()) == 200_000
    assert counts(tmp_path / "store") == sent
    assert sum(rows for rows, _ in told) == sum(scored for _, scored in told) == 200_000
    assert len(files_of(tmp_path / "store")) > 2, "all was flushed at the end"


def test_too_many_pending_rows_are_dropped_and_counted(tmp_path):
    bounds = Bounds(pending_cells=4 * 10)
    recorder = recorder_to(tmp_path / "store", tmp_path, bounds=bounds)
    for _ in range(4):
        submit(recorder, 4)
    assert (recorder.pending_rows, recorder.dropped_rows) == (8, 8)
    recorder.close()
    submit(recorder, 1)
    assert (recorder.pending_rows, recorder.dropped_rows) == (0, 9)
    assert counts(tmp_path / "store") == {"20260503T120000Z": 8}


def test_one_request_over_the_bound_is_taken_when_nothing_is_pending(tmp_path):
    recorder = recorder_to(tmp_path / "store", tmp_path, bounds=Bounds(pending_cells=4))
    submit(recorder, 30)
    recorder.close()
    assert counts(tmp_path / "store") == {"20260503T120000Z": 30}


def test_a_request_that_cannot_be_profiled_costs_no_other_its_rows(tmp_path):
    told = []
    recorder = recorder_to(
        tmp_path / "store",
        tmp_path,
        on_rows=lambda contents: told.extend(contents.columns["tenure"]),
    )
    submit(recorder, 5)
    recorder.submit(
        {**make_columns(2, seed=0), "tenure": [1.0, "?"]}, answers(2), when=NOON, request_id="bad"
    )
    submit(recorder, 6)
    recorder.close()
    assert counts(tmp_path / "store") == {"20260503T120000Z": 11}
    assert (recorder.dropped_rows, len(told)) == (2, 11)


def test_metrics_that_fail_cost_no_profile(tmp_path):
    def fail(contents):
        raise RuntimeError("no metrics today")

    recorder = recorder_to(tmp_path / "store", tmp_path, on_rows=fail)
    submit(recorder, 5)
    submit(recorder, 6)
    recorder.close()
    assert counts(tmp_path / "store") == {"20260503T120000Z": 11}


def test_a_store_that_fails_gets_everything_once_when_it_works_again(tmp_path):
    store = tmp_path / "store"
    store.write_text("a file where a folder should be")
    recorder = recorder_to(store, tmp_path)
    recorder.start()
    sent = 0
    while recorder.flush_failures < 4:
        submit(recorder, 5)
        sent += 5
        time.sleep(0.02)
    wait_for(lambda: recorder.waiting_bytes > 0)
    assert recorder.last_flush is None
    store.unlink()
    wait_for(lambda: recorder.last_flush is not None)
    recorder.close()
    assert counts(store) == {"20260503T120000Z": sent}
    assert spooled(tmp_path) == []


def test_while_the_store_is_down_profiles_grow_instead_of_their_number(tmp_path):
    store = tmp_path / "store"
    store.write_text("a file where a folder should be")
    bounds = Bounds(batch_seconds=0.01, outage_seconds=60, retry_seconds=(0.01, 0.01))
    recorder = recorder_to(store, tmp_path, bounds=bounds)
    recorder.start()
    submit(recorder, 1)
    wait_for(lambda: recorder.flush_failures >= 3)
    for index in range(30):
        submit(recorder, 1, seed=index)
        time.sleep(0.02)
    assert len(spooled(tmp_path)) == 1
    store.unlink()
    recorder.close()
    assert counts(store) == {"20260503T120000Z": 31}


def test_submitting_never_waits_for_a_store_that_hangs(tmp_path):
    gate = threading.Event()

    class Hanging(AbstractFileSystem):
        protocol = "hanging"

        def pipe_file(self, path, value, **options):
            gate.wait(30)

    fsspec.register_implementation("hanging", Hanging, clobber=True)
    recorder = recorder_to("hanging://profiles", tmp_path)
    recorder.start()
    submit(recorder, 1)
    wait_for(lambda: recorder.waiting_bytes > 0)
    longest = 0.0
    for index in range(200):
        started = time.perf_counter()
        recorder.submit(make_columns(1, seed=index), answers(1), when=NOON, request_id=str(index))
        longest = max(longest, time.perf_counter() - started)
    wait_for(lambda: recorder.pending_rows == 0)
    assert longest < 0.25
    gate.set()
    recorder.close()
    assert recorder.waiting_bytes == 0


def test_what_the_store_never_took_is_sent_to_the_same_place_by_the_next_process(tmp_path):
    store = tmp_path / "store"
    store.write_text("a file where a folder should be")
    first = recorder_to(store / "3", tmp_path)
    submit(first, 6)
    first.close()
    assert len(spooled(tmp_path)) == 1
    assert (tmp_path / "unsent").stat().st_mode & 0o077 == 0, "others may read the rows"
    store.unlink()
    second = recorder_to(store / "4", tmp_path)
    submit(second, 1)
    second.close()
    assert counts(store / "3") == {"20260503T120000Z": 6}
    assert counts(store / "4") == {"20260503T120000Z": 1}
    assert spooled(tmp_path) == []


def test_a_write_that_failed_only_seemingly_is_not_counted_twice(tmp_path):
    taken, attempts = {}, []

    class Forgetful(AbstractFileSystem):
        protocol = "forgetful"

        def pipe_file(self, path, value, **options):
            taken[path] = value
            attempts.append(path)
            if len(attempts) <= 3:
                raise TimeoutError("the answer was lost")

    fsspec.register_implementation("forgetful", Forgetful, clobber=True)
    recorder = recorder_to("forgetful://taken", tmp_path)
    recorder.start()
    for index in range(20):
        submit(recorder, 2, seed=index)
        time.sleep(0.02)
    recorder.close()
    assert profiles.rows(profiles.merge(map(profiles.deserialize, taken.values()))) == 40
    assert recorder.flush_failures == 3


def test_disk_that_takes_nothing_is_counted_and_the_store_gets_the_rows(tmp_path):
    (tmp_path / "unsent").write_text("a file where the spool should be")
    recorder = recorder_to(tmp_path / "store", tmp_path)
    submit(recorder, 7)
    recorder.close()
    assert recorder.flush_failures >= 1
    assert counts(tmp_path / "store") == {"20260503T120000Z": 7}


def test_a_recorder_outlives_a_store_and_a_disk_that_take_nothing(tmp_path):
    (tmp_path / "unsent").write_text("a file where the spool should be")
    store = tmp_path / "store"
    store.write_text("a file where a folder should be")
    recorder = recorder_to(store, tmp_path)
    recorder.start()
    submit(recorder, 7)
    wait_for(lambda: recorder.flush_failures >= 2)
    submit(recorder, 7)
    recorder.close()
    assert recorder.pending_rows == 0


@pytest.mark.peer
def test_a_full_disk_is_counted_and_leaves_no_half_file(tmp_path):
    disk = tmp_path / "unsent"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        store = tmp_path / "store"
        store.write_text("a file where a folder should be")
        recorder = recorder_to(store, tmp_path)
        recorder.start()
        for index in range(60):
            submit(recorder, 20, when=NOON + HOUR * index, seed=index)
        wait_for(lambda: recorder.pending_rows == 0 and recorder.flush_failures > 5)
        wait_for(lambda: not list(disk.rglob("*.tmp")))  # one may just be tried
        store.unlink()
        recorder.close()
        assert recorder.dropped_rows == 0
        found = counts(store)
        assert (len(found), set(found.values())) == (60, {20})
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_any_fsspec_store_will_do(tmp_path):
    recorder = recorder_to("memory://profiles/churn", tmp_path)
    submit(recorder, 2)
    recorder.close()
    store = fsspec.filesystem("memory")
    (path,) = store.glob("/profiles/churn/20260503T120000Z/*.bin")
    assert profiles.rows(profiles.deserialize(store.cat_file(path))) == 2


@pytest.mark.peer
def test_s3_takes_profiles_and_log(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3.REGION)
    with s3.running() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        recorder = recorder_to(
            "s3://mlops/profiles",
            tmp_path,
            log_url="s3://mlops/predictions",
        )
        recorder.start()
        submit(recorder, 3)
        wait_for(lambda: recorder.flush_failures >= 1, seconds=60)  # no bucket yet
        server.create_bucket("mlops")
        submit(recorder, 2)
        wait_for(lambda: recorder.last_flush is not None, seconds=60)
        recorder.close()
        client = server.client()
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="mlops")["Contents"]]
        bodies = {key: client.get_object(Bucket="mlops", Key=key)["Body"].read() for key in keys}
    written = [profiles.deserialize(body) for key, body in bodies.items() if key.endswith(".bin")]
    assert profiles.rows(profiles.merge(written)) == 5
    assert recorder.logged_rows == 5
    assert any(key.startswith("predictions/20260503T120000Z/") for key in keys)


PROGRAM = """
import json, signal, sys, threading, time
from pathlib import Path
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.recorder import Recorder
from mlops_assets.serving.recording import Recording
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.serving.scorer import Scores

store, spool = sys.argv[1:]
manifest = Manifest(
    model="m", run_id="r", task="regression", runtime="onnx", model_file="m.onnx",
    schema=InputSchema((Column("x", "numeric"),)), classes=(), threshold=None, data_digest="d",
    code_version="c", created_at="now", files={},
)
recording = Recording(profiles_url=store, window_seconds=3600, flush_seconds=0.3)
recorder = Recorder(manifest, recording=recording, version="3", spool=Path(spool))
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
recorder.start()
sent = 0
while not ended.is_set():
    recorder.submit({"x": [1.0, 2.0]}, Scores([0.5, 1.5], []), when=1777811410.0, request_id="r")
    sent += 2
    print(json.dumps([sent, recorder.last_flush]), flush=True)
    time.sleep(0.01)
recorder.close()
"""


def _until(process, true):
    for line in process.stdout:
        sent, last_flush = json.loads(line)
        if true(sent, last_flush):
            return sent
    raise AssertionError("the program ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_loses_nothing_and_a_kill_what_came_since_the_last_flush(tmp_path, number):
    store = tmp_path / "store"
    arguments = [str(store), str(tmp_path / "unsent")]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        sent = _until(process, lambda sent, last_flush: last_flush is not None and sent > 200)
        process.send_signal(number)
        for line in process.stdout:
            sent = json.loads(line)[0]
    counted = counts(store)["20260503T120000Z"]
    if number == signal.SIGTERM:
        assert counted == sent
    else:
        assert 0 < counted <= sent
