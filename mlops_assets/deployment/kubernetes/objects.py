"""The objects of one version on Kubernetes, as manifests. Pure; asks no cluster.

Everything of a version bears its release, a name for exactly these objects, and a Service selects
by it: what has the traffic is one field of one object.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.deployment.kubernetes.pods import PORT, Pod, deployment
from mlops_assets.deployment.targets.base import Release

if TYPE_CHECKING:
    from mlops_assets.deployment.targets.kubernetes import Autoscaling, Kubernetes

Json = dict[str, Any]

ENDPOINT, EXPERIMENT = "mlops/endpoint", "mlops/experiment"
VERSION, RELEASE = "mlops/version", "mlops/release"
ROLE = "mlops/role"
SHARED = ("ServiceAccount", "Service", "ServiceMonitor", "HTTPRoute")
"""Kinds of which all versions of an endpoint have the one."""
_LABELLED = [
    {
        "sourceLabels": ["__meta_kubernetes_pod_label_mlops_experiment"],
        "targetLabel": "experiment",
    },
    {"targetLabel": "target", "replacement": "kubernetes"},
    {"targetLabel": "job", "replacement": "mlops-endpoints"},
]
"""What the rules and dashboards of deploy/monitoring know an endpoint by."""
HOST_PORTS = 100
"""On the network of a node, versions lie this many ports side by side."""


@dataclass(frozen=True)
class Naming:
    """What the objects of one endpoint are called."""

    experiment: str

    @property
    def endpoint(self) -> str:
        """The experiment as a name that Kubernetes takes."""
        plain = self.experiment.replace("_", "-")
        if len(plain) <= 40 and not plain.endswith("-"):
            return plain
        return f"{plain[:33].rstrip('-')}-{hashlib.sha256(plain.encode()).hexdigest()[:6]}"

    @property
    def account(self) -> str:
        """Of the pods; deploy/aws/roles.tf lets accounts of such names take the endpoints' role."""
        return f"mlops-endpoint-{self.endpoint}"

    @property
    def record(self) -> str:
        return f"{self.endpoint}-endpoint"

    def of(self, version: int, release: str) -> str:
        return f"{self.endpoint}-v{version}-{release}"


def render(target: "Kubernetes", release: Release) -> tuple[str, list[Json]]:
    """The release's name and its objects."""
    blank = json.dumps(_objects(target, release, "0"), sort_keys=True)
    name = hashlib.sha256(blank.encode()).hexdigest()[:8]
    return name, _objects(target, release, name)


def port_of(target: "Kubernetes", version: int) -> int:
    return target.port + version % HOST_PORTS if target.host_network else target.port


def weighed(route: Json, weights: dict[str, int]) -> Json:
    """An HTTPRoute with other weights, by Service."""
    (rule,) = route["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    backends = [{**backend, "name": name, "weight": weights[name]} for name in sorted(weights)]
    return {**route, "spec": {**route["spec"], "rules": [{**rule, "backendRefs": backends}]}}


def renamed(service: Json, name: str, version: int, release: str) -> Json:
    """The Service of another version."""
    labels = {**service["metadata"]["labels"], VERSION: str(version), RELEASE: release}
    selector = {**service["spec"]["selector"], RELEASE: release}
    return {
        **service,
        "metadata": {**service["metadata"], "name": name, "labels": labels},
        "spec": {**service["spec"], "selector": selector},
    }


def _objects(target: "Kubernetes", release: Release, name: str) -> list[Json]:
    naming = Naming(release.experiment)
    labels = {VERSION: str(release.version), RELEASE: name}
    own = naming.of(release.version, name)
    pods = {ENDPOINT: naming.endpoint, RELEASE: name}
    selector = {"matchLabels": pods}

    pod = Pod(
        labels=metadata_of(naming, own, labels)["labels"],
        selected=pods,
        account=naming.account,
        settings=own,
        port=port_of(target, release.version),
    )

    def of_version(kind: str, version: str, **content: Any) -> Json:
        metadata = metadata_of(naming, own, labels)
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}

    objects = [
        _account(naming, target),
        of_version("ConfigMap", "v1", data=_settings(target, release)),
        of_version(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            spec={
                "podSelector": selector,
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"ports": [{"protocol": "TCP", "port": port_of(target, release.version)}]}
                ],
            },
        ),
        of_version(
            "PodDisruptionBudget",
            "policy/v1",
            spec={"maxUnavailable": 1, "selector": selector},
        ),
        of_version("Deployment", "apps/v1", spec=deployment(target, pod)),
        _service(target, naming, naming.endpoint, pods),
        _monitor(naming),
    ]
    if target.autoscaling is not None:
        objects.append(
            of_version(
                "HorizontalPodAutoscaler",
                "autoscaling/v2",
                spec=_autoscaler(target.autoscaling, own),
            )
        )
    if target.gateway is not None:
        plain = {
            **_service(target, naming, own, pods),
            "metadata": metadata_of(naming, own, labels),
        }
        plain["spec"] = {**plain["spec"], "type": "ClusterIP"}
        objects += [plain, _route(naming, target, own)]
    return objects


def metadata_of(naming: Naming, name: str, labels: dict[str, str] | None = None) -> Json:
    return {
        "name": name,
        "labels": {
            "app.kubernetes.io/managed-by": "mlops-assets",
            ENDPOINT: naming.endpoint,
            EXPERIMENT: naming.experiment,
            **(labels or {}),
        },
    }


def _account(naming: Naming, target: "Kubernetes") -> Json:
    metadata = metadata_of(naming, naming.account)
    if target.service_account_annotations:
        metadata["annotations"] = dict(target.service_account_annotations)
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def _settings(target: "Kubernetes", release: Release) -> dict[str, str]:
    return {
        "MLOPS_BUNDLE": release.archive_url,
        "MLOPS_BUNDLE_DIGEST": release.bundle_digest,
        "MLOPS_VERSION": str(release.version),
        "MLOPS_RECORDING": json.dumps(asdict(release.recording), sort_keys=True),
        "MLOPS_HOST": "0.0.0.0",  # noqa: S104 of a pod's own network
        "MLOPS_PORT": str(port_of(target, release.version)),
        "MLOPS_WORKERS": str(target.workers),
        "MLOPS_MAX_ROWS": str(target.max_rows),
        "MLOPS_MAX_BODY_MB": f"{target.max_body_mb:g}",
        "MLOPS_MAX_IN_FLIGHT": str(target.max_in_flight),
        "MLOPS_STARTUP_TIMEOUT_S": f"{target.startup_timeout_s:g}",
        **target.environment,
    }


def _service(target: "Kubernetes", naming: Naming, name: str, selector: dict[str, str]) -> Json:
    metadata = metadata_of(naming, name)
    if target.service_annotations:
        metadata["annotations"] = dict(target.service_annotations)
    port = {"name": PORT, "port": target.service_port, "targetPort": PORT, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": target.service_type, "selector": selector, "ports": [port]},
    }


def _monitor(naming: Naming) -> Json:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata_of(naming, naming.endpoint),
        "spec": {
            "selector": {"matchLabels": {ENDPOINT: naming.endpoint}},
            "podTargetLabels": [EXPERIMENT, VERSION],
            "endpoints": [{"port": PORT, "path": "/metrics", "relabelings": _LABELLED}],
        },
    }


def _route(naming: Naming, target: "Kubernetes", service: str) -> Json:
    backend = {"name": service, "port": target.service_port, "weight": 100}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata_of(naming, naming.endpoint),
        "spec": {
            "parentRefs": [{"name": target.gateway}],
            **({"hostnames": list(target.hostnames)} if target.hostnames else {}),
            "rules": [{"backendRefs": [backend]}],
        },
    }


def _autoscaler(asked: "Autoscaling", deployment: str) -> Json:
    usage = {"type": "Utilization", "averageUtilization": asked.target_cpu_percent}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
        "minReplicas": asked.min,
        "maxReplicas": asked.max,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
    }
