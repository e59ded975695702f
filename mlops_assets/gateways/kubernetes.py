"""One namespace of a Kubernetes cluster, by the official client. Knows no endpoint and no model.

Every call may be repeated: objects are applied by the server, which merges what is ours, and to
delete what is gone is no error. Calls that fail for a moment are repeated here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

Json = dict[str, Any]

MANAGER = "mlops-assets"
"""Under which name the server keeps which fields are ours."""
PASSING = frozenset({409, 429, 500, 502, 503, 504})
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between the attempts of one call."""
TIMEOUT = 30.0
SHOWN = 500

KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ConfigMap": ("configmaps", ("v1",)),
    "Deployment": ("deployments", ("apps/v1",)),
    "Endpoints": ("endpoints", ("v1",)),
    "Event": ("events", ("v1",)),
    "HTTPRoute": (
        "httproutes", ("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"),
    ),
    "HorizontalPodAutoscaler": (
        "horizontalpodautoscalers", ("autoscaling/v2", "autoscaling/v2beta2"),
    ),
    "NetworkPolicy": ("networkpolicies", ("networking.k8s.io/v1",)),
    "Pod": ("pods", ("v1",)),
    "PodDisruptionBudget": ("poddisruptionbudgets", ("policy/v1", "policy/v1beta1")),
    "Service": ("services", ("v1",)),
    "ServiceAccount": ("serviceaccounts", ("v1",)),
    "ServiceMonitor": ("servicemonitors", ("monitoring.coreos.com/v1",)),
}  # fmt: skip
"""The name of a kind in paths, and its versions of one and the same form, the newest first."""


class ClusterError(Exception):
    """The cluster refuses or does not answer; the message is the API server's own.

    Attributes:
        status: of the answer; None when there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call:
    """One request to the API server."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """Its answer."""

    status: int
    body: bytes

    @property
    def message(self) -> str:
        """Of the API server, when it is its own answer; else the text."""
        return str((self.said or {}).get("message") or self.body.decode(errors="replace")[:SHOWN])

    @property
    def said(self) -> Json | None:
        """What the API server says of itself; None for an answer of a pod behind it."""
        try:
            content = json.loads(self.body)
        except ValueError:
            return None
        is_status = isinstance(content, dict) and content.get("kind") == "Status"
        return content if is_status else None


Send = Callable[[Call], Reply]
"""One attempt at a call. Raises ClusterError when there is no answer."""


class Cluster:
    """What stands in one namespace."""

    def __init__(self, send: Send, namespace: str, sleep: Callable[[float], None]) -> None:
        self.namespace = namespace
        self._send = send
        self._sleep = sleep
        self._served: frozenset[str] | None = None

    def version_of(self, kind: str) -> str | None:
        """The newest API version of a kind that this cluster serves; None when it serves none."""
        if self._served is None:
            groups = self._json(Call("GET", "/apis"))["groups"]
            found = {one["groupVersion"] for group in groups for one in group["versions"]}
            self._served = frozenset({"v1", *found})
        return next((one for one in KINDS[kind][1] if one in self._served), None)

    def apply(self, manifest: Json) -> Json:
        """Make an object so. Its kind is one that the cluster serves."""
        kind = manifest["kind"]
        content = {**manifest, "apiVersion": self.version_of(kind)}
        query = {"fieldManager": MANAGER, "force": "true"}
        return self._change(kind, manifest["metadata"]["name"], content, "apply-patch+yaml", query)

    def patch(self, kind: str, name: str, change: Json) -> Json:
        """Merge `change` into an object that is there; None removes."""
        query = {"fieldManager": MANAGER}
        return self._change(kind, name, change, "merge-patch+json", query)

    def get(self, kind: str, name: str) -> Json | None:
        reply = self._answered(Call("GET", self._path(kind, name)), also=(404,))
        return None if reply.status == 404 else dict(json.loads(reply.body))

    def list(self, kind: str, selector: str = "", fields: str = "") -> list[Json]:
        """Those with the labels; none of a kind that the cluster does not serve."""
        if self.version_of(kind) is None:
            return []
        query = {"labelSelector": selector, "fieldSelector": fields}
        given = {key: value for key, value in query.items() if value}
        return list(self._json(Call("GET", self._path(kind), given))["items"])

    def delete(self, kind: str, name: str) -> None:
        """Begin to remove an object, and what it owns."""
        query = {"propagationPolicy": "Background"}
        self._answered(Call("DELETE", self._path(kind, name), query), also=(404,))

    def log(self, pod: str, *, lines: int, previous: bool) -> str:
        """The last lines a pod wrote; empty when it wrote none."""
        query = {"tailLines": str(lines), "previous": str(previous).lower()}
        reply = self._send(Call("GET", f"{self._path('Pod', pod)}/log", query))
        return reply.body.decode(errors="replace").strip() if reply.status == 200 else ""

    def ask(
        self,
        pod: str,
        port: int,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """What a pod answers under a path, through the API server: works wherever that is reached.

        The API server keeps the header `authorization` for itself.
        """
        method = "GET" if body is None else "POST"
        whole = f"{self._path('Pod', f'{pod}:{port}')}/proxy{path}"
        return self._send(Call(method, whole, {}, body, headers or {}))

    def _change(self, kind: str, name: str, content: Json, media: str, query: Json) -> Json:
        body, headers = json.dumps(content).encode(), {"content-type": f"application/{media}"}
        return self._json(Call("PATCH", self._path(kind, name), query, body, headers))

    def _json(self, call: Call) -> Json:
        return dict(json.loads(self._answered(call).body))

    def _answered(self, call: Call, also: tuple[int, ...] = ()) -> Reply:
        for pause in (*PAUSES, None):
            try:
                reply = self._send(call)
            except ClusterError:
                if pause is None:
                    raise
            else:
                if reply.status < 300 or reply.status in also:
                    return reply
                if pause is None or reply.status not in PASSING:
                    what = call.path.rpartition(f"/{self.namespace}/")[2]
                    raise ClusterError(f"{what}: {reply.message}", reply.status)
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _path(self, kind: str, name: str = "") -> str:
        version = self.version_of(kind) if "/" in KINDS[kind][1][0] else "v1"
        if version is None:
            raise ClusterError(f"this cluster does not serve {KINDS[kind][1][0]} {kind}")
        root = "/api" if version == "v1" else "/apis"
        path = f"{root}/{version}/namespaces/{quote(self.namespace)}/{KINDS[kind][0]}"
        return f"{path}/{quote(name)}" if name else path


def connect(variables: Mapping[str, str], context: str | None) -> Send:
    """Calls to the cluster that KUBECONFIG or ~/.kube/config names, or in which this process runs.

    Args:
        variables: the environment.
        context: of the kubeconfig; None for its current one.

    Raises:
        ClusterError: there is none.
    """
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    kubeconfig = variables.get("KUBECONFIG") or None
    try:
        if kubeconfig is None and variables.get("KUBERNETES_SERVICE_HOST"):
            own = client.Configuration()
            config.load_incluster_config(client_configuration=own)
            api = client.ApiClient(own)
        else:
            api = config.new_client_from_config(kubeconfig, context, persist_config=False)
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"there is no cluster to deploy to: {error}") from error

    def send(call: Call) -> Reply:
        headers = {"accept": "application/json", **call.headers}
        # Renews a token that expires, as EKS's do.
        api.update_params_for_auth(headers, [], ["BearerToken"])
        query = f"?{urlencode(call.query)}" if call.query else ""
        try:
            answer = api.rest_client.pool_manager.request(
                call.method,
                f"{api.configuration.host}{call.path}{query}",
                body=call.body,
                headers=headers,
                timeout=TIMEOUT,
                retries=False,
            )
        except HTTPError as error:
            raise ClusterError(f"the API server does not answer: {error}") from error
        return Reply(answer.status, answer.data)

    return send
