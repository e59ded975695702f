"""What a real endpoint's metrics tell of its requests, its refusals and its profiles."""

import pytest

from mlops_assets.deployment import exposition
from mlops_assets.deployment.counts import total
from mlops_assets.gateways.telemetry import ProfileLog
from mlops_assets.serving.app import Application
from mlops_assets_tests.builders import make_bundle
from mlops_assets_tests.serving.callers import Recorder, TestClient, service_of


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("built") / "bundle")


def metrics(built, *, recorder=None):
    """After an answer and two refusals."""
    service = service_of(built, recorder=recorder)
    if recorder is not None:
        service.metrics.watch(recorder)
    record = built.records(1)[0]
    with TestClient(Application(service)) as client:
        for content in (record, {**record, "tenure": "x"}, {**record, "more": 1}):
            client.post("/invocations", json={"instances": [content]})
        return client.get("/metrics").text


def test_refusals_are_read_by_their_reason(built):
    traffic = exposition.read(metrics(built), slower_than=0.25)
    assert traffic.requests == 3
    assert dict(traffic.refused) == {"wrong_type": 1, "unknown_field": 1}
    assert traffic.log is None


def test_the_profiles_of_several_processes_are_added_up(built):
    texts = []
    for number, flushed in enumerate((1000.0, 2000.0, None)):
        recorder = Recorder()
        recorder.pending_rows, recorder.waiting_bytes = number, 100
        recorder.dropped_rows, recorder.flush_failures = 10, 2
        recorder.last_flush = flushed
        texts.append(metrics(built, recorder=recorder))
    texts.append(metrics(built))
    traffic = total(exposition.read(text, slower_than=0.25) for text in texts)
    assert traffic.log == ProfileLog(3, 300, 30, 6, 2000.0)
    assert traffic.refused["wrong_type"] == 4


def test_a_store_that_never_took_a_profile(built):
    traffic = exposition.read(metrics(built, recorder=Recorder()), slower_than=0.25)
    assert traffic.log == ProfileLog(0, 0, 0, 0, None)
