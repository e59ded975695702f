"""The pods of one version: what they run, with which rights, and when they count as ready. Pure."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_assets.deployment.targets.kubernetes import Kubernetes

Json = dict[str, Any]

PORT = "http"
USER = 10001
GRACE_S = 75
"""Seconds the serving image asks for between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Pod:
    """How the pods of a version are called, and what they refer to."""

    labels: dict[str, str]
    selected: dict[str, str]
    """Those of the labels by which they are told from all other pods."""
    account: str
    settings: str
    """Name of the ConfigMap."""
    port: int


def deployment(target: "Kubernetes", pod: Pod) -> Json:
    """Without a number of replicas: that says how much of the traffic it is to take."""
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": pod.selected},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    scraped = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(pod.port),
        "prometheus.io/path": "/metrics",
    }
    return {
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": math.ceil(target.startup_timeout_s) + 60,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "selector": {"matchLabels": pod.selected},
        "template": {
            "metadata": {
                "labels": pod.labels,
                "annotations": scraped,
            },
            "spec": {
                "serviceAccountName": pod.account,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": math.ceil(target.drain_s) + GRACE_S,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "topologySpreadConstraints": spread,
                "containers": [_container(target, pod)],
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "2Gi"}}],
                **_placement(target),
            },
        },
    }


def _placement(target: "Kubernetes") -> Json:
    found: Json = {}
    if target.host_network:
        found |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if target.node_selector:
        found["nodeSelector"] = dict(target.node_selector)
    if target.tolerations:
        found["tolerations"] = [dict(one) for one in target.tolerations]
    return found


def _container(target: "Kubernetes", pod: Pod) -> Json:
    ready = {"path": "/v2/health/ready", "port": PORT}
    live = {"path": "/v2/health/live", "port": PORT}
    sources: list[Json] = [{"configMapRef": {"name": pod.settings}}]
    if target.environment_secret is not None:
        sources.append({"secretRef": {"name": target.environment_secret}})
    keys = {"secretKeyRef": {"name": target.key_secret, "key": target.key_env}}
    limits = {"memory": target.memory_limit or target.memory}
    if target.cpu_limit is not None:
        limits["cpu"] = target.cpu_limit
    return {
        "name": "endpoint",
        "image": target.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve"],
        "envFrom": sources,
        **({"env": [{"name": "MLOPS_KEYS", "valueFrom": keys}]} if target.key_env else {}),
        "ports": [{"name": PORT, "containerPort": pod.port, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": target.cpu, "memory": target.memory}, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {
            "httpGet": ready,
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            # Later than a deployment gives up, which then sees the pod as it was.
            "failureThreshold": math.ceil(target.startup_timeout_s) + 30,
        },
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": live,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        # Whoever forwards hears that the pod is going before it stops to listen.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", f"{target.drain_s:g}"]}}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108
    }
