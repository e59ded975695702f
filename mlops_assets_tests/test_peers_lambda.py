"""The Lambda peer on its own: real code under AWS's emulator, asked through boto3 and over HTTP."""

import json
import threading
import time
from collections import Counter

import httpx
import pytest
from botocore.exceptions import ClientError

from mlops_assets_tests.endpoints import running, until
from mlops_assets_tests.peers import aws, aws_lambda, emulator

pytestmark = pytest.mark.peer

CODE = """
import os, time
kept = []

def handler(event, context):
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "megabytes" in event:
        kept.append(bytearray(b"x") * (event["megabytes"] * 1024 * 1024))
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    if "requestContext" in event:
        return {"statusCode": 201, "headers": {"x-answer": "yes"}, "cookies": ["a=b"],
                "body": event["requestContext"]["http"]["method"] + event["rawPath"]
                        + event["rawQueryString"] + event.get("body", "")}
    return {"version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"], "pid": os.getpid(),
            "said": os.environ.get("SAID"), "memory": context.memory_limit_in_mb}
"""


@pytest.fixture(scope="module")
def server():
    try:
        emulator.fetched()
    except emulator.UnavailableError as error:
        pytest.skip(str(error))
    with aws.running() as running:
        yield running


@pytest.fixture
def peer(server):
    with aws_lambda.running(server, settling=0.0, provisioning=0.1) as running:
        yield running
        for known in running.backend.list_functions():
            server.client("lambda").delete_function(FunctionName=known.function_name)


@pytest.fixture
def client(server, peer):
    return server.client("lambda")


@pytest.fixture(scope="module")
def role(server):
    return server.role("of-functions")


@pytest.fixture
def create(client, role):
    def made(name="scores", code=CODE, **settings):
        client.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": aws_lambda.zipped({"app.py": code})},
            **{"MemorySize": 256, **settings},
        )
        return name

    return made


def ask(client, name, event=None, **settings):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **settings)
    return answer, json.loads(answer["Payload"].read())


def two_versions(client, create):
    name = create(Environment={"Variables": {"SAID": "one"}})
    client.publish_version(FunctionName=name)
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"SAID": "two"}}
    )
    client.publish_version(FunctionName=name)
    return name


def test_an_alias_splits_its_calls_by_weight(client, create, peer):
    name = two_versions(client, create)
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights)
    seen, said = Counter(), Counter()
    for _ in range(400):
        answer, content = ask(client, name, Qualifier="live")
        seen[answer["ExecutedVersion"]] += 1
        said[content["version"], content["said"]] += 1
    assert set(said) == {("1", "one"), ("2", "two")}
    assert abs(seen["2"] - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5
    assert peer.starts == 2


def test_a_qualifier_and_an_arn_name_the_version(client, create, server):
    name = two_versions(client, create)
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert ask(client, name, Qualifier="1")[1]["said"] == "one"
    assert ask(client, f"{arn}:2")[1]["said"] == "two"
    assert ask(client, name)[0]["ExecutedVersion"] == "$LATEST"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        ask(client, name, Qualifier="3")


def test_the_second_call_is_warm_and_a_change_starts_anew(client, create, peer):
    name = create()
    first, second = ask(client, name)[1], ask(client, name)[1]
    assert first["pid"] == second["pid"]
    assert peer.starts == 1
    client.update_function_configuration(FunctionName=name, MemorySize=512)
    third = ask(client, name)[1]
    assert (third["memory"], peer.starts) == ("512", 2)


def test_what_goes_wrong_is_a_function_error(client, create):
    name = create(Timeout=1)
    answer, said = ask(client, name, {"raise": "no"}, LogType="Tail")
    assert answer["FunctionError"] == "Unhandled"
    assert said["errorType"] == "ValueError"
    assert "LogResult" in answer
    answer, said = ask(client, name, {"sleep": 5})
    assert answer["FunctionError"] == "Unhandled"
    assert "Task timed out after 1.00 seconds" in said["errorMessage"]
    answer, said = ask(client, name, {"exit": 3})
    assert said["errorType"] == "Runtime.ExitError"
    assert "FunctionError" not in ask(client, name)[0]


def test_more_memory_than_there_is_ends_the_function(client, create, peer):
    name = create(MemorySize=128, Timeout=20)
    answer, said = ask(client, name, {"megabytes": 1000})
    assert answer["FunctionError"] == "Unhandled"
    assert "signal: killed" in said["errorMessage"]
    assert peer.environments[0].killed == 1
    assert "FunctionError" not in ask(client, name, {"megabytes": 20})[0]


def test_calls_at_the_same_time_get_environments_of_their_own(client, create, peer, server):
    name = create()
    pids = []
    threads = [
        threading.Thread(
            target=lambda: pids.append(ask(server.client("lambda"), name, {"sleep": 0.5})[1]["pid"])
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == peer.starts == 3


def test_reserved_concurrency_refuses_what_is_more(client, create):
    name = create()
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException):
        ask(client, name)


def test_a_function_is_pending_and_its_update_in_progress_for_a_while(server, peer, client, create):
    peer.settling = 0.6
    name = create()
    assert client.get_function(FunctionName=name)["Configuration"]["State"] == "Pending"
    for refused in (
        lambda: ask(client, name),
        lambda: client.publish_version(FunctionName=name),
        lambda: client.update_function_configuration(FunctionName=name, Timeout=5),
    ):
        with pytest.raises(client.exceptions.ResourceConflictException):
            refused()
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    client.update_function_configuration(FunctionName=name, Timeout=5)
    config = client.get_function_configuration(FunctionName=name)
    assert config["LastUpdateStatus"] == "InProgress"
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.publish_version(FunctionName=name)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    version = client.publish_version(FunctionName=name)
    assert (version["Version"], version["State"]) == ("1", "Pending")


def test_a_version_number_is_never_given_twice(client, create):
    name = two_versions(client, create)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.delete_function(FunctionName=name, Qualifier="1")
    client.update_function_configuration(FunctionName=name, Timeout=9)
    assert client.publish_version(FunctionName=name)["Version"] == "3"
    listed = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [one["Version"] for one in listed] == ["$LATEST", "2", "3"]


def test_an_alias_keeps_its_versions_and_its_revision(client, create):
    name = two_versions(client, create)
    made = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    weights = {"AdditionalVersionWeights": {"2": 0.1}}
    moved = client.update_alias(
        FunctionName=name, Name="live", RoutingConfig=weights, RevisionId=made["RevisionId"]
    )
    assert moved["RoutingConfig"] == weights
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_alias(
            FunctionName=name, Name="live", FunctionVersion="2", RevisionId=made["RevisionId"]
        )
    for version in ("1", "2"):
        with pytest.raises(client.exceptions.ResourceConflictException):
            client.delete_function(FunctionName=name, Qualifier=version)
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    done = client.update_alias(
        FunctionName=name,
        Name="live",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {}},
    )
    assert "RoutingConfig" not in done
    client.delete_function(FunctionName=name, Qualifier="1")


def test_provisioned_concurrency_becomes_ready(client, create):
    name = create()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    of = {"FunctionName": name, "Qualifier": "live"}
    with pytest.raises(ClientError, match="ProvisionedConcurrencyConfigNotFound"):
        client.get_provisioned_concurrency_config(**of)
    made = client.put_provisioned_concurrency_config(**of, ProvisionedConcurrentExecutions=2)
    assert made["Status"] == "IN_PROGRESS"
    until(lambda: client.get_provisioned_concurrency_config(**of)["Status"] == "READY", 5)
    client.delete_provisioned_concurrency_config(**of)
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)
    assert listed["ProvisionedConcurrencyConfigs"] == []


def test_a_url_answers_whom_its_policy_lets_in(client, create):
    name = create()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    of = {"FunctionName": name, "Qualifier": "live"}
    url = client.create_function_url_config(**of, AuthType="NONE")["FunctionUrl"]
    assert httpx.get(url).status_code == 403
    for number, action in enumerate(("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")):
        client.add_permission(**of, StatementId=f"s{number}", Action=action, Principal="*")
    answer = httpx.post(f"{url}a/b?c=d", json={"e": 1})
    assert (answer.status_code, answer.text) == (201, 'POST/a/bc=d{"e":1}')
    assert (answer.headers["x-answer"], answer.cookies["a"]) == ("yes", "b")
    assert client.get_function_url_config(**of)["AuthType"] == "NONE"
    client.delete_function_url_config(**of)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_failing_function_is_a_bad_gateway_at_its_url(client, create):
    name = create(code="def handler(event, context): raise ValueError('no')")
    url = client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    assert httpx.get(url).status_code == 403
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/lambda/x"}
    assert httpx.get(url, headers=signed).status_code == 502


def test_everything_ends_with_the_peer(server, role):
    with aws_lambda.running(server, settling=0.0) as peer:
        client = server.client("lambda")
        client.create_function(
            FunctionName="ends",
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": aws_lambda.zipped({"app.py": CODE})},
        )
        began = time.monotonic()
        pid = ask(client, "ends")[1]["pid"]
        cold = time.monotonic() - began
        began = time.monotonic()
        ask(client, "ends")
        print(f"cold {1000 * cold:.0f} ms, warm {1000 * (time.monotonic() - began):.1f} ms")
        assert peer.environments[0].pids() == [pid]
    assert peer.environments == []
    until(lambda: not running(pid), 2)
