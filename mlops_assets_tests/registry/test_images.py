"""Images of versions are removed with them: a function's past in an MLflow store and in ECR."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.gateways.aws import CloudError
from mlops_assets.gateways.images import VersionImages
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.registry import report
from mlops_assets_tests.endpoints import Place
from mlops_assets_tests.peers import aws
from mlops_assets_tests.peers.aws import Aws
from mlops_assets_tests.peers.s3 import REGION
from mlops_assets_tests.registry import past as builder
from mlops_assets_tests.registry.past import Past, run_job

NUMBERS = itertools.count(1)
KEPT = {3, 6, 7, 8}
"""Of eight versions: live, the newest two, and one that is younger than three days."""


@pytest.fixture(scope="module")
def account() -> Iterator[Aws]:
    with aws.running() as server:
        yield server


@dataclass
class Store:
    """A repository of its own for each test."""

    server: Aws
    name: str

    @property
    def uri(self) -> str:
        return f"{self.server.account}.dkr.ecr.{REGION}.amazonaws.com/{self.name}"

    def push(self, tag: str, *, content: str = "") -> None:
        layer = {"mediaType": "layer", "size": 1, "digest": "sha256:1"}
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        config = {"mediaType": "config", "size": 1_000_000, "digest": f"sha256:{content or tag}"}
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}
        self.server.client("ecr").put_image(
            repositoryName=self.name, imageManifest=json.dumps(manifest), imageTag=tag
        )

    @property
    def tags(self) -> set[str]:
        said = self.server.client("ecr").describe_images(repositoryName=self.name)
        return {tag for one in said["imageDetails"] for tag in one["imageTags"]}

    def of(self, template: str) -> VersionImages:
        found = VersionImages.of(f"{self.uri}:{template}", self.server.credentials)
        assert found is not None
        return found


@pytest.fixture
def store(account: Aws) -> Store:
    made = Store(account, f"mlops-lambda-{next(NUMBERS)}")
    account.client("ecr").create_repository(repositoryName=made.name)
    account.faults.clear()
    return made


@pytest.fixture
def small(tmp_path: Path, model_registry: ModelRegistry) -> Past:
    return builder.make(tmp_path, model_registry, "churn", 8, keep_versions=2, keep_days=3)


def on_lambda(past: Past, image: str) -> Past:
    target = {"kind": "aws_lambda", "role": "arn:aws:iam::123456789012:role/churn"}
    described = past.experiment.model_dump(mode="json")
    described["deployment"]["targets"] = [{**target, "packaging": "image", "image": image}]
    return replace(past, experiment=type(past.experiment).model_validate(described))


def retained(past: Past, store: Store, *, apply: bool) -> dg.ExecuteInProcessResult:
    place = Place(past.root, variables=store.server.credentials)
    return run_job(
        past.stores, place, dg.DagsterInstance.ephemeral(), [past.experiment],
        lambda *_: {3: "live on aws_lambda"}, apply=apply,
    )  # fmt: skip


def test_images_go_with_their_versions_and_no_others(small: Past, store: Store) -> None:
    past = on_lambda(small, f"{store.uri}:{{version}}")
    others = {"latest", "v1", "churn-1"}
    for tag in (*map(str, past.made), *others):
        store.push(tag)
    assert retained(past, store, apply=False).success
    told = report.read(past.stores.data, "churn")
    assert told is not None
    assert (told.applied, told.images) == (False, 4)
    assert told.bytes > 4_000_000
    assert store.tags == {*map(str, past.made)} | others, "a dry run removes nothing"
    assert retained(past, store, apply=True).success
    assert past.registered == KEPT
    assert store.tags == {*map(str, KEPT)} | others


def test_an_image_that_a_kept_version_has_too_stays(small: Past, store: Store) -> None:
    """By the digest of the bundle, which two versions share; and one image with two tags."""
    past = on_lambda(small, f"{store.uri}:{{digest}}")
    digests = {
        one: past.registry.version("churn", one).tags["mlops.bundle_digest"] for one in past.made
    }
    past.registry.client.set_model_version_tag("churn", "1", "mlops.bundle_digest", digests[8])
    for number in past.made:
        store.push(digests[number], content="same" if number in (2, 7) else "")
    assert retained(past, store, apply=True).success
    assert store.tags == {digests[1], *(digests[number] for number in KEPT)}


def test_what_another_experiment_has_in_the_same_repository_stays(
    small: Past, store: Store
) -> None:
    """Its version 2 has an image, and ours was deleted long ago."""
    past = on_lambda(small, f"{store.uri}:{{version}}-{{digest}}")
    past.registry.client.delete_model_version("churn", "2")
    images = store.of("{version}-{digest}")
    digest = past.registry.version("churn", 1).tags["mlops.bundle_digest"]
    others = {images.tag(2, "c0ffee"), images.tag(1, "c0ffee"), images.tag(9, digest)}
    for tag in (*others, images.tag(1, digest)):
        store.push(tag)
    assert retained(past, store, apply=True).success
    assert store.tags == others


@pytest.mark.parametrize("operation", ["DescribeImages", "BatchDeleteImage"])
def test_a_repository_that_refuses_ends_the_run_and_the_next_one_finishes(
    small: Past, store: Store, operation: str
) -> None:
    past = on_lambda(small, f"{store.uri}:{{version}}-{{digest}}")
    images = store.of("{version}-{digest}")
    for number in past.made:
        digest = past.registry.version("churn", number).tags["mlops.bundle_digest"]
        store.push(images.tag(number, digest))
    store.server.fail(operation, "AccessDeniedException", times=10)
    done = retained(past, store, apply=True)
    assert not done.success
    assert past.registered == set(past.made), "a version must not go before its image"
    store.server.faults.clear()
    assert retained(past, store, apply=True).success
    assert past.registered == KEPT
    assert {int(tag.partition("-")[0]) for tag in store.tags} == KEPT


def test_a_repository_that_is_not_there_holds_no_image(store: Store) -> None:
    images = VersionImages.of(f"{store.uri}-none:{{version}}", store.server.credentials)
    assert images is not None
    assert images.sizes() == {}


def test_a_tag_that_is_gone_is_left_at_that_and_another_failure_told(store: Store) -> None:
    images = store.of("{version}")
    images.remove("1")
    refused = {"imageId": {"imageTag": "1"}, "failureCode": "ImageReferencedByManifestList"}
    answers = store.server.answers
    answers["ecr", "BatchDeleteImage"] = lambda _: {
        "imageIds": [], "failures": [{**refused, "failureReason": "an index names it"}]
    }  # fmt: skip
    try:
        with pytest.raises(CloudError, match="an index names it"):
            images.remove("1")
    finally:
        del answers["ecr", "BatchDeleteImage"]


@pytest.mark.parametrize(
    "template",
    [
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/serving:0.1.0",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/serving-{version}:0.1.0",
        "localhost/serving:{version}",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/serving",
    ],
)
def test_only_tags_of_ecr_name_versions(template: str) -> None:
    assert VersionImages.of(template, {}) is None
