"""Fixtures that several rooms share."""

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets_tests.peers.missing import MissingError

if TYPE_CHECKING:
    from mlops_assets_tests.peers.containers import Containers
    from mlops_assets_tests.peers.kubernetes import Cluster
    from mlops_assets_tests.peers.postgres import Postgres

# Before any test imports MLflow: it reports usage and draws progress bars otherwise.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Before any test imports scikit-learn: threads of OpenMP that wait for one another would keep the
# processors busy, which other tests want; a fit of 0.9 s takes 12 s of a busy machine that way.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

T = TypeVar("T")
RUNNING = pytest.StashKey[ExitStack]()
"""The cluster, while it runs."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Looking for garbage among what is imported takes a fifth of the time, and finds none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests stay in one process when several share the work, the longest first: those that
    ask the one cluster and the one builder of images, and else those of a file. What waits for the
    clock begins with the first, beside what keeps the processors busy."""
    before = {"cluster": 0, "containers": 1, "clock": 2, "pipeline": 3}

    def turn(item: pytest.Item) -> int:
        return min((before.get(mark.name, 4) for mark in item.iter_markers()), default=4)

    items.sort(key=turn)
    for item in items:
        group = item.nodeid.partition("::")[0] if turn(item) > 1 else "cluster"
        item.add_marker(pytest.mark.xdist_group(group))


@contextmanager
def _or_skipped(peer: AbstractContextManager[T]) -> Iterator[T]:
    """An outside system; without it the tests that ask for it skip, and say what is missing."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(peer)
        except MissingError as error:
            pytest.skip(str(error))
        yield running


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database with its tables, which take seconds to make: copy it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ModelRegistry(f"sqlite:///{path}", str(path.parent), "").models()
    return path


@pytest.fixture
def model_registry(mlflow_template: Path, tmp_path: Path) -> ModelRegistry:
    """A real, empty MLflow store of this test's own."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    artifacts = str(tmp_path / "artifacts")
    return ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts, "http://127.0.0.1:5000")


@pytest.fixture(scope="module")
def postgresql() -> "Iterator[Postgres]":
    """A PostgreSQL server of this file's own."""
    from mlops_assets_tests.peers import postgres as peer

    with _or_skipped(peer.running()) as server:
        yield server


@pytest.fixture(scope="session")
def containers() -> "Iterator[Containers]":
    """What runs containers on this machine."""
    from mlops_assets_tests.peers import containers as peer

    with _or_skipped(peer.found()) as found:
        yield found


@pytest.fixture(scope="session")
def serving_image(containers: "Containers", tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of deploy/docker/Dockerfile, without a model."""
    from mlops_assets_tests.peers.containers import IMAGE

    arguments = {"VERSION": "0.0.test", "REVISION": "0" * 40}
    return containers.build(IMAGE, tmp_path_factory.mktemp("image"), **arguments)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    """A Kubernetes; its pods run only if a test of this session asks for `node`. It ends with the
    last test that may ask it: its programs take a tenth of the machine."""
    from mlops_assets_tests.peers import kubernetes

    node = any("node" in getattr(item, "fixturenames", ()) for item in request.session.items)
    with request.config.stash.setdefault(RUNNING, ExitStack()) as running:
        yield running.enter_context(_or_skipped(kubernetes.running(node=node)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    asked_again = nextitem is not None and nextitem.get_closest_marker("cluster")
    if RUNNING in item.config.stash and not asked_again:
        item.config.stash[RUNNING].close()


@pytest.fixture(scope="session")
def node(cluster: "Cluster") -> "Cluster":
    """The same, whose pods run."""
    if cluster.no_node:
        pytest.skip(cluster.no_node)
    return cluster
