"""The target `aws_lambda` over the Lambda peer, with the real package under AWS's emulator."""

import json
import time
from collections import Counter

import httpx
import pytest
from pydantic import ValidationError

from mlops_assets.deployment.aws_lambda import package as lambda_package
from mlops_assets.deployment.counts import total
from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.aws_lambda import AwsLambda
from mlops_assets.deployment.targets.base import TargetContext, TargetError
from mlops_assets.serving.client import Client, EndpointError
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import CHARGES_OF_FAILURE, fails_below, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment import lambda_site
from mlops_assets_tests.deployment.deployer import calling
from mlops_assets_tests.deployment.lambda_site import BUCKET, NAME
from mlops_assets_tests.peers import aws_lambda

pytestmark = pytest.mark.peer

NOWHERE = lambda_site.Cloud(None, None, "arn:aws:iam::123456789012:role/churn")
CANARY = RolloutSpec(
    steps=(25,), bake_s=0, timeout_s=60, interval_s=0.02, min_requests=20, slow_ms=60
)


@pytest.mark.usefixtures("packed")
class TestLambdaContract(TargetContract):
    kind = "aws_lambda"


@pytest.mark.usefixtures("packed")
def test_the_real_package_answers_at_its_url_to_whom_has_a_key(site, one):
    site.variables["CHURN_KEYS"] = "a-key, another"
    peer, settings = site.peer, {"key_env": "CHURN_KEYS", "memory_mb": 2048}
    live = site.deploy(one, 1, **settings).endpoint
    peer.discard(NAME)
    times = []
    with Client(live.url, "another") as client:
        for _ in range(20):
            began = time.perf_counter()
            answer = client.predict(one.records(4))
            times.append(time.perf_counter() - began)
        assert (answer.version, answer.model) == ("1", "churn")
        with pytest.raises(EndpointError, match=r"400|422"):
            client.ask(b"no json")
        assert client.predict(one.records(1)).version == "1"
    with Client(live.url) as client, pytest.raises(EndpointError, match="401 unauthorized"):
        client.predict(one.records(1))
    print(f"cold {times[0]:.2f} s, warm {1000 * sorted(times[1:])[9]:.1f} ms")
    assert not site.deploy(one, 1, **settings).changed
    site.variables["CHURN_KEYS"] = "a-new-key"
    assert site.deploy(one, 1, **settings).changed
    with Client(live.url, "a-new-key") as client:
        assert client.predict(one.records(1)).version == "1"


def test_the_manifest_is_as_written_here(one, tmp_path):
    site = lambda_site.Site(root=tmp_path, cloud=NOWHERE)
    context = TargetContext(tmp_path, {}, {}, None, None)
    target = site.target(
        packaging="image", image="x/churn:{version}-{digest}", runtime="python3.12", bucket=None
    )
    assert target.render(site.release(one, 4), context) == {
        "experiment": "churn",
        "version": 4,
        "bundle_digest": one.digest,
        "function": "mlops-churn",
        "region": None,
        "role": "arn:aws:iam::123456789012:role/churn",
        "image": f"x/churn:4-{one.digest}",
        "bucket": None,
        "packages": [],
        "runtime": "python3.12",
        "architecture": "x86_64",
        "memory_mb": 1024,
        "timeout_s": 30,
        "provisioned_concurrency": None,
        "reserved_concurrency": None,
        "auth": "NONE",
        "environment": [],
        "key_env": None,
        "recording": {
            "profiles_url": "s3://code-of-functions/profiles",
            "window_seconds": 3600,
            "flush_seconds": 10.0,
            "log_url": None,
            "log_sample": 1.0,
            "log_columns": None,
        },
    }


def test_what_no_function_could_serve_is_refused_before_anything_is_asked(one, tmp_path):
    site = lambda_site.Site(root=tmp_path, cloud=NOWHERE)
    context = TargetContext(tmp_path, {}, {}, None, None)
    release = site.release(one, 1)
    here = type(release)("churn", 1, one.digest, "", Recording("/data/profiles", 3600))
    with pytest.raises(TargetError, match="MLOPS_DATA_URL"):
        site.target().render(here, context)
    long = type(release)("c" * 63, 1, one.digest, "", release.recording)
    with pytest.raises(TargetError, match="64 letters"):
        site.target().render(long, context)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"packaging": "image"}, "needs an image"),
        ({"image": "x/y:1"}, "packaging zip has none"),
        ({"environment": ("AWS_SECRET_ACCESS_KEY",)}, "is set by Lambda itself"),
        ({"provisioned_concurrency": 3, "reserved_concurrency": 5}, "below twice"),
        ({"role": "churn"}, "role"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    role = {"role": "arn:aws:iam::123456789012:role/churn"}
    with pytest.raises(ValidationError, match=words):
        AwsLambda(kind="aws_lambda", **{**role, **settings})


@pytest.mark.usefixtures("light")
def test_a_quarter_of_the_callers_at_the_url_get_the_candidate(site, one, two):
    live = site.deploy(one, 1).endpoint
    target, context = site.target(), site.context
    manifest = target.render(site.release(two, 2), context)
    target.apply(manifest, two.folder, context)
    assert site.versions_answering(live.url, 20) == {"1": 20}
    assert target.shift(manifest, 0.25, context) == 0.25
    assert target.observe("churn", context).traffic == {"1": 0.75, "2": 0.25}
    seen = site.versions_answering(live.url, 200)
    assert set(seen) == {"1", "2"}
    assert abs(seen["2"] - 50) < 4 * (200 * 0.25 * 0.75) ** 0.5, seen
    print(f"75/25 of 200: {dict(seen)}")
    counted = target.measure("churn", 1.0, context)
    assert {version: total(one.values()).requests for version, one in counted.items()} == {
        int(version): number for version, number in seen.items()
    }
    assert target.shift(manifest, 0.0, context) == 0.0
    assert site.versions_answering(live.url, 20) == {"1": 20}


@pytest.mark.usefixtures("light")
def test_without_a_profile_the_requests_that_are_counted_tell_why(site, one, two):
    """Also of a version that has all calls, of which Lambda counts those of the alias alone."""
    live = site.deploy(one, 1).endpoint
    _, deployed = site.why_nothing_came(1)
    assert site.versions_answering(live.url, 5) == {"1": 5}
    found, told = site.why_nothing_came(1)
    assert (found, told.requests) == ("late window", deployed.requests + 5)
    assert site.target().ask("churn", 1, one.records(1), site.context).version == "1"
    found, probed = site.why_nothing_came(1, told)
    assert (found, probed.requests) == ("no traffic", told.requests), "probes are none of them"
    assert site.versions_answering(live.url, 3) == {"1": 3}
    assert site.why_nothing_came(1, told)[0] == "dead log"
    manifest = site.target().render(site.release(two, 2), site.context)
    site.target().apply(manifest, two.folder, site.context)
    site.target().shift(manifest, 0.5, site.context)
    seen = site.versions_answering(live.url, 40)
    site.target().rollback(manifest, site.context)
    assert site.why_nothing_came(1)[1].requests == told.requests + 3 + 40, seen


@pytest.mark.usefixtures("light")
def test_a_canary_is_settled_under_load_and_its_environments_are_gone(site, one, two):
    live = site.deploy(one, 1).endpoint
    with site.load(live.url) as seen:
        outcome = site.deploy(two, 2, CANARY)
        after = site.versions_answering(live.url, 20)
    (step,) = outcome.steps
    assert step.candidate.requests >= 20
    assert step.stable.requests > step.candidate.requests
    assert after == {"2": 20}
    assert set(seen) == {"1", "2"}
    assert site.leads_to() == {"2": 1}
    assert site.versions() == {"1": 1, "2": 2}, "the one before stays, to come back to it"
    site.deploy(one, 3)
    assert site.versions() == {"2": 2, "3": 3}
    calls = len(site.server.calls)
    assert site.deploy(two, 2).endpoint.previous_version == 3
    asked = {call.operation for call in site.server.calls[calls:]}
    assert "UpdateFunctionCode" not in asked, "what is still there was sent again"


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize(
    ("harm", "words", "settings"),
    [
        ("error", "errors in", {}),
        ("slow", "answers slower than 60 ms in", {}),
        ("wrong", "version 9 answers, not 2", {}),
        ("init", r"it does not load", {}),
        ("timeout", "timed out after 1", {"timeout_s": 1}),
        ("memory", "(?i)killed|exit", {"memory_mb": 256}),
    ],
)
def test_what_does_harm_is_rolled_back_and_gone(site, one, two, harm, words, settings):
    live = site.deploy(one, 1).endpoint
    site.variables["HARM"] = harm
    with site.load(live.url) as seen, pytest.raises(RolloutError, match=words) as refused:
        site.deploy(two, 2, CANARY, environment=("HARM",), **settings)
    assert "Version 1 still serves" in str(refused.value)
    if harm != "error":
        assert set(seen) <= {"1", "2"}
    assert site.versions() == {"1": 1}
    assert site.leads_to() == {"1": 1}
    assert site.versions_answering(live.url, 5) == {"1": 5}


@pytest.mark.usefixtures("packed")
def test_a_version_that_fails_inside_is_rolled_back_by_its_errors(site, one, tmp_path):
    """Its golden requests are answered well: what callers ask makes it fail, and it knows that."""
    harmful = fails_below(make_bundle(tmp_path / "harmful", seed=1))
    spec = CANARY.model_copy(update={"slow_ms": 10_000})
    live = site.deploy(one, 1, memory_mb=2048).endpoint
    asked = {"instances": [{**one.records(1)[0], "charges": 2 * CHARGES_OF_FAILURE}]}

    def ask(seen: Counter[str]) -> None:
        with httpx.Client(timeout=60, trust_env=False) as asking:
            answer = asking.post(f"{live.url}/invocations", json=asked)
        good = answer.status_code == 200
        seen[answer.json()["version"] if good else str(answer.status_code)] += 1

    with calling(ask) as seen, pytest.raises(RolloutError, match=r"errors in") as refused:
        site.deploy(harmful, 2, spec, memory_mb=2048)
    assert "Version 1 still serves" in str(refused.value)
    assert set(seen) == {"1", "502"}, "AWS answers for an invocation that failed"
    assert site.versions() == {"1": 1}


@pytest.mark.usefixtures("light")
def test_who_is_let_in_follows_the_yaml(site, one):
    live = site.deploy(one, 1, function_url="iam").endpoint
    assert site.versions_answering(live.url, 1) == {"403": 1}
    assert site.target().ask("churn", 1, [], site.context).version == "1"
    opened = site.deploy(one, 1, function_url="none").endpoint
    assert (opened.url, site.versions_answering(live.url, 1)) == (live.url, {"1": 1})
    site.deploy(one, 1, function_url="iam")
    assert site.versions_answering(live.url, 1) == {"403": 1}
    with pytest.raises(site.client.exceptions.ResourceNotFoundException):
        site.client.get_policy(FunctionName=NAME, Qualifier="live")


@pytest.mark.usefixtures("light")
def test_environments_wait_for_the_live_version_alone_and_none_when_stopped(site, one, two):
    settings = {"provisioned_concurrency": 2, "reserved_concurrency": 5}

    def provisioned():
        listed = site.client.list_provisioned_concurrency_configs(FunctionName=NAME)
        return [
            one["FunctionArn"][-1]
            for one in listed["ProvisionedConcurrencyConfigs"]
            if one["Status"] == "READY"
        ]

    site.deploy(one, 1, **settings)
    assert provisioned() == ["1"]
    url = site.deploy(two, 2, **settings).endpoint.url
    assert provisioned() == ["2"]
    target, context = site.target(**settings), site.context
    assert target.retire("churn", context).state == "stopped"
    assert provisioned() == []
    with httpx.Client(trust_env=False) as asking:
        assert asking.post(f"{url}/invocations", json={}).status_code == 429
    site.variables["HARM"] = "wrong"
    with pytest.raises(RolloutError, match="Nothing serves"):
        site.deploy(one, 3, environment=("HARM",), **settings)
    assert target.observe("churn", context).state == "stopped", "it was to stay as it was"
    again = site.deploy(two, 2, **settings).endpoint
    assert (again.state, again.url, again.version) == ("live", url, 2)
    assert site.client.get_function_concurrency(FunctionName=NAME) is not None
    assert provisioned() == ["2"]


@pytest.mark.usefixtures("light")
def test_what_somebody_did_by_hand_is_told_and_mended(site, one, two):
    site.deploy(one, 1)
    live = site.deploy(two, 2).endpoint
    site.client.update_alias(FunctionName=NAME, Name="live", FunctionVersion="1")
    target, context = site.target(), site.context
    assert target.observe("churn", context).version == 1
    assert site.deploy(two, 2).changed
    assert target.observe("churn", context) == live
    site.client.delete_function_url_config(FunctionName=NAME, Qualifier="live")
    assert target.observe("churn", context).state == "failed"
    assert site.deploy(two, 2).endpoint.state == "live"
    site.client.update_alias(FunctionName=NAME, Name="live", Description="mine")
    with pytest.raises(TargetError, match="does not hold what was settled"):
        target.observe("churn", context)


@pytest.mark.usefixtures("light")
def test_a_function_of_somebody_else_is_left_alone(site, one):
    site.client.create_function(
        FunctionName=NAME,
        Runtime=lambda_site.RUNTIME,
        Handler="a.b",
        Role=site.cloud.role,
        Code={"ZipFile": aws_lambda.zipped({"a.py": "b = print"})},
    )
    with pytest.raises(TargetError, match="without the tag mlops/experiment=churn"):
        site.deploy(one, 1)
    assert [known.function_name for known in site.peer.backend.list_functions()] == [NAME]
    assert "UpdateFunctionCode" not in {call.operation for call in site.server.calls[-30:]}


@pytest.mark.usefixtures("light")
def test_a_large_zip_goes_through_the_bucket_which_is_empty_after(site, one, monkeypatch):
    monkeypatch.setattr(lambda_package, "LARGEST_UPLOAD", 10)
    with pytest.raises(TargetError, match="name a bucket"):
        site.deploy(one, 1, bucket=None)
    assert site.deploy(one, 1).endpoint.state == "live"
    listed = site.server.s3_client().list_objects_v2(Bucket=BUCKET, Prefix=NAME)
    assert listed["KeyCount"] == 0
    described = site.client.get_function_configuration(FunctionName=NAME, Qualifier="1")
    assert json.loads(described["Description"])["bundle"] == one.digest
