"""The AWS peer on its own: calls are on record, failures come when a test wants them."""

import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from mlops_assets_tests.peers import aws

pytestmark = pytest.mark.peer


@pytest.fixture
def peer():
    with aws.running() as running:
        running.s3.create_bucket("peer-artifacts")
        yield running


def test_calls_are_on_record_with_their_parameters(peer):
    peer.s3.put("peer-artifacts", "a key/with space", b"12345")
    with pytest.raises(ClientError):
        peer.client("lambda").get_function(FunctionName="nobody")
    (put,), (asked,) = peer.asked("PutObject"), peer.asked("GetFunction")
    assert put.parameters["Key"] == "a key/with space"
    assert put.parameters["Body"] == 5
    assert (asked.status, asked.error) == (404, "ResourceNotFoundException")
    assert peer.changes() == ["CreateBucket", "PutObject"]


CALLS = [
    ("s3", "PutObject", {"Bucket": "peer-artifacts", "Key": "k", "Body": b"1"}),
    ("lambda", "ListFunctions", {}),
    ("cloudwatch", "DescribeAlarms", {}),
    ("sagemaker", "ListModels", {}),
]


@pytest.mark.parametrize(("service", "operation", "parameters"), CALLS)
@pytest.mark.parametrize(
    ("code", "status"),
    [("ThrottlingException", 400), ("InternalFailure", 500), ("ResourceConflictException", 409)],
)
def test_every_protocol_says_the_wanted_error_once(
    peer, service, operation, parameters, code, status
):
    client = peer.client(service)
    call = getattr(
        client, next(m for m, o in client.meta.method_to_api_mapping.items() if o == operation)
    )
    peer.fail(operation, code)
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    call(**parameters)
    assert [one.error for one in peer.asked(operation)] == [code, None]


def test_a_lost_answer_was_done(peer):
    peer.lose("PutObject")
    with pytest.raises(ConnectionClosedError):
        peer.s3_client().put_object(Bucket="peer-artifacts", Key="k", Body=b"1")
    assert peer.s3_client().list_objects_v2(Bucket="peer-artifacts")["KeyCount"] == 1


def test_the_client_asks_again_by_itself_after_a_lost_answer(peer):
    peer.lose("PutObject", times=2)
    patient = peer.client("s3", retries={"total_max_attempts": 3})
    patient.put_object(Bucket="peer-artifacts", Key="k", Body=b"1")
    assert [call.status for call in peer.asked("PutObject")] == [200, 200, 200]


def test_a_call_that_hangs_comes_to_nothing(peer):
    peer.hang("PutObject", 0.2)
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError):
        peer.s3_client().put_object(Bucket="peer-artifacts", Key="k", Body=b"1")
    assert time.monotonic() - began >= 0.2
    assert peer.s3_client().list_objects_v2(Bucket="peer-artifacts")["KeyCount"] == 0


def test_only_calls_with_the_wanted_parameters_fail(peer):
    peer.fail("PutObject", "SlowDown", when=lambda call: call.parameters["Key"] == "second")
    peer.s3.put("peer-artifacts", "first", b"1")
    with pytest.raises(ClientError, match="SlowDown"):
        peer.s3_client().put_object(Bucket="peer-artifacts", Key="second", Body=b"1")


def test_every_server_is_an_account_of_its_own(peer):
    with aws.running() as other:
        assert other.s3_client().list_buckets()["Buckets"] == []
        role = other.role("lambda")
        assert other.account in role
        assert peer.client("iam").list_roles()["Roles"] == []


def test_an_answer_that_aws_could_not_give_is_refused(peer):
    peer.answers["lambda", "GetProvisionedConcurrencyConfig"] = lambda _: {"Status": "SOON"}
    with pytest.raises(ClientError) as caught:
        peer.client("lambda").get_provisioned_concurrency_config(FunctionName="f", Qualifier="1")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "IN_PROGRESS, READY, FAILED" in peer.broken[0]
