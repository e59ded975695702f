import pytest

from mlops_assets_tests.builders import Built, make_bundle


@pytest.fixture(scope="session")
def binary(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("binary") / "bundle")


@pytest.fixture(scope="session")
def multiclass(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("multiclass") / "bundle"
    return make_bundle(folder, task="multiclass_classification")


@pytest.fixture(scope="session")
def regression(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("regression") / "bundle", task="regression")


@pytest.fixture(scope="session")
def executed_by_sklearn(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("sklearn") / "bundle"
    return make_bundle(folder, executed_by="sklearn")
