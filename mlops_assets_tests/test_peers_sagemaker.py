"""The SageMaker peer on its own: our serving program behind endpoints, asked through boto3."""

import io
import json
import tarfile
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError, WaiterError

from mlops_assets_tests.builders import make_bundle
from mlops_assets_tests.endpoints import running, until
from mlops_assets_tests.peers import aws, sagemaker

pytestmark = pytest.mark.peer

BUCKET = "models-of-sagemaker"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("built") / "bundle")


@pytest.fixture(scope="module")
def archive(built):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        file.add(built.folder, arcname=".")
    return buffer.getvalue()


@pytest.fixture
def server(archive):
    with aws.running() as running:
        running.s3.create_bucket(BUCKET)
        running.s3.put(BUCKET, "good.tar.gz", archive)
        running.s3.put(BUCKET, "bad.tar.gz", b"no archive")
        yield running


@pytest.fixture
def peer(server):
    with sagemaker.running(server, moment=0.1) as running:
        yield running


@pytest.fixture
def client(server, peer):
    return server.client("sagemaker")


@pytest.fixture
def runtime(server, peer):
    return server.client("sagemaker-runtime")


def model(server, name, version, archive="good"):
    server.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=f"arn:aws:iam::{server.account}:role/serving",
        PrimaryContainer={
            "Image": "registry/serving:1",
            "ModelDataUrl": f"s3://{BUCKET}/{archive}.tar.gz",
            "Environment": {"MLOPS_BUNDLE": "/opt/ml/model", "MLOPS_VERSION": str(version)},
        },
    )


def config(server, name, versions, archive="good", variant="v{}", **more):
    """A configuration with one variant per version, of weight as said."""
    variants = []
    for version, weight in versions.items():
        model(server, f"{name}-{version}", version, archive)
        variants.append(
            {
                "VariantName": variant.format(version),
                "ModelName": f"{name}-{version}",
                "InstanceType": "ml.c7i.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": weight,
            }
        )
    server.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=variants, **more
    )
    return name


def served(client, name="churn", config="one"):
    client.create_endpoint(EndpointName=name, EndpointConfigName=config)
    in_service(client, name)
    return name


def in_service(client, name="churn"):
    until(lambda: described(client, name)["EndpointStatus"] not in ("Creating", "Updating"), 60)
    found = described(client, name)
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    return found


def described(client, name="churn"):
    return client.describe_endpoint(EndpointName=name)


def ask(runtime, built, name="churn", **more):
    answer = runtime.invoke_endpoint(
        EndpointName=name,
        ContentType="application/json",
        Body=json.dumps({"instances": built.records(2)}),
        **more,
    )
    return answer, json.loads(answer["Body"].read())


def test_an_endpoint_serves_the_archive_by_weight_and_by_name(server, client, runtime, built, peer):
    config(server, "one", {1: 3.0, 2: 1.0})
    client.create_endpoint(EndpointName="churn", EndpointConfigName="one")
    assert described(client)["EndpointStatus"] == "Creating"
    with pytest.raises(ClientError) as caught:
        ask(runtime, built)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(client.exceptions.ClientError, match="in-progress"):
        client.delete_endpoint(EndpointName="churn")
    began = time.monotonic()
    found = in_service(client)
    print(f"two variants in service after {time.monotonic() - began:.1f} s")
    weights = {v["VariantName"]: v["CurrentWeight"] for v in found["ProductionVariants"]}
    assert weights == {"v1": 3.0, "v2": 1.0}

    seen = Counter(ask(runtime, built)[0]["InvokedProductionVariant"] for _ in range(400))
    assert abs(seen["v2"] - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5
    answer, content = ask(runtime, built, TargetVariant="v2")
    assert (answer["InvokedProductionVariant"], content["version"]) == ("v2", "2")
    expected = [pytest.approx(row) for row in built.expected(2).tolist()]
    assert content["probabilities"] == expected

    client.update_endpoint_weights_and_capacities(
        EndpointName="churn",
        DesiredWeightsAndCapacities=[
            {"VariantName": "v1", "DesiredWeight": 0.0},
            {"VariantName": "v2", "DesiredInstanceCount": 2},
        ],
    )
    moving = described(client)["ProductionVariants"][0]
    assert (moving["CurrentWeight"], moving["DesiredWeight"]) == (3.0, 0.0)
    found = in_service(client)["ProductionVariants"]
    assert found[1]["CurrentInstanceCount"] == 2
    assert {ask(runtime, built)[0]["InvokedProductionVariant"] for _ in range(30)} == {"v2"}

    with pytest.raises(ClientError) as caught:
        ask(runtime, built, TargetVariant="v3")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(runtime.exceptions.ModelError) as failed:
        runtime.invoke_endpoint(EndpointName="churn", ContentType="application/json", Body=b"{}")
    assert failed.value.response["OriginalStatusCode"] == 400
    assert "error" in failed.value.response["OriginalMessage"]
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424

    pids = [c.process.pid for c in peer.endpoints["churn"].fleet.containers]
    client.delete_endpoint(EndpointName="churn")
    assert described(client)["EndpointStatus"] == "Deleting"
    client.get_waiter("endpoint_deleted").wait(EndpointName="churn", WaiterConfig={"Delay": 1})
    assert client.list_endpoints()["Endpoints"] == []
    assert not any(map(running, pids))
    assert peer.aws.broken == []


def test_an_archive_that_is_none_fails_with_its_reason(server, client):
    config(server, "bad", {1: 1.0}, archive="bad")
    client.create_endpoint(EndpointName="churn", EndpointConfigName="bad")
    with pytest.raises(WaiterError):
        client.get_waiter("endpoint_in_service").wait(
            EndpointName="churn", WaiterConfig={"Delay": 1}
        )
    found = described(client)
    assert found["EndpointStatus"] == "Failed"
    assert "download" in found["FailureReason"]
    with pytest.raises(ClientError, match="ValidationException"):
        client.update_endpoint(EndpointName="churn", EndpointConfigName="bad")
    client.delete_endpoint(EndpointName="churn")


def test_a_program_that_does_not_answer_fails_the_endpoint(server, client, peer):
    peer.program = lambda _: (["false"], {})
    config(server, "one", {1: 1.0})
    client.create_endpoint(EndpointName="churn", EndpointConfigName="one")
    until(lambda: described(client)["EndpointStatus"] == "Failed", 30)
    assert "ping health check" in described(client)["FailureReason"]


def guarded(kind, wait=100, **sizes):
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    return {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }


def percent(value):
    return {"Type": "CAPACITY_PERCENT", "Value": value}


@contextmanager
def watched(server):
    """An alarm that is all right until it is told otherwise."""
    cloudwatch = server.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="errors",
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1,
        MetricName="Invocation5XXErrors",
        Namespace="AWS/SageMaker",
        Period=60,
        Statistic="Sum",
    )
    yield lambda state: cloudwatch.set_alarm_state(
        AlarmName="errors", StateValue=state, StateReason="test"
    )


def test_updates_shift_traffic_and_alarms_take_it_back(server, client, runtime, built, peer):
    peer.pace = 0.02
    config(server, "one", {1: 1.0}, variant="live")
    config(server, "two", {2: 1.0}, variant="live")
    served(client)
    old = peer.endpoints["churn"].fleet.containers[0].process.pid

    with watched(server) as alarm:
        canary = guarded("CANARY", CanarySize=percent(25))
        client.update_endpoint(
            EndpointName="churn", EndpointConfigName="two", DeploymentConfig=canary
        )
        assert described(client)["PendingDeploymentSummary"]["EndpointConfigName"] == "two"
        with pytest.raises(ClientError, match="in-progress"):
            client.update_endpoint(EndpointName="churn", EndpointConfigName="two")
        until(lambda: peer.endpoints["churn"].share == 0.25, 60)
        seen = {ask(runtime, built)[1]["version"] for _ in range(40)}
        assert seen == {"1", "2"}
        alarm("ALARM")
        found = in_service(client)
        assert found["EndpointConfigName"] == "one"
        assert "errors" in found["FailureReason"]
        assert {ask(runtime, built)[1]["version"] for _ in range(10)} == {"1"}
        assert running(old)

        alarm("OK")
        linear = guarded("LINEAR", wait=5, LinearStepSize=percent(50))
        client.update_endpoint(
            EndpointName="churn", EndpointConfigName="two", DeploymentConfig=linear
        )
        found = in_service(client)
        assert found["EndpointConfigName"] == "two"
        assert found["LastDeploymentConfig"] == linear
        assert "FailureReason" not in found
        assert {ask(runtime, built)[1]["version"] for _ in range(10)} == {"2"}
        assert not running(old)

        peer.rollback_fails = True
        client.update_endpoint(
            EndpointName="churn", EndpointConfigName="one", DeploymentConfig=canary
        )
        until(lambda: peer.endpoints["churn"].share == 0.25, 60)
        alarm("ALARM")
        until(lambda: described(client)["EndpointStatus"] == "UpdateRollbackFailed", 30)
    assert peer.endpoints["churn"].history.count("Updating") == 3
    assert server.broken == []


def test_a_failed_update_keeps_the_old_fleet(server, client, runtime, built):
    config(server, "one", {1: 1.0})
    config(server, "bad", {2: 1.0}, archive="bad")
    served(client)
    client.update_endpoint(EndpointName="churn", EndpointConfigName="bad")
    found = in_service(client)
    assert (found["EndpointConfigName"], "FailureReason" in found) == ("one", True)
    assert ask(runtime, built)[1]["version"] == "1"
    client.delete_endpoint_config(EndpointConfigName="one")
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        client.update_endpoint(EndpointName="churn", EndpointConfigName="bad")


def test_calls_are_captured_in_the_format_of_sagemaker(server, client, runtime, built):
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    config(server, "one", {1: 1.0}, DataCaptureConfig=capture)
    served(client)
    assert described(client)["DataCaptureConfig"]["CaptureStatus"] == "Started"
    ask(runtime, built, InferenceId="row-7")
    s3 = server.s3_client()
    (one,) = s3.list_objects_v2(Bucket=BUCKET, Prefix="captured/churn/v1/")["Contents"]
    line = json.loads(s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read())
    assert line["eventMetadata"]["inferenceId"] == "row-7"
    given = line["captureData"]["endpointInput"]
    assert (given["mode"], given["encoding"]) == ("INPUT", "JSON")
    assert json.loads(given["data"]) == {"instances": built.records(2)}
    assert "predictions" in line["captureData"]["endpointOutput"]["data"]


def test_a_serverless_variant_serves_too(server, client, runtime, built):
    model(server, "serverless", 4)
    client.create_endpoint_config(
        EndpointConfigName="one",
        ProductionVariants=[
            {
                "VariantName": "all",
                "ModelName": "serverless",
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
            }
        ],
    )
    served(client)
    (variant,) = described(client)["ProductionVariants"]
    assert variant["CurrentServerlessConfig"]["MaxConcurrency"] == 5
    assert ask(runtime, built)[1]["version"] == "4"


def test_names_are_taken_once_and_nothing_is_made_of_what_is_missing(server, client):
    config(server, "one", {1: 1.0})
    variants = client.describe_endpoint_config(EndpointConfigName="one")["ProductionVariants"]
    for refused in (
        lambda: client.create_endpoint_config(
            EndpointConfigName="one", ProductionVariants=variants
        ),
        lambda: model(server, "one-1", 1),
        lambda: model(server, "other", 1, archive="missing"),
        lambda: client.create_endpoint(EndpointName="churn", EndpointConfigName="two"),
        lambda: client.describe_endpoint(EndpointName="churn"),
        lambda: client.delete_endpoint(EndpointName="churn"),
        lambda: client.delete_endpoint_config(EndpointConfigName="two"),
        lambda: client.delete_model(ModelName="two"),
    ):
        with pytest.raises(ClientError, match="Validation"):
            refused()
    assert [m["ModelName"] for m in client.list_models()["Models"]] == ["one-1"]
    configs = client.list_endpoint_configs()["EndpointConfigs"]
    assert [one["EndpointConfigName"] for one in configs] == ["one"]


def test_a_lost_answer_leaves_what_was_made(server, client):
    config(server, "one", {1: 1.0})
    server.lose("CreateEndpointConfig")
    patient = server.client("sagemaker", retries={"total_max_attempts": 2})
    variants = client.describe_endpoint_config(EndpointConfigName="one")["ProductionVariants"]
    with pytest.raises(ClientError, match="already existing"):
        patient.create_endpoint_config(EndpointConfigName="two", ProductionVariants=variants)
    assert len(client.list_endpoint_configs()["EndpointConfigs"]) == 2
