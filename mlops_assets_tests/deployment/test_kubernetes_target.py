"""The Kubernetes target over a real node: the serving image in its pods, bundles from S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment.kubernetes_place import Place, place, store_for_pods
from mlops_assets_tests.peers.containers import Containers
from mlops_assets_tests.peers.kubernetes import Cluster
from mlops_assets_tests.peers.s3 import S3

pytestmark = [pytest.mark.cluster, pytest.mark.containers, pytest.mark.peer]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle", seed=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("two") / "bundle", seed=1)


@pytest.fixture(scope="module")
def image(node: Cluster, containers: Containers, serving_image: str, tmp_path_factory) -> str:
    node.load(containers.save(serving_image, tmp_path_factory.mktemp("image") / "image.tar"))
    return serving_image


@pytest.fixture(scope="module")
def store(node: Cluster, image: str) -> Iterator[S3]:
    with store_for_pods(node, image) as found:
        yield found


@pytest.fixture
def site(node: Cluster, store: S3, image: str, tmp_path: Path) -> Iterator[Place]:
    with place(node, tmp_path, store, image) as found:
        yield found


class TestKubernetesContract(TargetContract):
    kind = "kubernetes"

    @pytest.fixture
    def target(self, site):
        return site.target()

    @pytest.fixture
    def context(self, site):
        return site.context

    @pytest.fixture
    def builts(self, one, two):
        return one, two

    @pytest.fixture
    def releases(self, site, one, two):
        return site.release(one, 1), site.release(two, 2)
