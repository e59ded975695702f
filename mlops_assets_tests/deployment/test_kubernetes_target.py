"""The Kubernetes target over a real node: the serving image in its pods, bundles from S3."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets_tests.builders import Built, make_bundle, takes_long
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.deployment.kubernetes_place import Place, place, store_for_pods
from mlops_assets_tests.endpoints import Load, load, until
from mlops_assets_tests.peers import kube_proxy
from mlops_assets_tests.peers.containers import Containers
from mlops_assets_tests.peers.kubernetes import Cluster
from mlops_assets_tests.peers.s3 import S3

pytestmark = [pytest.mark.cluster, pytest.mark.containers, pytest.mark.peer]


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


STEP = RolloutSpec(
    steps=(50,), bake_s=2, timeout_s=60, interval_s=1, min_requests=40, slow_ms=5000,
    max_prediction_shift=1,
)  # fmt: skip


@contextmanager
def called(site: Place, built: Built) -> Iterator[Load]:
    """Callers of the Service, none of whom is refused."""
    with (
        kube_proxy.leading_to(site.cluster, site.namespace, "churn") as url,
        load(url, built) as found,
    ):
        yield found
    assert found.failures == []
    assert found.refused == 0


def test_a_version_takes_over_under_load_without_a_failed_request(site, one, two) -> None:
    site.deploy(one, 1, replicas=2)
    with called(site, one) as callers:
        outcome = site.deploy(two, 2, spec=STEP, replicas=2)
        before = callers.answered.copy()
        until(lambda: callers.answered["2"] > before["2"] + 100)
    assert (outcome.endpoint.version, outcome.endpoint.previous_version) == (2, 1)
    (step,) = outcome.steps
    assert step.given == 0.5
    assert step.candidate.requests >= 40
    assert step.stable.requests > 0
    assert callers.answered["1"] > 100


def test_what_is_not_fit_is_rolled_back_while_the_old_version_answers(site, one, two) -> None:
    site.deploy(one, 1)
    there = site.names()
    silent = socket.create_server((urlsplit(site.store.endpoint).hostname, 0))
    nowhere = {**site.settings["environment"], "AWS_ENDPOINT_URL": _url(silent)}
    with silent, called(site, one) as callers:
        with pytest.raises(RolloutError, match=r"(?s)0 of 1 pods ready.*Version 1 still serves"):
            site.deploy(two, 2, environment=nowhere, startup_timeout_s=5)
        with pytest.raises(
            RolloutError, match=r"(?s)does not answer its golden requests.*Version 1"
        ):
            site.roll_out(site.release(two, 2), one)
        with pytest.raises(RolloutError, match=r"(?s)its last lines:.*was to be served.*Version 1"):
            site.roll_out(replace(site.release(two, 2), bundle_digest="0" * 64), two)
    assert set(callers.answered) == {"1"}
    assert site.names() == there


def test_a_slow_version_is_rolled_back_and_a_fast_one_is_not(site, one, two, tmp_path) -> None:
    """The same model twice, once such that an answer takes its time."""
    slow = takes_long(make_bundle(tmp_path / "slow", seed=1))
    site.deploy(one, 1)
    there = site.names()
    spec = STEP.model_copy(update={"slow_ms": 50.0})
    with called(site, one) as callers:
        with pytest.raises(RolloutError, match="Version 1 still serves") as refused:
            site.deploy(slow, 2, spec=spec)
        print(refused.value)
        seen = callers.answered.copy()
        assert seen["2"] > 0, "it never had a share of the traffic"
        assert site.names() == there
        # What was under way is answered by then.
        until(lambda: callers.answered["1"] > seen["1"] + 150)
        after = callers.answered.copy()
        until(lambda: callers.answered["1"] > after["1"] + 150)
        assert callers.answered["2"] == after["2"]
        assert site.deploy(two, 3, spec=spec).endpoint.version == 3
    words = r"rolled back: at 50% of the traffic, answers slower than 50 ms in (\d+)\.\d+% of \d+, "
    words += r"beside (\d+)\.\d+% of \d+ of the stable version: more than the 5\.00% allowed"
    found = re.search(words, str(refused.value))
    assert found, str(refused.value)
    assert int(found[1]) > 5 + int(found[2])


def test_a_deployment_that_is_killed_is_finished_by_the_next(site, one, two) -> None:
    site.deploy(one, 1)
    with called(site, one) as callers:
        for last, stage, golden in (
            ("rolls version 2 back", "rolling_back", one),
            ("version 2: ", "bringing_up", two),
            ("has 50%", "shifting", two),
            ("is settled", "settling", two),
        ):
            _killed_after(last, site, two, golden)
            assert site.journal.read().stage == stage
        outcome = site.deploy(two, 2, spec=STEP)
        until(lambda: callers.answered["2"] > 100)
    assert outcome.endpoint.version == 2
    assert len([name for name in site.names() if name.startswith("deployment")]) == 1


def _killed_after(words: str, site: Place, built: Built, golden: Built) -> None:
    """A process that deploys version 2, expects these answers, and dies when it says so."""
    given = [words, site.kubeconfig, site.namespace, site.root, site.store.endpoint]
    given += [json.dumps(site.settings), built.folder, built.digest, golden.folder]
    ended = subprocess.run([sys.executable, "-c", DEPLOYER, *map(str, given)], timeout=240)
    assert ended.returncode == -signal.SIGKILL, "it ended before"


DEPLOYER = """
import json, os, signal, sys
from pathlib import Path
from mlops_assets_tests.builders import Built
from mlops_assets_tests.deployment import test_kubernetes_target as tests
from mlops_assets_tests.deployment.kubernetes_place import Place
from mlops_assets_tests.peers.kubernetes import Cluster
from mlops_assets_tests.peers.s3 import S3

class Told(list):
    def append(self, words):
        if last in words:
            os.kill(os.getpid(), signal.SIGKILL)

last, kubeconfig, namespace, root, store, settings, folder, digest, golden = sys.argv[1:]
place = Place(
    root=Path(root),
    cluster=Cluster(Path(kubeconfig), "", ()),
    kubeconfig=Path(kubeconfig),
    namespace=namespace,
    store=S3(store),
    settings=json.loads(settings),
    told=Told(),
)
built = Built(Path(folder), digest, None, None, {})
expected = Built(Path(golden), digest, None, None, {})
place.roll_out(place.release(built, 2), expected, tests.STEP)
"""


def _url(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"http://{host}:{port}"
