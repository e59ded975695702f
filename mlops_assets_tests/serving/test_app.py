import asyncio
import json
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import pytest

from mlops_assets.serving.app import Application
from mlops_assets.serving.explain import NotExplainableError
from mlops_assets.serving.scorer import Scorer
from mlops_assets.serving.service import Limits
from mlops_assets_tests.serving.callers import Recorder, TestClient, at_once, service_of


@pytest.fixture(params=["in threads", "at once"])
def client(binary, request):
    limits = Limits(max_rows=50, max_body_bytes=20_000)
    scorer = at_once(binary) if request.param == "at once" else None
    with TestClient(Application(service_of(binary, limits=limits, scorer=scorer))) as client:
        yield client


def test_answers_equal_the_estimator_in_every_dialect(client, binary):
    records = binary.records(20)
    names = list(records[0])
    split = {"columns": names, "data": [[r[n] for n in names] for r in records]}
    for content in (
        {"dataframe_records": records},
        {"dataframe_split": split},
        {"instances": records},
        {"inputs": {n: [r[n] for r in records] for n in names}},
    ):
        answer = client.post("/invocations", json=content).json()
        np.testing.assert_allclose(answer["probabilities"], binary.expected(20), rtol=0, atol=1e-12)
        assert answer["classes"] == ["No", "Yes"]
        assert (answer["model"], answer["version"]) == ("churn", "7")


def test_csv_is_answered(client, binary):
    lines = ["tenure,charges,senior,contract"]
    for record in binary.records(5):
        cells = ["" if value is None else str(value) for value in record.values()]
        lines.append(",".join(cells))
    response = client.post(
        "/invocations",
        content="\n".join(lines),
        headers={"content-type": "text/csv; charset=utf-8"},
    )
    assert response.status_code == 200
    np.testing.assert_allclose(
        response.json()["probabilities"], binary.expected(5), rtol=0, atol=1e-12
    )


def test_regression_has_no_probabilities(regression):
    with TestClient(Application(service_of(regression))) as client:
        answer = client.post("/invocations", json={"instances": regression.records(4)}).json()
        assert set(answer) == {"predictions", "model", "version", "request_id"}
        np.testing.assert_allclose(answer["predictions"], regression.expected(4), atol=1e-12)
        assert "mlops_prediction_value_count 4.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"instances": [{"tenure": 1}]}, "charges"),
        ({"instances": [{"tenure": 1, "charges": 1, "senior": 1, "contract": 5}]}, "contract"),
        ({"instances": [{"tenure": "a", "charges": 1, "senior": 1, "contract": "x"}]}, "tenure"),
        ({"inputs": {"color": [1]}}, "color"),
    ],
)
def test_bad_input_is_400_and_names_the_field(client, content, field):
    response = client.post("/invocations", json=content)
    assert response.status_code == 400
    assert f"'{field}'" in response.json()["message"]
    assert response.json()["version"] == "7"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "reason"),
    [
        ("POST", "/invocations", b"{", {}, 400, "not_json"),
        ("POST", "/invocations", b"x" * 20_001, {}, 413, "body_too_large"),
        ("POST", "/invocations", b"{}", {"content-type": "image/png"}, 415, "bad_media_type"),
        ("GET", "/invocations", None, {}, 405, "method_not_allowed"),
        ("GET", "/nowhere", None, {}, 404, "not_found"),
        ("GET", "/v2/models/other", None, {}, 404, "not_found"),
    ],
)
def test_refusals_are_json(client, method, path, body, headers, status, reason):
    response = client.request(method, path, content=body, headers=headers)
    assert (response.status_code, response.json()["error"]) == (status, reason)
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert f'mlops_errors_total{{reason="{reason}"}} 1.0' in client.get("/metrics").text


def test_a_body_without_a_length_is_bounded_too(client):
    async def parts():
        for _ in range(5):
            yield b"x" * 5000

    response = client.post("/invocations", content=parts())
    assert response.status_code == 413


def test_too_many_rows_are_413(client, binary):
    response = client.post("/invocations", json={"instances": binary.records(51)})
    assert response.status_code == 413
    assert "51 rows" in response.json()["message"]


def test_a_value_the_model_cannot_hold_is_400(multiclass):
    service = service_of(multiclass)

    def refuse(columns):
        raise ValueError(f"Input X contains a value too large: {columns['charges'][0]}")

    service.scorer = replace(service.scorer, _predict=refuse)
    record = {**multiclass.records(1)[0], "charges": 1e300}
    with TestClient(Application(service)) as client:
        response = client.post("/invocations", json={"instances": [record]})
    assert (response.status_code, response.json()["error"]) == (400, "not_scorable")
    assert "1e+300" in response.json()["message"]


def test_a_failure_of_the_model_is_a_json_500(binary):
    service = service_of(binary)

    def fail(_):
        raise RuntimeError("secret detail")

    service.scorer = replace(service.scorer, _predict=fail)
    with TestClient(Application(service)) as client:
        response = client.post("/invocations", json={"instances": binary.records(1)})
    assert (response.status_code, response.json()["error"]) == (500, "internal")
    assert "secret" not in response.text


def test_request_ids_are_kept_when_sane(client):
    assert client.get("/ping", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    made = client.get("/ping", headers={"x-request-id": "a b" * 100}).headers["x-request-id"]
    assert len(made) == 32


def test_health_follows_readiness(binary):
    service = service_of(binary)
    with TestClient(Application(service)) as client:
        paths = ("/ping", "/v2/health/ready", "/v2/models/churn/ready")
        assert [client.get(path).status_code for path in paths] == [200, 200, 200]
        service.ready = False
        assert [client.get(path).status_code for path in paths] == [503, 503, 503]
        assert client.get("/v2/health/live").status_code == 200
        refused = client.post("/invocations", json={"instances": binary.records(1)})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_metadata_names_inputs_and_outputs(client):
    answer = client.get("/v2/models/churn").json()
    assert [(i["name"], i["datatype"]) for i in answer["inputs"]] == [
        ("tenure", "FP64"),
        ("charges", "FP64"),
        ("senior", "BOOL"),
        ("contract", "BYTES"),
    ]
    assert [output["name"] for output in answer["outputs"]] == ["predictions", "probabilities"]
    assert (answer["version"], answer["task"]) == ("7", "binary_classification")


def test_metrics_count_rows_labels_and_missing_values(client, binary):
    records = [{**record, "charges": None} for record in binary.records(30)]
    answer = client.post("/invocations", json={"instances": records}).json()
    text = client.get("/metrics").text
    yes = answer["predictions"].count("Yes")
    assert f'mlops_predictions_total{{label="Yes"}} {float(yes)}' in text
    assert 'mlops_missing_values_total{feature="charges"} 30.0' in text
    assert 'mlops_missing_values_total{feature="tenure"} 0.0' in text
    assert "mlops_rows_total 30.0" in text
    assert "mlops_prediction_probability_count 30.0" in text
    assert 'mlops_requests_total{status="200"} 1.0' in text
    assert 'mlops_request_seconds_count{path="/invocations"} 1.0' in text
    assert 'version="7"' in text


def test_a_draining_service_answers_and_closes(binary):
    service = service_of(binary)
    service.draining = True
    with TestClient(Application(service)) as client:
        response = client.post("/invocations", json={"instances": binary.records(1)})
    assert (response.status_code, response.headers["connection"]) == (200, "close")


def test_overload_is_503_and_the_loop_stays_free(executed_by_sklearn):
    binary = executed_by_sklearn
    gate = threading.Event()
    scorer = Scorer.open(binary.folder)
    real = scorer._predict

    def slow(columns):
        assert gate.wait(10)
        return real(columns)

    limits = Limits(max_in_flight=3, threads=2)
    service = service_of(binary, limits=limits, scorer=replace(scorer, _predict=slow))
    body = json.dumps({"instances": binary.records(1)})

    async def scenario():
        transport = httpx.ASGITransport(app=Application(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            held = [asyncio.create_task(client.post("/invocations", content=body)) for _ in "abc"]
            while service._waiting < 3:
                await asyncio.sleep(0.01)
            refused = await client.post("/invocations", content=body)
            pinged = await client.get("/ping")
            gate.set()
            return refused, pinged, await asyncio.gather(*held)

    refused, pinged, answered = asyncio.run(asyncio.wait_for(scenario(), 20))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"] == "overload"
    assert pinged.status_code == 200
    assert [response.status_code for response in answered] == [200, 200, 200]
    service.close()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/invocations", "POST"),
        ("OPTIONS", "/invocations", "POST"),
        ("POST", "/ping", "GET, HEAD"),
        ("DELETE", "/v2/models/churn/infer", "POST"),
    ],
)
def test_another_method_is_405_and_names_those_allowed(client, method, path, allow):
    response = client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)


def test_every_answer_names_model_version_and_request(client, binary):
    records = {"instances": binary.records(1)}
    answers = [
        client.get(path) for path in ("/ping", "/v2", "/v2/health/live", "/v2/models/churn", "/no")
    ] + [client.post("/invocations", json=records), client.post("/invocations", content=b"{")]
    for answer in answers:
        body = answer.json()
        assert body["request_id"] == answer.headers["x-request-id"]
        assert (body.get("model", "churn"), body["version"]) == ("churn", "7")


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({"content-encoding": "gzip"}, "gzip"),
        ({"content-type": "application/json; charset=utf-16"}, "utf-16"),
    ],
)
def test_an_encoded_body_is_415(client, headers, word):
    response = client.post("/invocations", content=b"{}", headers=headers)
    assert (response.status_code, response.json()["error"]) == (415, "bad_encoding")
    assert word in response.json()["message"]


def test_json_lines_and_csv_without_header_are_answered(client, binary):
    lines = "\n".join(json.dumps(record) for record in binary.records(3))
    headers = {"content-type": "application/jsonlines"}
    answer = client.post("/invocations", content=lines, headers=headers).json()
    np.testing.assert_allclose(answer["probabilities"], binary.expected(3), rtol=0, atol=1e-12)
    values = ("" if v is None else str(v) for v in binary.records(1)[0].values())
    headers = {"content-type": "text/csv; header=absent"}
    answer = client.post("/invocations", content=",".join(values), headers=headers).json()
    np.testing.assert_allclose(answer["probabilities"], binary.expected(1), rtol=0, atol=1e-12)


def test_a_body_that_does_not_arrive_is_408(binary):
    async def slow():
        yield b'{"instances": '
        await asyncio.sleep(30)
        yield b"[]}"

    service = service_of(binary, limits=Limits(body_seconds=0.05))
    with TestClient(Application(service)) as client:
        response = client.post("/invocations", content=slow())
    assert (response.status_code, response.json()["error"]) == (408, "body_too_slow")
    assert response.headers["connection"] == "close"
    assert service.in_flight == 0


KEYS = frozenset({"first", "second"})


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/churn/infer"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer third"}, 401),
        ({"authorization": "Basic first"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"x-api-key": ""}, 401),
        ({"x-api-key": "Second"}, 401),
        ({"authorization": "Bearer first"}, 400),
        ({"authorization": "bearer second"}, 400),
        ({"x-api-key": "second"}, 400),
    ],
)
def test_scoring_asks_for_a_key(binary, path, headers, status):
    with TestClient(Application(service_of(binary, keys=KEYS))) as client:
        response = client.post(path, json={}, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"] == "unauthorized"


def test_health_and_metrics_stay_open_and_golden_requests_do_not(binary):
    with TestClient(Application(service_of(binary, keys=KEYS))) as client:
        paths = ("/ping", "/v2/health/live", "/v2/models/churn/ready", "/metrics", "/docs")
        assert [client.get(path).status_code for path in paths] == [200] * 5
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/openapi.json", headers={"x-api-key": "first"}).status_code == 200


def test_rows_are_handed_to_the_recorder(binary):
    recorder = Recorder()
    service = service_of(binary, recorder=recorder, entity="customer")
    record = binary.records(1)[0]
    with TestClient(Application(service)) as client:
        headers = {"x-request-id": "a-1"}
        rows = {"instances": [{**record, "customer": "c-1"}, record]}
        before = time.time()
        client.post("/invocations", json=rows, headers=headers)
        client.post("/invocations", json={"instances": [record]})
        client.post("/invocations", json=rows, headers={"x-mlops-probe": "1"})
        assert "mlops_rows_total 0.0" in client.get("/metrics").text
    (columns, scores, when, name, entities), (_, _, _, _, nobody) = recorder.submitted
    assert {key: values[0] for key, values in columns.items()} == record
    assert len(scores.predictions) == 2
    assert before <= when <= time.time()
    assert (name, entities, nobody) == ("a-1", ["c-1", None], None)


def test_the_recorder_is_told_of(binary):
    recorder = Recorder()
    service = service_of(binary, recorder=recorder)
    service.metrics.watch(recorder)
    with TestClient(Application(service)) as client:
        assert "mlops_profile_last_flush" not in client.get("/metrics").text
        recorder.pending_rows, recorder.dropped_rows, recorder.last_flush = 4, 5, 6e8
        recorder.flush_failures, recorder.logged_rows = 7, 8
        recorder.dropped_log_rows, recorder.waiting_bytes = 9, 10
        text = client.get("/metrics").text
    for line in (
        "mlops_profile_rows_pending 4.0",
        "mlops_profile_bytes_waiting 10.0",
        "mlops_profile_rows_dropped_total 5.0",
        "mlops_profile_flush_failures_total 7.0",
        "mlops_logged_rows_total 8.0",
        "mlops_logged_rows_dropped_total 9.0",
        "mlops_profile_last_flush_timestamp_seconds 6e+08",
    ):
        assert line in text


@dataclass(frozen=True)
class Explanation:
    rows: int

    def to_json(self):
        return [{"tenure": 0.5}] * self.rows


@dataclass(frozen=True)
class Explaining:
    """A scorer that explains, or says why it does not."""

    scorer: Any
    refusal: str | None = None

    @property
    def manifest(self):
        return self.scorer.manifest

    @property
    def folder(self):
        return self.scorer.folder

    @property
    def digest(self):
        return self.scorer.digest

    def score(self, columns):
        return self.scorer.score(columns)

    def explain(self, columns):
        if self.refusal is not None:
            raise NotExplainableError(self.refusal)
        return Explanation(len(columns["tenure"]))


def test_an_answer_is_explained_when_asked(binary):
    content = {"instances": binary.records(2)}
    with TestClient(Application(service_of(binary, scorer=Explaining(at_once(binary))))) as client:
        answer = client.post("/invocations?explain=true", json=content).json()
        assert answer["explanations"] == [{"tenure": 0.5}] * 2
        assert len(answer["predictions"]) == 2
        for path in ("/invocations", "/invocations?explain=false", "/invocations?other=1"):
            assert "explanations" not in client.post(path, json=content).json()
        refused = client.post("/invocations?explain=perhaps", json=content)
        assert (refused.status_code, refused.json()["error"]) == (400, "bad_query")


def test_what_cannot_be_explained_is_400_with_the_reason(binary):
    recorder = Recorder()
    scorer = Explaining(at_once(binary), refusal="forests of 9,000 trees are not explained")
    with TestClient(Application(service_of(binary, scorer=scorer, recorder=recorder))) as client:
        content = {"instances": binary.records(1)}
        response = client.post("/invocations?explain=1", json=content)
    assert (response.status_code, response.json()["error"]) == (400, "not_explainable")
    assert "9,000 trees" in response.json()["message"]
    assert recorder.submitted == []


def test_a_model_that_proves_slow_leaves_the_event_loop(binary):
    real = at_once(binary)

    def slow(columns):
        time.sleep(0.02)
        threads.add(threading.current_thread())
        return real._predict(columns)

    threads = set()
    service = service_of(binary, scorer=replace(real, _predict=slow))
    with TestClient(Application(service)) as client:
        for _ in range(4):
            client.post("/invocations", json={"instances": binary.records(1)})
    assert {thread is threading.main_thread() for thread in threads} == {True, False}
