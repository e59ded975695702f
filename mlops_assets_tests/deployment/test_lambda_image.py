"""Functions on AWS Lambda that are images of ours: their contents, and the target over its peer."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.monitoring import profiles
from mlops_assets.serving import bundle
from mlops_assets.serving.client import Client
from mlops_assets_tests.builders import Built
from mlops_assets_tests.deployment import lambda_site
from mlops_assets_tests.deployment.lambda_site import BUCKET, NAME, Cloud, Site
from mlops_assets_tests.endpoints import load, until
from mlops_assets_tests.peers.containers import Containers

pytestmark = [pytest.mark.containers, pytest.mark.peer]

IMAGE = "localhost/mlops-lambda-test"
NAMED = {"packaging": "image", "image": f"{IMAGE}:{{version}}-{{digest}}", "timeout_s": 60}
CANARY = RolloutSpec(
    steps=(25,), bake_s=0, timeout_s=60, interval_s=0.1, min_requests=10, slow_ms=10_000
)
ABSENT = (
    "uvicorn", "uvloop", "httptools", "boto3", "dagster", "mlflow", "pandas", "sklearn", "pip",
    "setuptools", "mlops_assets.deployment",
)  # fmt: skip


@pytest.fixture(scope="module")
def cloud(containers: Containers) -> Iterator[Cloud]:
    with lambda_site.clouds(containers) as found:
        yield found


@pytest.fixture(scope="module")
def images(containers: Containers, one: Built, two: Built, tmp_path_factory) -> tuple[str, str]:
    """Versions 1 and 2, each with its bundle."""

    def build(built: Built, version: int) -> str:
        name = f"{IMAGE}:{version}-{built.digest}"
        folder, said = tmp_path_factory.mktemp("context"), {"VERSION": "0.0.test"}
        return containers.build(name, folder, target="lambda", bundle=built.folder, **said)

    return build(one, 1), build(two, 2)


@pytest.fixture
def deployed(site: Site, images: tuple[str, str], one: Built) -> Site:
    """Version 1 is live, from its image."""
    site.deploy(one, 1, **NAMED)
    return site


@pytest.mark.parametrize(("flush_seconds", "events"), [(0, 20), (3600, 1)])
def test_it_answers_its_golden_requests_and_what_it_records_arrives(
    cloud, images, one, flush_seconds, events
) -> None:
    """Of every event, or of the first one alone where the next flush is far away."""
    starts, to = cloud.peer.starts, f"golden-{flush_seconds}"
    client, golden = cloud.server.client("lambda"), bundle.read_golden(one.folder)
    recording = {
        "profiles_url": f"s3://{BUCKET}/{to}/profiles",
        "log_url": f"s3://{BUCKET}/{to}/log",
        "window_seconds": 3600,
        "flush_seconds": flush_seconds,
    }
    told = {
        "MLOPS_BUNDLE_DIGEST": one.digest,
        "MLOPS_VERSION": "7",
        "MLOPS_RECORDING": json.dumps(recording),
    }
    client.create_function(
        FunctionName=to,
        PackageType="Image",
        Code={"ImageUri": images[0]},
        Role=cloud.role,
        MemorySize=1024,
        Timeout=60,
        Environment={"Variables": told},
    )
    body, times = json.dumps({"instances": golden.records}), []
    for _ in range(20):
        began = time.perf_counter()
        answer = client.invoke(FunctionName=to, Payload=body)
        times.append(time.perf_counter() - began)
        content = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, content
        assert content["version"] == "7"
        assert content["predictions"] == list(golden.predictions)
        assert np.allclose(content["probabilities"], golden.probabilities)
    assert cloud.peer.starts == starts + 1
    print(f"cold {times[0]:.2f} s, warm {1000 * sorted(times[1:])[9]:.1f} ms")
    assert _rows(cloud, f"{to}/profiles/") == events * len(golden.records)
    assert len(_objects(cloud, f"{to}/log/")) == events
    client.delete_function(FunctionName=to)


def test_a_version_takes_over_from_another_image_while_callers_ask(deployed, one, two) -> None:
    site = deployed
    live = site.target(**NAMED).observe("churn", site.context)
    with Client(live.url) as asking:
        assert asking.predict(two.records(4)).version == "1"
    with load(live.url, one) as callers:
        outcome = site.deploy(two, 2, CANARY, **NAMED)
        before = callers.answered["2"]
        until(lambda: callers.answered["2"] > before + 60)
    assert (callers.failures, callers.refused) == ([], 0)
    assert set(callers.answered) == {"1", "2"}
    assert (outcome.endpoint.version, outcome.endpoint.previous_version) == (2, 1)
    (step,) = outcome.steps
    assert step.candidate.requests >= 10
    with Client(live.url) as asking:
        answer = asking.predict(two.records(4))
    assert answer.version == "2"
    assert np.allclose(answer.probabilities, two.expected(4))
    made_of = {env.function.version: env.function.image for env in site.peer.environments}
    assert len(set(made_of.values())) == 2, f"each version is an image of its own: {made_of}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": f"{IMAGE}:never-pushed"}, "never-pushed does not exist"),
        ({"image": f"{IMAGE}:1-{{stable}}"}, "was to be served"),
    ],
)
def test_an_image_that_is_not_there_or_holds_another_bundle_is_refused(
    deployed, one, two, changes, words
) -> None:
    site = deployed
    live = site.target(**NAMED).observe("churn", site.context)
    image = changes["image"].replace("{stable}", one.digest)
    with pytest.raises(RolloutError, match=words) as refused:
        site.deploy(two, 2, **{**NAMED, "image": image})
    assert "Version 1 still serves" in str(refused.value)
    assert site.versions() == {"1": 1}
    with Client(live.url) as asking:
        assert asking.predict(one.records(3)).version == "1"


def test_a_name_that_is_moved_moves_no_function(deployed, containers, images, one) -> None:
    """Lambda keeps the image that a name meant when the version was made."""
    site, (first, second) = deployed, images
    own = containers.run("image", "inspect", "--format", "{{.Id}}", first)
    containers.run("tag", second, first)
    try:
        site.peer.discard(NAME)
        with Client(site.target(**NAMED).observe("churn", site.context).url) as asking:
            answer = asking.predict(one.records(3))
    finally:
        containers.run("tag", own, first)
    assert np.allclose(answer.probabilities, one.expected(3))


def test_the_image_is_slim_without_rights_and_readable_by_whom_lambda_runs_it_as(
    containers, images
) -> None:
    (found,) = json.loads(containers.run("image", "inspect", images[0]))
    config = found["Config"]
    assert (config["User"], config["WorkingDir"]) == ("10001:10001", "/opt/room")
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    assert (labels["title"], labels["version"]) == ("mlops-lambda", "0.0.test")
    assert not found.get("Healthcheck")
    program = (
        f"import importlib.util as u; print([n for n in {ABSENT!r} if u.find_spec(n)]); "
        "from mlops_assets.serving import aws_lambda; print(callable(aws_lambda.handler))"
    )
    asked = ("run", "--rm", "--read-only", "--tmpfs=/tmp", "--user=993:990", "--cap-drop=all")
    said = containers.run(*asked, "--entrypoint=python", images[0], "-c", program)
    assert said.splitlines()[-2:] == ["[]", "True"]


def test_without_a_bundle_there_is_no_image(containers, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a bundle is baked in"):
        containers.build(f"{IMAGE}:none", tmp_path, target="lambda")


def _objects(cloud: Cloud, prefix: str) -> list[bytes]:
    s3 = cloud.server.s3_client()
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed]


def _rows(cloud: Cloud, prefix: str) -> int:
    return sum(profiles.rows(profiles.deserialize(one)) for one in _objects(cloud, prefix))
