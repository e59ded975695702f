"""Questions to single pods, by the API server's proxy: from inside the cluster and outside."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_assets.deployment.kubernetes import trouble
from mlops_assets.deployment.kubernetes.objects import RELEASE, VERSION
from mlops_assets.deployment.kubernetes.standing import Standing
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.gateways.kubernetes import ClusterError, Reply
from mlops_assets.serving import client
from mlops_assets.serving.client import JSON, PROBE_HEADER, Answer, EndpointError

Json = dict[str, Any]


def metrics(standing: Standing) -> dict[int, dict[str, str]]:
    """What the pods of each version tell Prometheus, by their names.

    Raises:
        TargetError: one that is ready does not.
    """
    found: dict[int, dict[str, str]] = {}
    for pod in filter(trouble.is_ready, standing.pods()):
        name, version = pod["metadata"]["name"], int(pod["metadata"]["labels"][VERSION])
        reply = standing.cluster.ask(name, _port(pod), "/metrics")
        if reply.status == 200:
            found.setdefault(version, {})[name] = reply.body.decode()
        elif name in {one["metadata"]["name"] for one in standing.pods()}:
            raise TargetError(f"pod {name} does not tell its metrics: {reply.message}")
    return found


def ask(
    standing: Standing, version: int, records: Sequence[Mapping[str, Any]], key: str | None
) -> Answer:
    """What a pod of the version answers to a probe; the candidate's, where both are of it.

    Raises:
        EndpointError: it refuses or does not answer.
        TargetError: no pod of it is ready.
    """
    record = standing.record()
    stable = record.release if record else ""
    pods = [
        pod
        for pod in standing.pods()
        if pod["metadata"]["labels"][VERSION] == str(version) and trouble.is_ready(pod)
    ]
    if not pods:
        raise TargetError(f"no pod of version {version} is ready")
    pods.sort(key=lambda pod: pod["metadata"]["labels"][RELEASE] == stable)
    name = pods[0]["metadata"]["name"]
    headers = {"content-type": JSON, PROBE_HEADER: "1"}
    if key is not None:
        headers["x-api-key"] = key
    body = client.body(records).encode()
    try:
        reply = standing.cluster.ask(
            name, _port(pods[0]), "/invocations", body=body, headers=headers
        )
    except ClusterError as error:
        raise _silence(name, str(error)) from error
    return _answer(name, reply)


def _port(pod: Json) -> int:
    return int(pod["spec"]["containers"][0]["ports"][0]["containerPort"])


def _answer(pod: str, reply: Reply) -> Answer:
    if reply.said is not None:
        raise _silence(pod, reply.message)
    return client.read(f"pod {pod}", reply.status, reply.body.decode(errors="replace"), "")


def _silence(pod: str, message: str) -> EndpointError:
    return EndpointError(
        f"pod {pod}", status=None, reason="no_answer", message=message, request_id=""
    )
