"""The document says what the endpoint does, and the endpoint does what the document says."""

from dataclasses import replace

import hypothesis
import pytest
from openapi_spec_validator import validate

from mlops_assets.serving import page
from mlops_assets.serving.app import Application
from mlops_assets.serving.service import Limits
from mlops_assets_tests.serving.callers import TestClient, at_once, service_of
from mlops_assets_tests.serving.test_app import Explaining


@pytest.fixture(scope="module")
def app(binary):
    scorer = at_once(binary)
    scorer = replace(scorer, manifest=replace(scorer.manifest, entity="customer"))
    service = service_of(binary, scorer=Explaining(scorer), limits=Limits(max_rows=20))
    answer = Application(service)

    async def undying(scope, receive, send):
        # The caller below starts and ends the application with every request.
        if scope["type"] == "http":
            await answer(scope, receive, send)
        for end in ("startup", "shutdown") if scope["type"] == "lifespan" else ():
            await receive()
            await send({"type": f"lifespan.{end}.complete"})

    return undying


@pytest.fixture(scope="module")
def document(app):
    with TestClient(app) as client:
        return client.get("/openapi.json").json()


@pytest.mark.parametrize("valid", [True, False])
def test_the_endpoint_keeps_its_contract(app, valid):
    import schemathesis
    from schemathesis import checks

    modes = schemathesis.GenerationMode
    mode = modes.POSITIVE if valid else modes.NEGATIVE
    asked = 0

    def keeps(operation):
        @hypothesis.seed(7)
        @hypothesis.settings(
            max_examples=12,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def run(case):
            nonlocal asked
            asked += 1
            # Not every rule can be put in a schema (columns are of one length), so a body that
            # fits it may still be refused, with a reason.
            case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])

        run()

    for operation in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        if valid or operation.ok().body:
            keeps(operation.ok())
    assert asked > 30


def test_the_document_is_valid(document):
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_fields_are_those_of_the_model(document):
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == ["tenure", "charges", "senior", "contract"]
    assert row["properties"]["tenure"]["type"] == ["number", "null"]
    assert "never missing" in row["properties"]["tenure"]["description"]
    assert "from 18 to 120" in row["properties"]["charges"]["description"]
    assert row["properties"]["senior"]["enum"] == [True, False, 0, 1, None]
    assert row["properties"]["contract"]["examples"] == ["monthly", "one year", "two years"]
    assert "customer" in row["properties"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_example_is_answered(task, request):
    service = service_of(request.getfixturevalue(task))
    asked = 0
    with TestClient(Application(service)) as client:
        document = client.get("/openapi.json").json()
        validate(document)
        for path, item in document["paths"].items():
            body = item.get("post", {}).get("requestBody")
            for example in body["content"]["application/json"]["examples"].values() if body else ():
                assert client.post(path, json=example["value"]).status_code == 200
                asked += 1
    assert asked == 6


def test_keys_are_told_of(binary):
    service = service_of(binary, keys=frozenset({"k"}))
    with TestClient(Application(service)) as client:
        paths = client.get("/openapi.json", headers={"x-api-key": "k"}).json()["paths"]
    assert paths["/invocations"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in paths["/ping"]["get"]


def test_the_page_fetches_nothing_from_elsewhere(app):
    with TestClient(app) as client:
        response = client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in page.HTML.decode().replace("http-equiv", "")
    assert "innerHTML" not in page.SCRIPT
