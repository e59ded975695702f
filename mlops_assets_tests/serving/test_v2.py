import numpy as np
import pytest

from mlops_assets.serving.app import Application
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.protocol import read
from mlops_assets.serving.reader import Reader
from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.schema import Column, InputSchema
from mlops_assets.serving.service import Limits
from mlops_assets_tests.serving.callers import Recorder, TestClient, at_once, service_of
from mlops_assets_tests.serving.test_app import Explaining

DATATYPES = {"tenure": "FP64", "charges": "FP32", "senior": "BOOL", "contract": "BYTES"}
PATH = "/v2/models/churn/infer"


def tensors(built, rows, *, shape=None):
    return [
        {"name": name, "shape": shape or [rows], "datatype": DATATYPES[name], "data": values[:rows]}
        for name, values in built.columns.items()
    ]


@pytest.fixture
def client(binary):
    service = service_of(binary, scorer=at_once(binary), limits=Limits(max_rows=50))
    with TestClient(Application(service)) as client:
        yield client


@pytest.mark.parametrize("path", [PATH, "/v2/models/churn/versions/7/infer"])
def test_answers_equal_the_estimator(client, binary, path):
    answer = client.post(path, json={"inputs": tensors(binary, 20), "id": "a-1"})
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("churn", "7", "a-1")
    assert answer.headers["x-request-id"] == "a-1"
    labels, probabilities = body["outputs"]
    assert (labels["name"], labels["datatype"], labels["shape"]) == ("predictions", "BYTES", [20])
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP64", [20, 2])
    found = np.reshape(probabilities["data"], (20, 2))
    np.testing.assert_allclose(found, binary.expected(20), rtol=0, atol=1e-12)
    assert set(labels["data"]) == {"Yes", "No"}


def test_columns_may_be_nested(client, binary):
    inputs = tensors(binary, 3, shape=[3, 1])
    for tensor in inputs[::2]:
        tensor["data"] = [[value] for value in tensor["data"]]
    flat = client.post(PATH, json={"inputs": tensors(binary, 3)}).json()
    nested = client.post(PATH, json={"inputs": inputs}).json()
    assert nested["outputs"] == flat["outputs"]


def test_a_request_without_id_is_given_one(client, binary):
    response = client.post(PATH, json={"inputs": tensors(binary, 1)})
    assert response.json()["id"] == response.headers["x-request-id"]
    headers = {"x-request-id": "header-1"}
    content = {"inputs": tensors(binary, 1), "id": "body-1"}
    response = client.post(PATH, json=content, headers=headers)
    assert response.json()["id"] == "body-1"
    assert response.headers["x-request-id"] == "header-1"


def test_parameters_are_echoed_and_outputs_chosen(client, binary):
    content = {
        "inputs": tensors(binary, 2),
        "parameters": {"tenant": "a"},
        "outputs": [{"name": "probabilities"}],
    }
    body = client.post(PATH, json=content).json()
    assert body["parameters"] == {"tenant": "a"}
    assert [output["name"] for output in body["outputs"]] == ["probabilities"]


def test_regression_answers_one_output(regression):
    with TestClient(Application(service_of(regression))) as client:
        (output,) = client.post(PATH, json={"inputs": tensors(regression, 4)}).json()["outputs"]
        assert client.get("/v2/models/churn").json()["outputs"] == [
            {"name": "predictions", "datatype": "FP64", "shape": [-1]}
        ]
    assert (output["datatype"], output["shape"]) == ("FP64", [4])
    np.testing.assert_allclose(output["data"], regression.expected(4), atol=1e-12)


def test_an_explanation_is_asked_for_with_a_parameter(binary):
    content = {"inputs": tensors(binary, 2), "parameters": {"explain": True}}
    with TestClient(Application(service_of(binary, scorer=Explaining(at_once(binary))))) as client:
        assert client.post(PATH, json=content).json()["explanations"] == [{"tenure": 0.5}] * 2


def test_an_entity_is_one_more_input(binary):
    recorder = Recorder()
    service = service_of(binary, recorder=recorder, entity="customer")
    entity = {"name": "customer", "shape": [2], "datatype": "INT64", "data": [4, None]}
    with TestClient(Application(service)) as client:
        client.post(PATH, json={"inputs": [entity, *tensors(binary, 2)]})
    ((columns, *_, entities),) = recorder.submitted
    assert entities == [4, None]
    assert list(columns) == list(binary.columns)


def changed(tensor, index, **changes):
    return [{**t, **changes} if i == index else t for i, t in enumerate(tensor)]


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda t: t[1:], "missing_field", ["'tenure'"]),
        (lambda t: [*t, t[0]], "bad_tensor", ["'tenure' stands twice"]),
        (lambda t: changed(t, 0, name="color"), "unknown_field", ["'color'", "tenure, charges"]),
        (lambda t: changed(t, 0, datatype="BYTES"), "wrong_type", ["'tenure'", "FP64, FP32"]),
        (lambda t: changed(t, 3, datatype="FP64"), "wrong_type", ["'contract'", "BYTES"]),
        (lambda t: changed(t, 0, data=[1, "2"]), "wrong_type", ["row 1", "'tenure'", "a number"]),
        (lambda t: changed(t, 2, data=[1, 2]), "wrong_type", ["row 1", "'senior'", "true"]),
        (lambda t: changed(t, 0, shape=[3]), "bad_shape", ["'tenure'", "2 values", "3"]),
        (lambda t: changed(t, 0, shape=[-2]), "bad_shape", ["'tenure'"]),
        (lambda t: changed(t, 0, shape=[]), "bad_shape", ["'tenure'", "[n] or [n, 1]"]),
        (lambda t: changed(t, 0, shape=[1, 2]), "bad_shape", ["[n] or [n, 1]"]),
        (lambda t: changed(t, 0, shape=[1], data=[1]), "bad_row", ["'charges'", "'tenure'"]),
        (lambda t: changed(t, 0, shape=[2, 1], data=[[1], []]), "bad_shape", ["other lengths"]),
        (lambda t: changed(t, 0, shape="2"), "bad_tensor", ["shape"]),
        (lambda t: changed(t, 0, surprise=1), "bad_tensor", ["surprise"]),
        (lambda t: [{**x, "shape": [0], "data": []} for x in t], "empty", ["empty"]),
        (lambda t: [{"name": "m", "shape": [1, 4], "datatype": "FP64", "data": [1] * 4}],
         "unknown_field", ["'m'", "'senior' is boolean"]),
    ],
)  # fmt: skip
def test_a_bad_tensor_is_refused_by_name(client, binary, change, reason, words):
    response = client.post(PATH, json={"inputs": change(tensors(binary, 2))})
    assert (response.status_code, response.json()["error"]) == (400, reason)
    assert all(word in response.json()["message"] for word in words), response.json()["message"]


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"{", 400, "not_json"),
        (b"[" * 100_000, 400, "bad_tensor"),
        (b'{"inputs": [{"data": ' + b"[" * 100_000, 400, "not_json"),
        (b'{"inputs": NaN}', 400, "not_json"),
        (b"{}", 400, "bad_tensor"),
        (b'{"inputs": []}', 400, "missing_field"),
        (b'{"inputs": [], "outputs": [{"name": "logits"}]}', 400, "unknown_output"),
        (b'{"inputs": [], "parameters": {"explain": 1}}', 400, "wrong_type"),
    ],
)
def test_a_bad_body_is_refused(client, content, status, reason):
    response = client.post(PATH, content=content)
    assert (response.status_code, response.json()["error"]) == (status, reason)


def test_other_models_versions_media_and_sizes_are_refused(client, binary):
    content = {"inputs": tensors(binary, 51)}
    answers = [
        client.post(PATH, json=content),
        client.post("/v2/models/other/infer", json=content),
        client.post("/v2/models/churn/versions/8/infer", json=content),
        client.post("/v2/models/churn/predict", json=content),
        client.post(PATH, content=b"", headers={"content-type": "text/csv"}),
    ]
    assert [answer.status_code for answer in answers] == [413, 404, 404, 404, 415]
    words = ["51 rows", "'other'", "'8'", "/docs", "'text/csv'"]
    for answer, word in zip(answers, words, strict=True):
        assert word in answer.json()["message"]


NUMERIC = InputSchema((Column("a", "numeric"), Column("b", "numeric")))


def manifest_of(schema, classes=()):
    task = "multiclass_classification" if classes else "regression"
    return Manifest(
        model="m", run_id="r", task=task, runtime="onnx", model_file="m", schema=schema,
        classes=classes, threshold=None, data_digest="", code_version="", created_at="", files={},
    )  # fmt: skip


@pytest.mark.parametrize("data", ["[1, 2, 3, 4, null, 6]", "[[1, 2], [3, 4], [null, 6]]"])
def test_one_matrix_will_do_when_all_columns_are_numeric(data):
    body = f'{{"inputs": [{{"name": "x", "shape": [3, 2], "datatype": "FP64", "data": {data}}}]}}'
    asked = read(body.encode(), manifest_of(NUMERIC), Reader(NUMERIC, max_rows=3))
    assert asked.rows.columns == {"a": [1.0, 3.0, None], "b": [2.0, 4.0, 6.0]}


@pytest.mark.parametrize("shape", ["[2, 3]", "[3]", "[6]", "[3, 2, 1]"])
def test_a_matrix_has_a_column_per_field(shape):
    body = f'{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "FP64", "data": [1]}}]}}'
    with pytest.raises(RequestError):
        read(body.encode(), manifest_of(NUMERIC), Reader(NUMERIC, max_rows=3))


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [((1, 2, 3), "INT64"), ((False, True), "BOOL"), (("a", 1), "BYTES"), (("a", "b"), "BYTES")],
)
def test_labels_have_the_datatype_of_the_classes(classes, datatype):
    from mlops_assets.serving.scorer import Scores

    manifest = manifest_of(NUMERIC, classes)
    body = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}'
    asked = read(body, manifest, Reader(NUMERIC, max_rows=3))
    labels = asked.answer(manifest, "1", Scores([classes[1]], [[0.5] * len(classes)]))["outputs"][0]
    assert labels["datatype"] == datatype
    assert labels["data"] == [str(classes[1]) if datatype == "BYTES" else classes[1]]
