"""The cluster that other tests ask, and the serving image in its pods."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client

from mlops_assets.serving.client import Client
from mlops_assets_tests.builders import make_bundle
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.peers import kubelet
from mlops_assets_tests.peers.containers import Containers
from mlops_assets_tests.peers.kubernetes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.peer]


def deployment(image: str, *, replicas: int, deadline: int = 60, **more: Any) -> dict[str, Any]:
    """As production runs the serving image, without a node's help."""
    labels = {"app": "churn"}
    probe = {"path": "/v2/health/ready", "port": 8080}
    container = {
        "name": "endpoint",
        "image": image,
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8080}],
        "startupProbe": {"httpGet": probe, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"httpGet": probe, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {**probe, "path": "/v2/health/live"}, "periodSeconds": 5},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}},
        **more,
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "churn"},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": deadline,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "enableServiceLinks": False,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 75,
                    "securityContext": security,
                    "containers": [container],
                    "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}}],
                },
            },
        },
    }


def in_namespace(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def test_pods_that_are_played_become_ready_or_never_do(cluster: Cluster) -> None:
    apps, core = client.AppsV1Api(cluster.api), client.CoreV1Api(cluster.api)
    with (
        cluster.namespace("played") as name,
        kubelet.played(cluster, name, never_ready=lambda image: image.endswith(":bad")),
    ):

        def wanted(image: str) -> None:
            cluster.apply(in_namespace(deployment(image, replicas=2, deadline=2), name))

        def status() -> Any:
            return apps.read_namespaced_deployment("churn", name).status

        wanted("churn:1")
        until(lambda: status().ready_replicas == 2)
        wanted("churn:2")
        until(lambda: status().updated_replicas == status().ready_replicas == 2)
        until(lambda: len(core.list_namespaced_pod(name).items) == 2)

        wanted("churn:bad")
        until(
            lambda: any(
                one.reason == "ProgressDeadlineExceeded" for one in status().conditions or ()
            ),
        )
        assert status().available_replicas == 2
        (stuck,) = (
            pod for pod in core.list_namespaced_pod(name).items if pod.status.phase == "Pending"
        )
        (container,) = stuck.status.container_statuses
        assert container.state.waiting.reason == "ImagePullBackOff"


@pytest.mark.containers
def test_the_serving_image_runs_in_pods(
    node: Cluster, containers: Containers, serving_image: str, tmp_path: Path
) -> None:
    built = make_bundle(tmp_path / "bundle")
    image = f"{serving_image}-pods"
    more = {"BUNDLE_DIGEST": built.digest, "MODEL_VERSION": "7"}
    containers.build(image, tmp_path / "context", bundle=built.folder, **more)
    node.load(containers.save(image, tmp_path / "image.tar"))

    core = client.CoreV1Api(node.api)
    with node.namespace("pods") as name:
        started = time.monotonic()
        node.apply(in_namespace(deployment(image, replicas=1), name))
        node.kubectl("rollout", "status", "deployment/churn", f"-n={name}", "--timeout=90s")
        took = time.monotonic() - started
        (pod,) = core.list_namespaced_pod(name).items
        with (
            node.forwarded(f"pod/{pod.metadata.name}", 8080, namespace=name) as url,
            Client(url) as caller,
        ):
            assert caller.predict(built.records(3)).version == "7"
            assert httpx.get(f"{url}/v2/health/live").status_code == 200
        assert took < 60

        node.kubectl("delete", "deployment", "churn", f"-n={name}", "--wait=true")
        until(lambda: not core.list_namespaced_pod(name).items)
