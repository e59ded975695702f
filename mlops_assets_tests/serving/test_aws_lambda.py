"""The Lambda entry: real events in, the application's answers out, and nothing recorded is lost."""

import json
import signal
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from mlops_assets.monitoring import profiles
from mlops_assets.serving import aws_lambda
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import CHARGES_OF_FAILURE, fails_below, make_bundle

CONTEXT = SimpleNamespace(aws_request_id="9f4c-1")


@pytest.fixture(autouse=True)
def _spool(tmp_path, monkeypatch):
    """SIGTERM and the spool are the process's; give them back."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(aws_lambda, "SPOOL", tmp_path / "unsent")
    yield
    signal.signal(signal.SIGTERM, before)


def environment(built, **more: str) -> dict[str, str]:
    return {"MLOPS_BUNDLE": str(built.folder), "MLOPS_VERSION": "7", **more}


def function_url(body: str, *, path: str = "/invocations", method: str = "POST", **headers: str):
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {"http": {"method": method, "path": path, "sourceIp": "127.0.0.1"}},
        "body": body,
        "isBase64Encoded": False,
    }


def rest_api(body: str):
    return {
        "resource": "/invocations",
        "path": "/invocations",
        "httpMethod": "POST",
        "headers": {"content-type": "application/json"},
        "multiValueHeaders": {"content-type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"identity": {"sourceIp": "127.0.0.1"}, "resourcePath": "/invocations"},
        "body": body,
        "isBase64Encoded": False,
    }


def rows_in(folder) -> int:
    found = [profiles.deserialize(path.read_bytes()) for path in folder.rglob("*.bin")]
    return sum(profiles.rows(view) for view in found)


@pytest.mark.parametrize("event", [function_url, rest_api])
def test_a_gateway_event_is_answered_like_a_request(binary, event):
    handler = aws_lambda.build(environment(binary))
    answer = handler(event(json.dumps({"dataframe_records": binary.records(3)})), CONTEXT)
    assert answer["statusCode"] == 200
    content = json.loads(answer["body"])
    assert np.array(content["probabilities"]) == pytest.approx(binary.expected(3))
    assert content["version"] == "7"


def test_a_direct_event_is_a_body_and_gets_the_body_of_the_answer(binary):
    handler = aws_lambda.build(environment(binary))
    answer = handler({"dataframe_records": binary.records(2)}, CONTEXT)
    assert np.array(answer["probabilities"]) == pytest.approx(binary.expected(2))
    assert answer["request_id"] == CONTEXT.aws_request_id


@pytest.mark.parametrize("event", [None, [], "text", 3, {}, {"requestContext": {}}])
def test_what_is_no_request_is_refused_with_a_reason(binary, event):
    handler = aws_lambda.build(environment(binary))
    if event == {"requestContext": {}}:
        with pytest.raises(RuntimeError, match="unable to infer"):
            handler(event, CONTEXT)
    else:
        assert handler(event, CONTEXT)["error"] == "bad_dialect"


def test_bad_rows_are_refused_as_over_http(binary):
    handler = aws_lambda.build(environment(binary))
    record = binary.records(1)[0] | {"tenure": "long"}
    answer = handler(function_url(json.dumps({"instances": [record]})), CONTEXT)
    assert answer["statusCode"] == 400
    assert "field 'tenure'" in json.loads(answer["body"])["message"]


@pytest.mark.parametrize("event", [function_url, rest_api, json.loads])
def test_an_invocation_fails_where_the_program_does_and_its_rows_are_kept(tmp_path, event):
    """AWS counts as an error what is raised, and no answer."""
    built = fails_below(make_bundle(tmp_path / "bundle"))
    handler = recorded(built, tmp_path / "profiles", flush_seconds=0.0, clock=lambda: 0.0)
    good = built.records(1)[0]
    handler(event(json.dumps({"instances": [good]})), CONTEXT)
    bad = {**good, "charges": 2 * CHARGES_OF_FAILURE}
    with pytest.raises(
        aws_lambda.FailedError, match=r'"error":"internal".*"request_id":"'
    ) as failed:
        handler(event(json.dumps({"instances": [good, bad]})), CONTEXT)
    assert "see its log" in str(failed.value)
    refused = handler(event(json.dumps({"instances": [{**good, "tenure": "long"}]})), CONTEXT)
    assert refused.get("statusCode", 400) == 400, "the caller's fault is none of ours"
    assert rows_in(tmp_path / "profiles") == 1


def test_health_and_metadata_are_served_too(binary):
    handler = aws_lambda.build(environment(binary))
    answer = handler(function_url("", path="/v2/health/ready", method="GET"), CONTEXT)
    assert answer["statusCode"] == 200


def test_keys_are_asked_for(binary):
    handler = aws_lambda.build(environment(binary, MLOPS_KEYS="one,two"))
    body = json.dumps({"instances": binary.records(1)})
    assert handler(function_url(body), CONTEXT)["statusCode"] == 401
    assert handler(function_url(body, authorization="Bearer two"), CONTEXT)["statusCode"] == 200


def test_an_empty_list_of_keys_serves_nothing_open_by_mistake(binary):
    with pytest.raises(BundleError, match="MLOPS_KEYS holds no key"):
        aws_lambda.build(environment(binary, MLOPS_KEYS=" "))


def test_another_bundle_than_the_one_asked_for_is_refused(binary):
    with pytest.raises(BundleError, match="was to be served"):
        aws_lambda.build(environment(binary, MLOPS_BUNDLE_DIGEST="0" * 64))


def recorded(built, folder, *, flush_seconds: float, clock):
    recording = Recording(str(folder), 3600, flush_seconds=flush_seconds)
    variables = environment(built, MLOPS_RECORDING=json.dumps(asdict(recording)))
    return aws_lambda.build(variables, clock=clock)


def test_rows_are_on_the_store_before_the_event_is_over(binary, tmp_path):
    handler = recorded(binary, tmp_path / "profiles", flush_seconds=0.0, clock=lambda: 0.0)
    for done in (1, 2, 3):
        handler({"dataframe_records": binary.records(5)}, CONTEXT)
        assert rows_in(tmp_path / "profiles") == 5 * done


def test_between_flushes_events_do_not_wait_for_the_store(binary, tmp_path):
    now = [0.0]
    handler = recorded(binary, tmp_path / "profiles", flush_seconds=10.0, clock=lambda: now[0])
    handler({"dataframe_records": binary.records(5)}, CONTEXT)
    handler({"dataframe_records": binary.records(4)}, CONTEXT)
    assert rows_in(tmp_path / "profiles") == 5
    now[0] = 10.0
    handler({"dataframe_records": binary.records(1)}, CONTEXT)
    assert rows_in(tmp_path / "profiles") == 10


def test_a_notice_of_the_end_saves_the_rest(binary, tmp_path):
    handler = recorded(binary, tmp_path / "profiles", flush_seconds=10.0, clock=lambda: 0.0)
    for _ in range(2):
        handler({"dataframe_records": binary.records(5)}, CONTEXT)
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert rows_in(tmp_path / "profiles") == 10


def test_the_handler_is_made_when_it_is_asked_for(binary, monkeypatch):
    monkeypatch.setenv("MLOPS_BUNDLE", str(binary.folder))
    aws_lambda._of_this_process.cache_clear()
    handler = aws_lambda.handler
    assert handler is aws_lambda.handler
    assert "predictions" in handler({"instances": binary.records(1)}, CONTEXT)
    aws_lambda._of_this_process.cache_clear()
