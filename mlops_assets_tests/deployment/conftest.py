"""Fixtures of the tests that deploy to AWS Lambda, on its peer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment import lambda_site
from mlops_assets_tests.deployment.lambda_site import Cloud, Site


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle", seed=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("two") / "bundle", seed=1)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with lambda_site.clouds() as found:
        yield found


@pytest.fixture
def site(cloud: Cloud, tmp_path: Path) -> Iterator[Site]:
    site = Site(root=tmp_path, cloud=cloud, environment={"A_TOKEN": TargetContract.SECRET})
    yield site
    site.clear()
    assert site.server.broken == []


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zips")


@pytest.fixture
def packed(zips: Path) -> Iterator[None]:
    """The real package, built once."""
    with lambda_site.packing(lambda_site.kept(zips)):
        yield


@pytest.fixture
def light() -> Iterator[None]:
    """Code that answers as the real package would, and starts in no time."""
    with lambda_site.packing(lambda_site.light):
        yield
