"""Why pods do not become ready, out of what the cluster says of them. Pure."""

from typing import Any

Json = dict[str, Any]

HOPELESS = frozenset(
    {
        "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError",
        "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName", "RunContainerError",
    }
)  # fmt: skip
"""What a container waits for in vain, if it does so for a while."""


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return not is_going(pod) and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def is_going(pod: Json) -> bool:
    finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return finished or "deletionTimestamp" in pod["metadata"]


def restarts(pod: Json) -> int:
    return sum(one.get("restartCount", 0) for one in _containers(pod))


def hopeless(pod: Json) -> str:
    """What keeps a pod from running and will not pass; empty when that is not known."""
    for one in _containers(pod):
        if one.get("ready"):
            continue
        waiting = one.get("state", {}).get("waiting", {})
        if waiting.get("reason") in HOPELESS or one.get("restartCount", 0) >= 2:
            return _said(one)
    return ""


def state(pod: Json) -> str:
    """How far a pod is, in a sentence."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"no node takes it: {condition.get('message', condition.get('reason', ''))}"
    for one in _containers(pod):
        if not one.get("ready") and (said := _said(one)):
            return said
    return "it is not ready"


def refused(deployment: Json) -> str:
    """Why pods of a Deployment are not even made, by a quota for instance; else empty."""
    for one in deployment.get("status", {}).get("conditions", ()):
        if one["type"] == "ReplicaFailure" and one["status"] == "True":
            return str(one.get("message", one.get("reason", "")))
    return ""


def _containers(pod: Json) -> list[Json]:
    return list(pod.get("status", {}).get("containerStatuses", ()))


def _said(container: Json) -> str:
    now = container.get("state", {})
    ended = now.get("terminated") or container.get("lastState", {}).get("terminated")
    ending = ""
    if ended:
        reason = ended.get("reason", "")
        ending = f"its process ended with status {ended.get('exitCode')}"
        ending += f" ({reason})" if reason not in ("", "Error", "Completed") else ""
    waiting = now.get("waiting", {})
    if waiting.get("reason") in HOPELESS and waiting["reason"] != "CrashLoopBackOff":
        return f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")
    return ending or str(waiting.get("message") or waiting.get("reason") or "")
