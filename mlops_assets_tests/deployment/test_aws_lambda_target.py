"""The target `aws_lambda` over the Lambda peer, with the real package under AWS's emulator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets_tests import lambdas
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.lambdas import Site
from mlops_assets_tests.peers import aws, aws_lambda, emulator

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle", seed=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("two") / "bundle", seed=1)


@pytest.fixture(scope="module")
def place() -> Iterator[tuple]:
    try:
        emulator.fetched()
    except emulator.UnavailableError as error:
        pytest.skip(str(error))
    with aws.running() as server, aws_lambda.running(server, settling=0.0) as peer:
        server.s3.create_bucket(lambdas.BUCKET)
        yield server, peer, server.role("of-functions")


@pytest.fixture
def site(place, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, *place, environment={"A_TOKEN": TargetContract.SECRET})
    yield site
    site.clear()
    assert site.server.broken == []


@pytest.fixture(scope="module")
def zips(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("zips")


@pytest.fixture
def packed(zips) -> Iterator[None]:
    """The real package, built once for each bundle."""
    with lambdas.packing(lambdas.kept(zips)):
        yield


@pytest.mark.usefixtures("packed")
class TestLambdaContract(TargetContract):
    kind = "aws_lambda"

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
