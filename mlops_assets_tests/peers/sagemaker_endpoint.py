"""One SageMaker endpoint: its fleets of containers, its status, and how an update moves traffic."""

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets_tests.peers.sagemaker_container import END_SECONDS, POLL_SECONDS, Container

if TYPE_CHECKING:
    from mlops_assets_tests.peers.sagemaker import SageMaker

FLEETS = itertools.count()
ALL_AT_ONCE = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    }
}
PROPERTIES = {
    "DesiredInstanceCount": "InitialInstanceCount",
    "DesiredWeight": "InitialVariantWeight",
}


class RollBackError(Exception):
    """The update is not to go on, and why."""


@dataclass
class Variant:
    """A production variant. However many instances it has, one container answers for them."""

    settings: dict[str, Any]
    """As in the endpoint configuration."""
    container: Container | None
    """None when its model is gone."""
    weight: float
    count: int
    desired_weight: float
    desired_count: int
    status: str | None = None

    def description(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "VariantName": self.settings["VariantName"],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.desired_weight,
        }
        if "ServerlessConfig" in self.settings:
            said["CurrentServerlessConfig"] = self.settings["ServerlessConfig"]
            said["DesiredServerlessConfig"] = self.settings["ServerlessConfig"]
        else:
            said["CurrentInstanceCount"] = self.count
            said["DesiredInstanceCount"] = self.desired_count
        if self.status is not None:
            said["VariantStatus"] = [{"Status": self.status}]
        return said


@dataclass
class Fleet:
    """What one endpoint configuration has become."""

    config_name: str
    capture: Mapping[str, Any]
    variants: dict[str, Variant]
    calls: int = 0
    """That were routed here and are not answered yet."""

    @property
    def containers(self) -> list[Container]:
        return [v.container for v in self.variants.values() if v.container is not None]

    def start(self, patience: float) -> str | None:
        """Wait until all containers answer; gives the reason when one does not."""
        for name, variant in self.variants.items():
            if variant.container is None:
                return f'Could not find model "{variant.settings["ModelName"]}".'
            reason = variant.container.start(patience)
            if reason is not None:
                return f"The primary container for production variant {name} {reason}"
        return None

    def end(self) -> None:
        """Once its calls are answered, as AWS drains what it takes out of service."""
        deadline = time.monotonic() + END_SECONDS
        while self.calls and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for container in self.containers:
            container.end()


@dataclass
class Endpoint:
    """An endpoint, and the thread that changes it."""

    peer: "SageMaker"
    name: str
    arn: str
    config_name: str
    """Of the fleet that serves."""
    status: str = "Creating"
    reason: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))
    coming: Fleet | None = None
    """The new fleet during an update."""
    share: float = 0.0
    """Of the traffic that the new fleet gets."""
    deployment: Mapping[str, Any] | None = None
    """The last one that was done."""
    history: list[str] = field(default_factory=list)
    """Every status, in order."""
    _ending: threading.Event = field(default_factory=threading.Event)
    _work: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.fleet = self._fleet(self.config_name)
        self.history.append(self.status)

    def create(self) -> None:
        def work() -> None:
            reason = self.fleet.start(self.peer.health_seconds)
            if reason is not None:
                self.fleet.end()
            self._become("Failed" if reason else "InService", reason)

        self._go(work)

    def update(self, asked: Mapping[str, Any]) -> None:
        """Replace the fleet by one of another configuration, blue/green."""
        coming = self._fleet(asked["EndpointConfigName"])
        if asked.get("RetainAllVariantProperties"):
            self._retain(coming, asked.get("ExcludeRetainedVariantProperties") or [])
        deployment = asked.get("DeploymentConfig") or ALL_AT_ONCE
        if asked.get("RetainDeploymentConfig") and self.deployment is not None:
            deployment = self.deployment
        self.coming, self.share = coming, 0.0
        self._become("Updating", None)
        self._go(lambda: self._replace(coming, deployment))

    def update_weights(self, asked: list[dict[str, Any]]) -> None:
        variants = self.fleet.variants
        for one in asked:
            variant = variants[one["VariantName"]]
            variant.desired_weight = float(one.get("DesiredWeight", variant.desired_weight))
            variant.desired_count = int(one.get("DesiredInstanceCount", variant.desired_count))

        def work() -> None:
            self._wait(self.peer.moment)
            for variant in variants.values():
                variant.weight, variant.count = variant.desired_weight, variant.desired_count
            self._become("InService", None)

        self._become("Updating", None)
        self._go(work)

    def delete(self) -> None:
        def work() -> None:
            self._wait(self.peer.moment)
            self._end_fleets()
            with self.peer.lock:
                self.peer.endpoints.pop(self.name, None)
                self.peer.backend.endpoints.pop(self.name, None)

        self._become("Deleting", None)
        self._go(work)

    def close(self) -> None:
        """At the end of the peer."""
        self._ending.set()
        self._end_fleets()
        if self._work is not None:
            self._work.join(60)
        self._end_fleets()

    def chosen(self, target: str | None, dice: float, toss: float) -> tuple[str, Fleet] | None:
        """Who answers a call: the fleet by `toss`, its variant by `dice` or by name."""
        new = self.coming if self.coming is not None and toss < self.share else None
        fleet = new or self.fleet
        variants = fleet.variants
        if target is not None:
            return (target, fleet) if target in variants else None
        dice *= sum(variant.weight for variant in variants.values())
        for name, variant in variants.items():
            if dice < variant.weight:
                return name, fleet
            dice -= variant.weight
        return None

    def description(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            **self.summary(),
            "EndpointConfigName": self.config_name,
            "ProductionVariants": [one.description() for one in self.fleet.variants.values()],
        }
        if self.status == "Failed":
            del said["ProductionVariants"]
        if self.reason is not None:
            said["FailureReason"] = self.reason
        if self.deployment is not None:
            said["LastDeploymentConfig"] = self.deployment
        if self.fleet.capture:
            said["DataCaptureConfig"] = {
                "EnableCapture": self.fleet.capture.get("EnableCapture", True),
                "CaptureStatus": "Started",
                "CurrentSamplingPercentage": self.fleet.capture["InitialSamplingPercentage"],
                "DestinationS3Uri": self.fleet.capture["DestinationS3Uri"],
                "KmsKeyId": self.fleet.capture.get("KmsKeyId", ""),
            }
        if self.coming is not None and self.status == "Updating":
            said["PendingDeploymentSummary"] = {
                "EndpointConfigName": self.coming.config_name,
                "ProductionVariants": [o.description() for o in self.coming.variants.values()],
                "StartTime": self.changed,
            }
        return said

    def summary(self) -> dict[str, Any]:
        return {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.changed,
            "EndpointStatus": self.status,
        }

    def _replace(self, coming: Fleet, deployment: Mapping[str, Any]) -> None:
        old = self.fleet
        alarms = [
            one["AlarmName"]
            for one in (deployment.get("AutoRollbackConfiguration") or {}).get("Alarms", [])
        ]
        try:
            reason = coming.start(self.peer.health_seconds)
            if reason is not None:
                raise RollBackError(reason)
            for share, bake in _steps(deployment):
                self.share = share
                self._bake(bake, alarms)
        except RollBackError as problem:
            self._roll_back(coming, str(problem))
            return
        policy = deployment.get("BlueGreenUpdatePolicy") or {}
        with self.peer.lock:
            self.fleet, self.config_name = coming, coming.config_name
            self.coming, self.share, self.deployment = None, 0.0, deployment
            mirrored = self.peer.backend.endpoints[self.name]
            mirrored.endpoint_config_name = coming.config_name
        self._wait(policy.get("TerminationWaitInSeconds", 0) * self.peer.pace)
        old.end()
        self._become("InService", None)

    def _bake(self, seconds: float, alarms: list[str]) -> None:
        """Wait while nothing alarms.

        Raises:
            RollBackError: an alarm went off.
        """
        end = time.monotonic() + seconds * self.peer.pace
        while True:
            if loud := self.peer.alarming(alarms):
                raise RollBackError(f"The following CloudWatch alarms are in ALARM state: {loud}")
            if time.monotonic() >= end or self._wait(0.01):
                return

    def _roll_back(self, coming: Fleet, reason: str) -> None:
        if self.peer.rollback_fails and self.share > 0:
            self._become("UpdateRollbackFailed", reason)
            return
        with self.peer.lock:
            self.coming, self.share = None, 0.0
        coming.end()
        self._become("InService", reason)

    def _retain(self, coming: Fleet, excluded: list[dict[str, str]]) -> None:
        left = {one["VariantPropertyType"] for one in excluded}
        for name, variant in coming.variants.items():
            known = self.fleet.variants.get(name)
            if known is not None and "DesiredWeight" not in left:
                variant.weight = variant.desired_weight = known.desired_weight
            if known is not None and "DesiredInstanceCount" not in left:
                variant.count = variant.desired_count = known.desired_count

    def _fleet(self, config_name: str) -> Fleet:
        config = self.peer.config(config_name)
        folder = self.peer.folder / f"fleet-{next(FLEETS)}"
        variants = {}
        for one in config.production_variants:
            name, model = one["VariantName"], self.peer.model(one["ModelName"])
            weight = float(one.get("InitialVariantWeight", 1.0))
            count = int(one.get("InitialInstanceCount", 1))
            container = None
            if model is not None:
                container = Container(self.peer.aws, model, folder / name, self.peer.program)
            variants[name] = Variant(one, container, weight, count, weight, count)
        return Fleet(config_name, config.data_capture_config or {}, variants)

    def _end_fleets(self) -> None:
        self.fleet.end()
        if self.coming is not None:
            self.coming.end()

    def _become(self, status: str, reason: str | None) -> None:
        with self.peer.lock:
            self.status, self.reason, self.changed = status, reason, datetime.now(UTC)
            self.history.append(status)

    def _wait(self, seconds: float) -> bool:
        return self._ending.wait(seconds)

    def _go(self, work: Any) -> None:
        self._work = threading.Thread(target=work, daemon=True)
        self._work.start()


def _steps(deployment: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """The new fleet's share of the traffic, and for how many seconds it bakes."""
    rolling = deployment.get("RollingUpdatePolicy")
    policy = deployment.get("BlueGreenUpdatePolicy") or ALL_AT_ONCE["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    wait = (rolling or routing)["WaitIntervalInSeconds"]
    if rolling:
        size = rolling["MaximumBatchSize"]
    elif routing["Type"] == "CANARY":
        yield _part(routing["CanarySize"]), wait
        yield 1.0, wait
        return
    elif routing["Type"] == "LINEAR":
        size = routing["LinearStepSize"]
    else:
        yield 1.0, wait
        return
    part = _part(size)
    share = part
    while share < 1.0 - 1e-9:
        yield share, wait
        share += part
    yield 1.0, wait


def _part(size: Mapping[str, Any]) -> float:
    """Of one instance only half can be moved here: there is one container per variant."""
    return size["Value"] / 100 if size["Type"] == "CAPACITY_PERCENT" else 0.5
