import asyncio
import json
import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest

from mlops_assets.serving.app import Limits, Service, build
from mlops_assets.serving.metrics import Metrics
from mlops_assets.serving.scorer import Scorer


def service_of(built, *, limits=Limits(), scorer=None):  # noqa: B008
    scorer = scorer or Scorer.open(built.folder)
    service = Service(scorer, version="7", limits=limits, metrics=Metrics(scorer, "7"))
    service.ready = True
    return service


class TestClient:
    """A synchronous caller of an application in this process."""

    __test__ = False

    def __init__(self, app):
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app=app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._runner.run(self._client.aclose())
        self._runner.close()

    def request(self, method, path, **options):
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)


@pytest.fixture
def client(binary):
    limits = Limits(max_rows=50, max_body_bytes=20_000)
    with TestClient(build(service_of(binary, limits=limits))) as client:
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
    with TestClient(build(service_of(regression))) as client:
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
    with TestClient(build(service)) as client:
        response = client.post("/invocations", json={"instances": [record]})
    assert (response.status_code, response.json()["error"]) == (400, "not_scorable")
    assert "1e+300" in response.json()["message"]


def test_a_failure_of_the_model_is_a_json_500(binary):
    service = service_of(binary)

    def fail(_):
        raise RuntimeError("secret detail")

    service.scorer = replace(service.scorer, _predict=fail)
    with TestClient(build(service)) as client:
        response = client.post("/invocations", json={"instances": binary.records(1)})
    assert (response.status_code, response.json()["error"]) == (500, "internal")
    assert "secret" not in response.text


def test_request_ids_are_kept_when_sane(client):
    assert client.get("/ping", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    made = client.get("/ping", headers={"x-request-id": "a b" * 100}).headers["x-request-id"]
    assert len(made) == 32


def test_health_follows_readiness(binary):
    service = service_of(binary)
    with TestClient(build(service)) as client:
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
    with TestClient(build(service)) as client:
        response = client.post("/invocations", json={"instances": binary.records(1)})
    assert (response.status_code, response.headers["connection"]) == (200, "close")


def test_overload_is_503_and_the_loop_stays_free(binary):
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
        transport = httpx.ASGITransport(app=build(service))
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
