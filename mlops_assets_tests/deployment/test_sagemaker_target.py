"""The target `sagemaker` over endpoints that really serve, on a SageMaker of this machine."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.sagemaker import requests
from mlops_assets.deployment.sagemaker.requests import Record
from mlops_assets.deployment.spec import DeploymentSpec, RolloutSpec
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.deployment.targets.sagemaker import SageMaker
from mlops_assets.gateways.profile_store import inputs_path
from mlops_assets.monitoring import logged_profiles
from mlops_assets.monitoring.files import Found
from mlops_assets.serving import bundle
from mlops_assets_tests.builders import Built
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment import sagemaker_site
from mlops_assets_tests.deployment.sagemaker_site import BUCKET, ENDPOINT, Site
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.peers import sagemaker_stand_in

pytestmark = pytest.mark.peer

QUICK = RolloutSpec(
    steps=(20.0,), bake_s=2, timeout_s=180, interval_s=2, min_requests=60, slow_ms=5000
)
NOTHING: dict[str, list[str]] = {"endpoints": [], "configs": [], "models": []}
LEAST = {"kind": "sagemaker", "role": "arn:aws:iam::123456789012:role/a", "image": "b"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with sagemaker_site.running(tmp_path) as found:
        yield found


@pytest.fixture
def light(tmp_path: Path) -> Iterator[Site]:
    """The same with a program that starts at once."""
    with sagemaker_site.running(tmp_path, sagemaker_stand_in.program) as found:
        yield found


class TestSageMakerContract(TargetContract):
    kind = "sagemaker"

    @pytest.fixture
    def target(self, site):
        return site.target(environment=("A_TOKEN",))


class TestWhereAwsMovesTheTraffic(TestSageMakerContract):
    """The same where a candidate cannot stand beside the stable version."""

    @pytest.fixture
    def site(self, light):
        return light

    @pytest.fixture(
        params=[
            {"serverless": {"memory_mb": 2048}, "alarms": ("errors",), "bake_s": 5},
            {"canary_percent": 25, "instances": 2, "bake_s": 5},
        ],
        ids=["serverless", "canary"],
    )
    def target(self, site, request):
        return site.target(**request.param)


def test_the_requests_are_as_written_here(light: Site, one: Built) -> None:
    target = light.target(
        instance_type="ml.c7i.large",
        region="us-east-1",
        capture={"url": f"s3://{BUCKET}/captured", "percent": 20},
        subnets=("subnet-1",),
        security_groups=("sg-1",),
        environment=("A_TOKEN",),
    )
    manifest = target.render(light.release(one, 4), light.context)
    said = requests.model(manifest, "a-model", {"A_TOKEN": "value"})
    assert said["PrimaryContainer"] == {
        "Image": "serving:1",
        "ModelDataUrl": f"s3://{BUCKET}/bundles/{one.digest}.tar.gz",
        "Environment": {
            "A_TOKEN": "value",
            "MLOPS_BUNDLE": "/opt/ml/model",
            "MLOPS_BUNDLE_DIGEST": one.digest,
            "MLOPS_VERSION": "4",
            "MLOPS_RECORDING": json.dumps(manifest["recording"], separators=(",", ":")),
            "MLOPS_WORKERS": "1",
            "MLOPS_STARTUP_TIMEOUT_S": "300",
            "MLOPS_EMBEDDED_METRICS": '{"Endpoint": "mlops-churn", "Version": "a-model"}',
        },
    }
    assert said["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert requests.variant(manifest, "a-model") == {
        "VariantName": "v4",
        "ModelName": "a-model",
        "InitialVariantWeight": 1.0,
        "InstanceType": "ml.c7i.large",
        "InitialInstanceCount": 1,
        "ContainerStartupHealthCheckTimeoutInSeconds": 300,
    }
    record = Record(4, one.digest, "f" * 32, "", None, "mlops-churn-v3-00000000")
    config = requests.config(manifest, "a-config", [], record)
    assert config["DataCaptureConfig"]["DestinationS3Uri"] == f"s3://{BUCKET}/captured"
    assert Record.of(config["Tags"]) == record


@pytest.mark.parametrize("experiment", ["a", "a_b", "a_b_", "a" * 63, "churn_of_the_" + "x" * 50])
def test_names_are_those_that_sagemaker_takes(experiment: str) -> None:
    alone = requests.alone(experiment, 123_456, "f" * 32)
    beside = requests.beside(experiment, 123_456, "f" * 32, alone)
    for name in (requests.aside(experiment), requests.stopped(experiment), alone, beside):
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name), name
    assert requests.is_ours(alone, experiment)
    assert requests.is_ours(beside, experiment)
    assert not requests.is_ours(alone, f"{experiment}2")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"key_env": "KEYS"}, "IAM allows"),
        ({"subnets": ("subnet-1",)}, "go together"),
        ({"serverless": {}, "instances": 2}, "has no instances"),
        ({"serverless": {}, "capture": {"url": "s3://bucket/x"}}, "has no capture"),
        ({"canary_percent": 10}, "take two or more"),
        ({"alarms": tuple("abcdefghijk")}, "at most 10"),
        ({"role": "serving"}, "role"),
        ({"capture": {"url": "captured"}}, "url"),
    ],
)
def test_what_sagemaker_cannot_do_is_refused_in_the_yaml(settings: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SageMaker(**{**LEAST, **settings})


def test_steps_are_for_variants_only() -> None:
    assert DeploymentSpec(targets=(LEAST,), rollout={"steps": (5,)}).rollout.steps == (5,)
    with pytest.raises(ValidationError, match="all of the traffic at once"):
        DeploymentSpec(targets=({**LEAST, "serverless": {}},), rollout={"steps": (5,)})


def test_what_cannot_be_deployed_is_said_before_anything_is_made(light: Site, one: Built) -> None:
    release = light.release(one, 1)
    with pytest.raises(TargetError, match="from S3"):
        light.target().render(replace(release, archive_url="bundles/x.tar.gz"), light.context)
    columns = tuple(f"a-column-with-a-long-name-{number}" for number in range(40))
    recording = replace(release.recording, log_columns=columns)
    with pytest.raises(TargetError, match="1024 characters"):
        light.target().render(replace(release, recording=recording), light.context)
    with pytest.raises(RolloutError, match="NOBODY is not set"):
        light.deploy(one, 1, environment=("NOBODY",))
    assert light.left() == NOTHING


def test_a_new_version_gets_its_share_and_every_row_is_recorded(
    site: Site, one: Built, two: Built
) -> None:
    site.deploy(one, 1)
    with site.callers(one) as seen:
        outcome = site.deploy(two, 2, QUICK)
    (step,) = outcome.steps
    total = step.candidate.requests + step.stable.requests
    print(f"{step.candidate.requests} of {total} in {step.seconds:.1f} s")
    assert abs(step.candidate.requests - 0.2 * total) < 4 * (total * 0.2 * 0.8) ** 0.5
    assert set(seen) == {"1", "2"}, "a request failed"
    assert site.is_served_by(2)
    assert site.ask(two)["version"] == "2"
    seen["2"] += 1
    asked = {version: 2 * times for version, times in seen.items()}
    until(lambda: site.profiled() == asked, 30)
    assert site.store.files("predictions")


def test_mlflows_own_client_finds_and_asks_it(site: Site, one: Built, monkeypatch) -> None:
    import pandas as pd
    from mlflow.deployments import get_deploy_client

    for name, value in site.aws.credentials.items():
        monkeypatch.setenv(name, value)
    site.deploy(one, 1)
    client = get_deploy_client(f"sagemaker:/{site.aws.credentials['AWS_REGION']}")
    assert [found["EndpointName"] for found in client.list_deployments()] == [ENDPOINT]
    assert client.get_deployment(ENDPOINT)["EndpointStatus"] == "InService"
    frame = pd.DataFrame(one.records(5)).astype(object)
    said = client.predict(ENDPOINT, frame.where(frame.notna(), None)).get_predictions()
    assert list(bundle.read_golden(one.folder).predictions) in said.T.to_numpy().tolist()


def test_without_a_profile_the_requests_that_are_counted_tell_why(light: Site, one: Built) -> None:
    """SageMaker counts our own probes with them."""
    light.deploy(one, 1)
    found, told = light.why_nothing_came(1)
    assert found == "late window"
    assert light.why_nothing_came(1, told)[0] == "no traffic"
    assert light.target().ask("churn", 1, one.records(1), light.context).version == "1"
    found, probed = light.why_nothing_came(1, told, probes=1)
    assert (found, probed.requests) == ("no traffic", told.requests + 1)
    light.ask(one)
    light.ask(one)
    assert light.why_nothing_came(1, probed, probes=1)[0] == "dead log"


def test_requests_and_answers_are_captured(light: Site, one: Built) -> None:
    light.deploy(one, 1, capture={"url": f"s3://{BUCKET}/captured"})
    light.ask(one)
    folder = light.store.at(f"captured/{ENDPOINT}/v1")
    files = light.store.files(f"captured/{ENDPOINT}/v1")
    lines = [json.loads(light.store.read_bytes(f"{folder}/{file}")) for file in files]
    given = [json.loads(line["captureData"]["endpointInput"]["data"]) for line in lines]
    assert {"instances": one.records(2)} in given
    # What the platform captured tells as much of a window as a profile of the endpoint would.
    captures = light.target(capture={"url": f"s3://{BUCKET}/captured"}).captures("churn")
    assert captures is not None
    assert captures.share == 1
    found = captures.increments(light.store.storage_options, "sagemaker", seconds=3600)
    assert len(found) == len(files)
    told = {"schema": one.manifest.schema.to_json(), "entity": one.manifest.entity}
    light.store.write_json(inputs_path("churn", 1), told)
    counted = logged_profiles.count(
        light.store, "churn", 1, found[0].window, Found((), (), (*found,))
    )
    assert counted.unreadable == {}
    # The probe of the deployment is no traffic.
    assert counted.profile.rows == 2


def test_a_version_that_fails_is_rolled_back_at_its_first_step(
    light: Site, one: Built, two: Built
) -> None:
    light.deploy(one, 1)

    def spoil(line: str) -> None:
        if "20% of the traffic" in line:
            variant = light.peer.endpoints[ENDPOINT].fleet.variants["v2"]
            (variant.container.folder / "model" / sagemaker_stand_in.FAIL).touch()

    light.on_told = spoil
    with (
        light.callers(one) as seen,
        pytest.raises(RolloutError, match=r"errors in .*Version 1 still serves"),
    ):
        light.deploy(two, 2, QUICK)
    assert light.is_served_by(1)
    assert set(seen) <= {"1", "2", "ModelError"}
    assert 0 < seen["ModelError"] < seen["1"]


def test_an_alarm_takes_the_traffic_back(light: Site, one: Built, two: Built) -> None:
    light.alarm("OK")
    settings = {"alarms": ("errors",), "bake_s": 3}
    light.deploy(one, 1, **settings)
    endpoint = light.peer.endpoints[ENDPOINT]

    def share() -> float:
        found = endpoint.fleet.variants
        return found["v2"].weight if len(found) == 2 else 0.0

    for spec, when in ((QUICK, lambda: 0 < share() < 1), (RolloutSpec(), lambda: share() == 1)):
        with (
            light.meanwhile(when, lambda: light.alarm("ALARM")),
            pytest.raises(RolloutError, match=r"alarms are on: errors.*Version 1 still serves"),
        ):
            light.deploy(two, 2, spec, **settings)
        assert light.is_served_by(1)
        light.alarm("OK")
    assert light.deploy(two, 2, **settings).endpoint.version == 2
    assert light.is_served_by(2)


@pytest.mark.parametrize(
    "settings", [{"canary_percent": 25, "instances": 2}, {"serverless": {}}], ids=["canary", "all"]
)
def test_an_alarm_makes_aws_take_the_traffic_back(
    light: Site, one: Built, two: Built, settings: dict[str, Any]
) -> None:
    light.alarm("OK")
    settings = {**settings, "alarms": ("errors",), "bake_s": 200}
    light.deploy(one, 1, **settings)
    endpoint = light.peer.endpoints[ENDPOINT]
    with (
        light.meanwhile(lambda: endpoint.share > 0, lambda: light.alarm("ALARM")),
        pytest.raises(RolloutError, match=r"in ALARM state.*Version 1 still serves"),
    ):
        light.deploy(two, 2, **settings)
    assert light.is_served_by(1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"canary_percent": 25, "instances": 2}, {"serverless": {}}],
    ids=["variants", "canary", "all"],
)
def test_the_alarm_of_the_version_that_is_left_holds_no_rollback_up(
    light: Site, one: Built, two: Built, settings: dict[str, Any]
) -> None:
    light.alarm("OK")
    settings = {**settings, "alarms": ("errors",), "bake_s": 2}
    light.deploy(one, 1, **settings)
    light.deploy(two, 2, **settings)
    light.alarm("ALARM")
    with pytest.raises(RolloutError, match=r"Version 2 still serves"):
        light.deploy(one, 1, **settings)
    release, context = light.release(one, 1), light.context
    returned = light.roll_out(release, one, returns=True, **settings)
    assert returned.endpoint.version == 1
    assert light.is_served_by(1)
    target = light.target(**settings)
    assert target.serves(target.render(release, context), context) is not None, "as any other"


def test_a_first_version_that_does_not_start_leaves_nothing(light: Site, one: Built) -> None:
    light.peer.program = lambda _: (["false"], {})
    with pytest.raises(RolloutError, match=r"ping health check.*Nothing serves"):
        light.deploy(one, 1)
    assert light.left() == NOTHING
    assert light.target().observe("churn", light.context) is None


def test_what_is_retired_leaves_its_record_and_comes_back_at_once(
    light: Site, one: Built, two: Built
) -> None:
    light.deploy(one, 1)
    light.target().retire("churn", light.context)
    stopped = {**NOTHING, "configs": [f"stopped-{ENDPOINT}"]}
    assert light.left() == stopped
    light.peer.program = lambda _: (["false"], {})
    with pytest.raises(RolloutError, match="Nothing serves"):
        light.deploy(two, 2, serverless={})
    assert light.left() == stopped
    light.peer.program = sagemaker_stand_in.program
    outcome = light.deploy(two, 2, QUICK)
    assert (outcome.endpoint.previous_version, outcome.steps) == (1, ())
    assert light.is_served_by(2)
    with pytest.raises(RolloutError, match=r"stop it first.*Version 2 still serves"):
        light.deploy(one, 3, serverless={})
    assert light.is_served_by(2)


def test_new_settings_of_the_same_version_and_new_secrets_replace_it(
    light: Site, one: Built
) -> None:
    light.deploy(one, 1)
    settings = {"instances": 2, "environment": ("A_TOKEN",)}
    outcome = light.deploy(one, 1, **settings)
    assert (outcome.changed, outcome.endpoint.previous_version) == (True, None)
    assert light.is_served_by(1)
    light.variables["A_TOKEN"] = "another"
    assert light.deploy(one, 1, **settings).changed
    container = light.peer.endpoints[ENDPOINT].fleet.variants["v1"].container
    assert container.model["Environment"]["A_TOKEN"] == "another"
    assert light.is_served_by(1)
    light.control.delete_model(ModelName=light.left()["models"][0])
    assert light.deploy(one, 1, **settings).changed
    assert light.is_served_by(1)
