"""A thread in the part of a cluster's kubelet: pods become ready, or never do, and none runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from mlops_assets_tests.peers.kubernetes import Cluster


@contextmanager
def played(
    cluster: Cluster,
    namespace: str,
    *,
    never_ready: Callable[[str], bool] = lambda _: False,
    every: float = 0.05,
) -> Iterator[None]:
    """Pods of the namespace become ready without running: for tests of what asks for them.

    Real nodes take no pods meanwhile.

    Args:
        cluster: with or without a node.
        namespace: whose pods are played.
        never_ready: of an image: it cannot be pulled.
        every: seconds between two looks.
    """
    core, ends = client.CoreV1Api(cluster.api), Event()
    cordoned = [one.metadata.name for one in core.list_node().items if not one.spec.unschedulable]
    for name in cordoned:
        core.patch_node(name, {"spec": {"unschedulable": True}})
    thread = Thread(target=_play, args=(core, namespace, never_ready, ends, every), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(30)
        for name in cordoned:
            core.patch_node(name, {"spec": {"unschedulable": False}})


def _play(
    core: client.CoreV1Api,
    namespace: str,
    never_ready: Callable[[str], bool],
    ends: Event,
    every: float,
) -> None:
    seen: dict[str, int] = {}
    while not ends.wait(every):
        for pod in core.list_namespaced_pod(namespace).items:
            name, uid = pod.metadata.name, pod.metadata.uid
            if pod.spec.node_name:
                continue
            try:
                if pod.metadata.deletion_timestamp:
                    core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
                elif uid not in seen:
                    seen[uid] = len(seen)
                    refused = [one for one in pod.spec.containers if never_ready(one.image)]
                    status = _waiting(pod) if refused else _ready(pod, seen[uid])
                    core.patch_namespaced_pod_status(name, namespace, {"status": status})
            except ApiException as error:
                if error.status != 404:
                    raise


def _ready(pod: Any, number: int) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "podIP": f"192.0.2.{number % 250 + 1}",
        "startTime": now,
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds
        ],
        "containerStatuses": [
            {
                **_container(one),
                "ready": True,
                "started": True,
                "state": {"running": {"startedAt": now}},
            }
            for one in pod.spec.containers
        ],
    }


def _waiting(pod: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "there is no such image"}}
    statuses = [{**_container(one), "ready": False, "state": state} for one in pod.spec.containers]
    return {"phase": "Pending", "containerStatuses": statuses}


def _container(one: Any) -> dict[str, Any]:
    return {"name": one.name, "image": one.image, "imageID": "", "restartCount": 0}
