"""The Kubernetes target when the API server fails or refuses, and when its process dies.

Over a real control plane; pods are played, and their answers are made here.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.deployment.kubernetes import trouble
from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.targets.base import TargetContext, TargetError
from mlops_assets.deployment.targets.kubernetes import Kubernetes
from mlops_assets.gateways.kubernetes import PAUSES, Call, ClusterError, Reply, Send
from mlops_assets.serving import bundle
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.deployment.kubernetes_place import Place, place
from mlops_assets_tests.fakes.target import KilledError
from mlops_assets_tests.peers import kubelet
from mlops_assets_tests.peers.kubernetes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.peer]

HASTE = 10
"""How much faster than real the target waits."""
PODS = 2


@dataclass
class Line:
    """A connection to the API server on which calls fail; behind it pods that answer."""

    real: Send
    builts: dict[int, Built]
    at: int = 0
    """Number of the call that fails, counting changes; 0 for none."""
    how: str = ""
    """A status; `silent`, or `lost` after it took effect; `killed`, or `killed_after`."""
    times: int = 0
    """How many attempts fail, from that one on."""
    questions: bool = False
    """Whether questions count as well as changes."""
    watch: Callable[[], None] = lambda: None
    """Called after each change."""
    wrong: set[int] = field(default_factory=set)
    """Versions that answer otherwise than in training."""
    calls: list[str] = field(default_factory=list)
    routes: dict[str, Any] | None = None
    """HTTPRoutes by name, which the cluster itself does not know; None for none."""

    def __call__(self, call: Call) -> Reply:
        if self.routes is not None and call.path.rpartition("/")[2] == "apis":
            return self._groups(call)
        if self.routes is not None and "/httproutes" in call.path:
            return self._routes(call)
        if "/proxy/" in call.path:
            return self._pod(call)
        if "/endpoints/" in call.path:
            return self._endpoints(call)
        if call.method == "GET" and not self.questions:
            return self.real(call)
        self.calls.append(f"{call.method} {call.path}")
        if not 0 <= len(self.calls) - self.at < self.times:
            reply = self.real(call)
            if call.method != "GET":
                self.watch()
            return reply
        if self.how in ("lost", "killed_after"):
            self.real(call)
        if self.how.startswith("killed"):
            raise KilledError(self.calls[-1])
        if self.how in ("silent", "lost"):
            raise ClusterError("the API server does not answer: it is not there")
        said = {"kind": "Status", "message": f"injected {self.how}"}
        return Reply(int(self.how), json.dumps(said).encode())

    def _endpoints(self, call: Call) -> Reply:
        """The cluster's controller names no pods that have no node."""
        service = self.real(Call("GET", call.path.replace("/endpoints/", "/services/")))
        if service.status != 200:
            return service
        selector = json.loads(service.body)["spec"]["selector"]
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        path = call.path.rpartition("/endpoints/")[0] + "/pods"
        pods = json.loads(self.real(Call("GET", path, {"labelSelector": labels})).body)["items"]
        there = [{"targetRef": pod["metadata"]} for pod in pods if trouble.is_ready(pod)]
        return Reply(200, json.dumps({"subsets": [{"addresses": there}]}).encode())

    def _groups(self, call: Call) -> Reply:
        found = json.loads(self.real(call).body)
        group = {"groupVersion": "gateway.networking.k8s.io/v1"}
        found["groups"].append({"versions": [group]})
        return Reply(200, json.dumps(found).encode())

    def _routes(self, call: Call) -> Reply:
        name = call.path.partition("/httproutes/")[2]
        if call.method != "GET":
            self.calls.append(f"{call.method} {call.path}")
        if call.method == "PATCH":
            self.routes[name] = json.loads(call.body)
        found = self.routes.get(name) if name else {"items": [*self.routes.values()]}
        if call.method == "DELETE":
            self.routes.pop(name, None)
        return Reply(404 if found is None else 200, json.dumps(found or {}).encode())

    def _pod(self, call: Call) -> Reply:
        if call.method == "GET":
            return Reply(200, b"")
        version = int(call.path.split("/pods/churn-v")[1].split("-")[0])
        golden = bundle.read_golden(self.builts[version].folder)
        rows = [list(row) for row in golden.probabilities]
        content = {
            "predictions": list(golden.predictions),
            "probabilities": [row[::-1] for row in rows] if version in self.wrong else rows,
            "version": str(version),
        }
        return Reply(200, json.dumps(content).encode())


class Faulty(Kubernetes):
    """The target, over such a line."""

    line: Any

    def connection(self, context: TargetContext) -> Send:
        return self.line


@dataclass
class Stage(Place):
    """A place whose pods are played."""

    line: Any = None
    slept: list[tuple[int, float]] = field(default_factory=list)
    """How many calls there had been, and for how long."""

    @property
    def context(self) -> TargetContext:
        return replace(super().context, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append((len(self.line.calls), seconds))
        time.sleep(seconds / HASTE)

    def target(self, **more: Any) -> Kubernetes:
        plain = super().target(**{"replicas": PODS, **more})
        return Faulty(**plain.model_dump(), line=self.line)

    def go(self, version: int, **more: Any) -> Any:
        return self.deploy(self.line.builts[version], version, **more)

    def fails(self, at: int, how: str, times: int) -> None:
        self.line.at, self.line.how, self.line.times = at, how, times
        self.line.calls.clear()

    def get(self, path: str) -> Any:
        reply = self.line.real(Call("GET", f"/api/v1/namespaces/{self.namespace}/{path}"))
        assert reply.status == 200, reply
        return json.loads(reply.body)

    def pods(self) -> dict[str, dict[str, Any]]:
        """Those that are ready and stay, by their uid."""
        pods = self.get("pods")["items"]
        return {pod["metadata"]["uid"]: pod for pod in pods if trouble.is_ready(pod)}

    def behind_service(self) -> list[dict[str, Any]]:
        selector = self.get("services/churn")["spec"]["selector"]
        return [
            pod for pod in self.pods().values()
            if selector.items() <= pod["metadata"]["labels"].items()
        ]  # fmt: skip

    def assert_alone(self, version: int) -> None:
        """This version serves, and of no other is anything left."""
        observed = self.target().observe("churn", self.context)
        assert (observed.version, observed.state, observed.traffic) == (version, "live", {})
        names = self.names()
        releases = {
            name.rpartition("-")[2] for name in names if name.startswith("deployment.apps/")
        }
        assert len(releases) == 1, names
        assert len(names) == 7, names
        assert len(self.behind_service()) == len(self.pods()) == PODS


@pytest.fixture(scope="module")
def builts(tmp_path_factory) -> dict[int, Built]:
    folder = tmp_path_factory.mktemp("bundles")
    return {version: make_bundle(folder / str(version), seed=version) for version in (1, 2)}


@pytest.fixture
def stage(cluster: Cluster, builts, tmp_path: Path) -> Iterator[Stage]:
    with place(cluster, tmp_path, None, "serving:good") as found:
        line = Line(found.target().connection(found.context), builts)
        with kubelet.played(
            cluster, found.namespace, never_ready=lambda image: image.endswith(":bad")
        ):
            yield Stage(**vars(found), line=line)


def test_callers_are_answered_whatever_call_fails(stage: Stage) -> None:
    """Each change of a deployment fails once, in one way or another, and some of its questions."""
    stage.go(1)
    stage.assert_alone(1)
    stage.fails(0, "", 0)
    stage.go(2)
    changes = len(stage.line.calls)
    assert changes > 10
    stage.assert_alone(2)
    ways = [
        ("500", len(PAUSES) + 1), ("killed", 1), ("lost", len(PAUSES) + 1), ("killed_after", 1),
        ("silent", len(PAUSES) + 1), ("429", 1), ("409", len(PAUSES) + 1),
    ]  # fmt: skip
    cases = [(False, number, *ways[number % len(ways)]) for number in range(1, changes + 1)]
    cases += [(True, number, "500", len(PAUSES) + 1) for number in (2, 9, 30)]

    def answered() -> None:
        assert len(stage.behind_service()) >= PODS, "fewer pods than callers need"

    stable, candidate, ended = 2, 1, set()
    for questions, number, how, times in cases:
        stage.fails(number, how, times)
        stage.line.questions = questions
        stage.line.watch = answered
        before = stage.pods().keys()
        try:
            stage.go(candidate)
            ended.add("went on")
        except RolloutError:
            ended.add("rolled back")
            assert before == stage.pods().keys(), "the stable version's pods were touched"
            stage.assert_alone(stable)
        except (TargetError, KilledError):
            ended.add("unknown")
        answered()
        stage.line.watch = lambda: None
        stage.fails(0, "", 0)
        stage.go(candidate)
        stage.assert_alone(candidate)
        stable, candidate = candidate, stable
    assert ended == {"went on", "rolled back", "unknown"}


def test_what_the_cluster_refuses_is_said_in_its_words(stage: Stage) -> None:
    stage.go(1)
    before = stage.pods().keys()
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": stage.namespace},
        "spec": {"hard": {"pods": str(PODS)}},
    }
    for settings, words in (
        ({"image": "serving:bad"}, "does not come up: ImagePullBackOff: there is no such image"),
        ({"node_selector": {"no such key!": "x"}}, "nodeSelector: Invalid value"),
        ({"service_account_annotations": {"not/a/key": "x"}}, "annotations: Invalid value"),
        ({"cpu": "1"}, "its pods are refused: .*exceeded quota: few"),
    ):
        if "cpu" in settings:
            stage.cluster.apply(quota)
        with pytest.raises(RolloutError, match=rf"(?s){words}.*Version 1 still serves"):
            stage.go(2, **settings)
        stage.assert_alone(1)
        assert stage.pods().keys() == before
    elsewhere = {"namespace": "elsewhere"}
    with pytest.raises(TargetError, match=r'"\S+:mlops-runs" cannot get .* namespace "elsewhere"'):
        stage.deploy(stage.line.builts[2], 2, **elsewhere)
    stage.kubeconfig = stage.cluster.kubeconfig
    stage.line.real = Place.target(stage).connection(stage.context)
    with pytest.raises(RolloutError, match='namespaces "elsewhere" not found'):
        stage.deploy(stage.line.builts[2], 2, **elsewhere)


def test_a_cluster_that_is_not_there_is_named(stage: Stage, tmp_path: Path) -> None:
    target = Kubernetes(kind="kubernetes", image="serving:good")
    for content, words in (("", "no cluster to deploy to"), (_kubeconfig(), "does not answer")):
        (tmp_path / "kubeconfig").write_text(content)
        variables = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
        with pytest.raises(TargetError, match=words):
            target.observe("churn", replace(stage.context, variables=variables))


def _kubeconfig() -> str:
    nowhere = {"name": "it", "cluster": {"server": "https://127.0.0.1:9"}}
    return json.dumps(
        {
            "clusters": [nowhere],
            "users": [{"name": "it", "user": {"token": "none"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }
    )


def test_versions_share_the_traffic_by_their_pods(stage: Stage) -> None:
    stage.go(1, replicas=3)
    target = stage.target(replicas=3)
    one, two = (
        target.render(stage.release(stage.line.builts[version], version), stage.context)
        for version in (1, 2)
    )
    target.apply(two, stage.line.builts[2].folder, stage.context)
    assert len(stage.behind_service()) == 3
    assert target.observe("churn", stage.context).traffic == {}
    for asked, given in ((0.1, 0.25), (0.25, 0.25), (0.4, 0.4), (0.5, 0.5), (0.9, 0.5)):
        assert target.shift(two, asked, stage.context) == pytest.approx(given)
        behind = [pod["metadata"]["labels"]["mlops/version"] for pod in stage.behind_service()]
        assert behind.count("1") == 3
        assert behind.count("2") / len(behind) == pytest.approx(given)
    assert target.observe("churn", stage.context).traffic == {"1": 0.5, "2": 0.5}
    assert target.serves(one, stage.context) is None
    assert set(target.measure("churn", 0.25, stage.context)) == {1, 2}
    assert target.shift(two, 0.0, stage.context) == 0.0
    assert target.observe("churn", stage.context).traffic == {}
    assert target.shift(two, 1.0, stage.context) == 1.0
    assert target.observe("churn", stage.context).traffic == {"2": 1.0}
    assert target.rollback(two, stage.context).version == 1
    assert target.serves(one, stage.context)


def test_an_older_cluster_gets_older_objects(stage: Stage) -> None:
    scaled = {"min": 2, "max": 4}
    stage.go(1, autoscaling=scaled)
    stage.go(2, autoscaling=scaled)
    names = stage.names()
    assert len([name for name in names if "autoscaler" in name]) == 1
    assert len([name for name in names if "poddisruptionbudget" in name]) == 1
    assert len(stage.behind_service()) == 2


def test_what_was_changed_by_hand_is_not_what_is_served(stage: Stage) -> None:
    stage.go(1)
    (name,) = (name for name in stage.names() if name.startswith("deployment"))
    changed = '{"spec":{"template":{"spec":{"containers":[{"name":"endpoint","image":"other"}]}}}}'
    asked = ("patch", name, f"-n={stage.namespace}", "--type=strategic", f"-p={changed}")
    stage.cluster.kubectl(*asked)
    assert stage.go(1).changed
    stage.assert_alone(1)
    stage.cluster.kubectl("delete", "service/churn", f"-n={stage.namespace}")
    observed = stage.target().observe("churn", stage.context)
    assert (observed.state, observed.detail) == ("failed", "its Service is gone; deploy again")
    assert stage.go(1).changed
    stage.assert_alone(1)


def test_a_candidate_that_nobody_remembers_is_removed(stage: Stage) -> None:
    stage.go(1)
    target = stage.target(cpu="1")
    lost = target.render(stage.release(stage.line.builts[2], 3), stage.context)
    target.apply(lost, stage.line.builts[2].folder, stage.context)
    stage.go(2)
    stage.assert_alone(2)
    target.apply(lost, stage.line.builts[2].folder, stage.context)
    assert stage.target().retire("churn", stage.context).state == "stopped"
    assert stage.names() == {"configmap/churn-endpoint"}


def test_a_gateway_divides_the_traffic_by_weights(stage: Stage) -> None:
    stage.go(1)
    stage.line.routes = routes = {}
    target = stage.target(gateway="public")
    two = target.render(stage.release(stage.line.builts[2], 2), stage.context)
    target.apply(two, stage.line.builts[2].folder, stage.context)
    assert not routes
    assert target.shift(two, 0.1, stage.context) == 0.1
    assert target.observe("churn", stage.context).traffic == {"1": 0.9, "2": 0.1}
    assert {pod["metadata"]["labels"]["mlops/version"] for pod in stage.behind_service()} == {"1"}
    assert target.rollback(two, stage.context).traffic == {}
    stage.go(2, gateway="public")
    stage.go(1, gateway="public")
    assert target.observe("churn", stage.context).traffic == {}
    (route,) = routes.values()
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    services = {name for name in stage.names() if name.startswith("service/")}
    assert services == {"service/churn", f"service/{backend['name']}"}
    stage.go(2)
    stage.assert_alone(2)
    assert not routes


def test_what_a_gateway_led_to_answers_until_its_data_plane_has_heard(stage: Stage) -> None:
    stage.line.routes = routes = {}
    settings = {"gateway": "public", "drain_s": 3.25}
    target = stage.target(**settings)

    def assert_left(gone: int) -> None:
        """That between the last change of the route and the first removal there was the time."""
        calls, removal = stage.line.calls, f"DELETE .*/(deployments|services)/churn-v{gone}-"
        first = next(at for at, call in enumerate(calls) if re.match(removal, call))
        routed = [at for at, call in enumerate(calls[:first]) if "/httproutes/" in call]
        assert routed, calls
        assert any(routed[-1] < at <= first and paused == 3.25 for at, paused in stage.slept)
        stage.line.calls.clear()
        stage.slept.clear()

    stage.go(1, **settings)
    stage.line.calls.clear()
    stage.slept.clear()
    stage.go(2, **settings)
    assert_left(1)

    one = target.render(stage.release(stage.line.builts[1], 1), stage.context)
    target.apply(one, stage.line.builts[1].folder, stage.context)
    target.shift(one, 0.5, stage.context)
    target.rollback(one, stage.context)
    (route,) = routes.values()
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert (backend["name"].split("-")[1], backend["weight"]) == ("v2", 100)
    assert_left(1)
    target.rollback(one, stage.context)
    assert 3.25 not in [paused for _, paused in stage.slept], "nothing was left"
