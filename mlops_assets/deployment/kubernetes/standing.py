"""What stands of one endpoint in a namespace, and single changes to it, each of which may be
repeated. Knows versions, not in which order they come and go."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from mlops_assets.deployment.kubernetes import objects, trouble
from mlops_assets.deployment.kubernetes.objects import ENDPOINT, RELEASE, Naming
from mlops_assets.deployment.targets.base import TargetContext, TargetError
from mlops_assets.gateways.kubernetes import KINDS, Cluster
from mlops_assets.gateways.wait import wait_until

Json = dict[str, Any]
T = TypeVar("T")

RECORD = "endpoint.json"
LOOKED = ("Pod", "Endpoints", "Event")
"""Kinds that are not ours to remove."""
INTERVAL = 0.5
PATIENCE = 5.0
"""Seconds after which a pod's trouble is taken to stay."""
REACHED = 60.0
"""Seconds the cluster has to follow a change of a Service."""


@dataclass(frozen=True)
class Record:
    """What was settled last. Stands in a ConfigMap of its own, and outlives the endpoint."""

    version: int
    release: str
    bundle_digest: str
    previous: int | None
    since: str
    url: str
    state: Literal["live", "stopped"]


class Standing:
    """An endpoint as it is."""

    def __init__(self, cluster: Cluster, naming: Naming, context: TargetContext) -> None:
        self.cluster = cluster
        self.naming = naming
        self.context = context
        self._all = f"{ENDPOINT}={naming.endpoint}"

    def record(self) -> Record | None:
        found = self.cluster.get("ConfigMap", self.naming.record)
        if found is None:
            return None
        try:
            return Record(**json.loads(found["data"][RECORD]))
        except (KeyError, ValueError, TypeError) as error:
            raise TargetError(
                f"the ConfigMap {self.naming.record} does not say what serves: {error!r}. Delete "
                "it, and deploy again"
            ) from error

    def write(self, record: Record) -> None:
        metadata = objects.metadata_of(self.naming, self.naming.record)
        metadata["labels"] |= {objects.ROLE: "record"}
        data = {RECORD: json.dumps(asdict(record), sort_keys=True)}
        self.cluster.apply({"kind": "ConfigMap", "metadata": metadata, "data": data})

    def deployments(self) -> dict[str, Json]:
        """By release."""
        found = self.cluster.list("Deployment", self._all)
        return {one["metadata"]["labels"][RELEASE]: one for one in found if not _going(one)}

    def pods(self, release: str | None = None) -> list[Json]:
        """Those that are not on their way out."""
        of_release = "" if release is None else f",{RELEASE}={release}"
        found = self.cluster.list("Pod", self._all + of_release)
        return [pod for pod in found if not trouble.is_going(pod)]

    def selected(self) -> str | None:
        """The release that the Service leads to: empty for all of them, None without a Service."""
        service = self.cluster.get("Service", self.naming.endpoint)
        return None if service is None else str(service["spec"]["selector"].get(RELEASE, ""))

    def select(self, release: str, others: Iterable[str] = ()) -> None:
        """Lead the Service to the pods of one release, or with `others` to all of them; return once
        the cluster does so."""
        wanted = "" if [*others] else release
        if self.selected() != wanted:
            change = {"spec": {"selector": {RELEASE: wanted or None}}}
            self.cluster.patch("Service", self.naming.endpoint, change)
        self.await_reached({release, *others})

    def await_reached(self, releases: set[str]) -> None:
        """Until the Service leads to every ready pod of these releases, and to no other."""

        def reached() -> bool:
            pods = self.cluster.list("Pod", self._all)
            of = {pod["metadata"]["name"]: pod["metadata"]["labels"][RELEASE] for pod in pods}
            wanted = {
                pod["metadata"]["name"]
                for pod in pods
                if trouble.is_ready(pod) and of[pod["metadata"]["name"]] in releases
            }
            found = self.cluster.get("Endpoints", self.naming.endpoint) or {}
            there = {
                address["targetRef"]["name"]
                for subset in found.get("subsets") or ()
                for address in subset.get("addresses") or ()
            }
            return wanted <= there and all(of.get(name, "") in releases for name in there - wanted)

        self._wait(reached, REACHED, lambda: "its Service does not lead to its pods")

    def scale(self, name: str, replicas: int) -> None:
        self.cluster.patch("Deployment", name, {"spec": {"replicas": replicas}})

    def await_ready(self, name: str, release: str, replicas: int, timeout: float) -> None:
        """Until so many pods of a release are ready.

        Raises:
            TargetError: they will not be, or were not in time, with the platform's own reason.
        """
        since: dict[str, float] = {}

        def ready() -> bool:
            found = self.cluster.get("Deployment", name)
            if found is None:
                raise TargetError(f"the Deployment {name} is gone; somebody removed it")
            status = found.get("status", {})
            if (
                status.get("observedGeneration", 0) >= found["metadata"]["generation"]
                and status.get("updatedReplicas", 0) >= replicas
                and status.get("readyReplicas", 0) >= replicas
                and status.get("replicas", 0) == status["updatedReplicas"]
            ):
                return True
            lasting: dict[str, Json | None] = {
                said: pod for pod in self.pods(release) if (said := trouble.hopeless(pod))
            }
            if said := trouble.refused(found):
                lasting[f"its pods are refused: {said}"] = None
            now = self._clock()
            for said, pod in lasting.items():
                again = pod is not None and trouble.restarts(pod) >= 1
                if again or now - since.setdefault(said, now) >= PATIENCE:
                    raise TargetError(f"{name} does not come up: {said}{self._told_by(pod)}")
            for said in since.keys() - lasting.keys():
                del since[said]
            return False

        self._wait(ready, timeout, lambda: self._late(name, release, replicas, timeout))

    def remove(self, going: Callable[[str | None], bool], timeout: float) -> None:
        """Remove the objects whose release, None for those of all versions, is going; never the
        record. Returns once no pod of theirs takes anything on.

        Raises:
            TargetError: something is left.
        """

        def left() -> list[str]:
            found = []
            for kind in KINDS:
                if kind in LOOKED:
                    continue
                for one in self.cluster.list(kind, self._all):
                    labels = one["metadata"]["labels"]
                    if objects.ROLE in labels or not going(labels.get(RELEASE)):
                        continue
                    if not _going(one):
                        self.cluster.delete(kind, one["metadata"]["name"])
                    found.append(f"{kind} {one['metadata']['name']}")
            running = (pod["metadata"] for pod in self.pods())
            return found + [
                f"Pod {one['name']}" for one in running if going(one["labels"][RELEASE])
            ]

        last: list[str] = []

        def gone() -> bool:
            last[:] = left()
            return not last

        self._wait(gone, timeout, lambda: f"still there: {', '.join(last)}")

    def _late(self, name: str, release: str, replicas: int, timeout: float) -> str:
        pods = self.pods(release)
        waiting = next((pod for pod in pods if not trouble.is_ready(pod)), None)
        ready = sum(map(trouble.is_ready, pods))
        said = "there is no pod" if waiting is None else trouble.state(waiting)
        return (
            f"{name}: {ready} of {replicas} pods ready within startup_timeout_s = {timeout:g} s: "
            f"{said}{self._told_by(waiting)}"
        )

    def _told_by(self, pod: Json | None) -> str:
        """The last event and the last lines of a pod."""
        if pod is None:
            return ""
        name, told = pod["metadata"]["name"], ""
        events = self.cluster.list("Event", fields=f"involvedObject.name={name},type=Warning")
        if events:
            newest = max(events, key=lambda one: str(one.get("lastTimestamp") or ""))
            told += f"; {newest.get('reason')}: {newest.get('message')}"
        lines = self.cluster.log(name, lines=5, previous=trouble.restarts(pod) > 0)
        return told + (f"; its last lines:\n{lines}" if lines else "")

    def _clock(self) -> float:
        return self.context.now().timestamp()

    def _wait(self, condition: Callable[[], T], timeout: float, late: Callable[[], str]) -> T:
        try:
            return wait_until(
                condition,
                timeout=timeout,
                interval=INTERVAL,
                clock=self._clock,
                sleep=self.context.sleep,
            )
        except TimeoutError as error:
            raise TargetError(late()) from error


def _going(found: Json) -> bool:
    return "deletionTimestamp" in found["metadata"]
