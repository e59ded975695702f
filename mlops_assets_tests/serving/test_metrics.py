"""Several processes of one endpoint tell one truth."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from mlops_assets.serving.answered_values import FEW, SHARES, bounds, observe
from mlops_assets.serving.contents import of_lists
from mlops_assets.serving.metrics import Metrics, forget
from mlops_assets.serving.scorer import Scorer

PROGRAM = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
from mlops_assets.serving import bundle
from mlops_assets.serving.metrics import Metrics
from mlops_assets.serving.scorer import Scores

folder, directory, version = map(Path, sys.argv[1:])
model = SimpleNamespace(manifest=bundle.verify(folder), folder=folder, digest="d")
recorder = SimpleNamespace(
    pending_rows=5, dropped_rows=0, flush_failures=0, logged_rows=0, dropped_log_rows=0,
    last_flush=None, waiting_bytes=7
)
metrics = Metrics(model, version.name, directory=directory)
metrics.watch(recorder)
for line in sys.stdin:
    rows, in_flight = json.loads(line)
    metrics.observe({"tenure": [None] * rows}, Scores(["Yes"] * rows, [[0.25, 0.75]] * rows))
    metrics.answered(200, "/invocations", 0.003)
    metrics.refused("overload")
    recorder.dropped_rows += 2
    recorder.last_flush = 1000.0 + rows
    if in_flight is None:
        metrics.close()
    else:
        metrics.refresh(in_flight)
    print(json.dumps([os.getpid(), metrics.render()[0].decode()]), flush=True)
"""


class Worker:
    """A process that counts what it is told, and tells what all of them counted."""

    def __init__(self, built, directory, version):
        command = [sys.executable, "-c", PROGRAM, str(built.folder), str(directory), version]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, rows, in_flight):
        self.process.stdin.write(json.dumps([rows, in_flight]) + "\n")
        self.process.stdin.flush()
        pid, text = json.loads(self.process.stdout.readline())
        assert pid == self.process.pid
        return text

    def kill(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def workers(binary, tmp_path):
    found = [Worker(binary, tmp_path / "metrics", version) for version in ("7", "8")]
    yield found
    for worker in found:
        worker.kill()
        worker.process.stdin.close()
        worker.process.stdout.close()


def test_counts_of_a_killed_process_stay_and_its_gauges_go(workers, tmp_path):
    first, second = workers
    first.tell(10, 3)
    text = second.tell(20, 4)
    for line in (
        "mlops_rows_total 30.0",
        "mlops_prediction_probability_count 30.0",
        'mlops_prediction_probability_bucket{le="0.7"} 0.0',
        'mlops_predictions_total{label="Yes"} 30.0',
        'mlops_missing_values_total{feature="tenure"} 30.0',
        'mlops_requests_total{status="200"} 2.0',
        'mlops_errors_total{reason="overload"} 2.0',
        'mlops_request_seconds_bucket{le="0.005",path="/invocations"} 2.0',
        "mlops_requests_in_flight 7.0",
        "mlops_profile_rows_pending 10.0",
        "mlops_profile_bytes_waiting 7.0",
        "mlops_profile_rows_dropped_total 4.0",
        "mlops_profile_last_flush_timestamp_seconds 1020.0",
    ):
        assert line in text
    assert 'version="7"' in text
    assert 'version="8"' in text
    first.kill()
    forget(tmp_path / "metrics", first.process.pid)
    text = second.tell(0, 1)
    for line in (
        "mlops_rows_total 30.0",
        "mlops_requests_in_flight 1.0",
        "mlops_profile_rows_pending 5.0",
        "mlops_profile_rows_dropped_total 6.0",
    ):
        assert line in text
    assert 'version="7"' not in text


def test_a_process_that_ends_takes_its_gauges_along(workers):
    first, second = workers
    first.tell(10, 3)
    first.tell(0, None)
    text = second.tell(20, 4)
    assert "mlops_requests_in_flight 4.0" in text
    assert "mlops_profile_rows_dropped_total 6.0" in text
    assert 'version="7"' not in text


@pytest.mark.parametrize("rows", [0, 1, FEW - 1, FEW, 1000])
def test_many_values_are_counted_as_one_by_one(rows):
    edges = [0.0, *SHARES, 1.5, -1.0]
    values = [*np.random.default_rng(rows).random(rows), *edges[:rows]]
    together, singly = (
        Histogram("h", "h", buckets=SHARES, registry=registry)
        for registry in (CollectorRegistry(), CollectorRegistry())
    )
    observe(together, values)
    for value in values:
        singly.observe(value)
    (one,), (other,) = together.collect(), singly.collect()
    for found, wanted in zip(one.samples, other.samples, strict=True):
        if not found.name.endswith("_created"):
            assert (found.name, found.labels) == (wanted.name, wanted.labels)
            assert found.value == pytest.approx(wanted.value, rel=1e-12)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_many_requests_together_count_as_each_of_them(task, request):
    built = request.getfixturevalue(task)
    scorer = Scorer.open(built.folder)
    scores = scorer.score(built.columns)
    each, together = (Metrics(scorer, "1") for _ in range(2))
    each.observe(built.columns, scores)
    together.count(of_lists(built.manifest.schema, built.columns, scores))
    wanted, found = (
        [line for line in metrics.render()[0].decode().splitlines() if "_created" not in line]
        for metrics in (each, together)
    )
    assert found == wanted
    assert f"mlops_rows_total {len(scores.predictions)}.0" in found


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-6, 1e9),
    wider=st.floats(1.0, 1.05),
)
def test_bounds_of_values_are_round_cover_the_range_and_are_mostly_shared(low, width, wider):
    found = bounds(low, low + width)
    assert found == sorted(found)
    assert 10 <= len(found) <= 25
    assert found[0] < low + width / 4
    assert found[-1] > low + width * 3 / 4
    other = bounds(low, low + width * wider)
    assert len({*found} & {*other}) >= min(len(found), len(other)) * 0.3


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.0, 1.0, 0.1), (25.0, 346.0, 50.0), (3.0, 3.0, 0.5)]
)
def test_bounds_are_multiples_of_a_round_step(low, high, expected):
    found = bounds(low, high)
    steps = {round(b - a, 9) for a, b in itertools.pairwise(found)}
    assert steps == {expected}
