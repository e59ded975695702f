"""Bundles that several tests of this folder serve."""

import pytest

from mlops_assets.gateways.data_store import DataStore
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.monitoring.performance.served import Served


@pytest.fixture(scope="session")
def churn_bundle(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("churn") / "bundle")


@pytest.fixture
def served(tmp_path, churn_bundle):
    return Served(tmp_path, churn_bundle, DataStore(str(tmp_path / "data"), {}))


@pytest.fixture
def by_request(tmp_path, churn_bundle):
    return Served(tmp_path, churn_bundle, DataStore(str(tmp_path / "data"), {}), by="request")
