"""What CloudWatch counts of SageMaker endpoints, and what containers tell it themselves: at once,
where AWS is a minute or two behind."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets_tests.peers.aws import AwsError
from mlops_assets_tests.peers.aws_call import Call
from mlops_assets_tests.peers.embedded_metrics import EmbeddedMetrics, refuse_too_many

if TYPE_CHECKING:
    from mlops_assets_tests.peers.sagemaker import SageMaker

TRIMMED_COUNT = re.compile(r"TC\(([\d.]+):\)")


@dataclass(frozen=True)
class Invocation:
    endpoint: str
    variant: str
    status: int
    """Of the container; 0 when it did not answer."""
    microseconds: float
    when: datetime


METRICS: dict[str, Callable[[Invocation], float | None]] = {
    "Invocations": lambda one: 1.0,
    "Invocation4XXErrors": lambda one: float(400 <= one.status < 500),
    "Invocation5XXErrors": lambda one: float(one.status == 0 or one.status >= 500),
    "ModelLatency": lambda one: one.microseconds,
}


@dataclass
class Metrics:
    """GetMetricData of one server."""

    peer: "SageMaker"
    invocations: list[Invocation] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.peer.aws.answers["cloudwatch", "GetMetricData"] = self._answer

        logs = self.peer.folder.glob
        self.embedded = EmbeddedMetrics(self.peer.aws, lambda: logs("fleet-*/*/container.log"))

    def count(self, endpoint: str, variant: str, status: int, seconds: float) -> None:
        with self.lock:
            one = Invocation(endpoint, variant, status, seconds * 1e6, datetime.now(UTC))
            self.invocations.append(one)

    def _answer(self, call: Call) -> Mapping[str, Any]:
        asked = call.parameters
        refuse_too_many(asked["MetricDataQueries"])
        ids = [one["Id"] for one in asked["MetricDataQueries"]]
        if len(set(ids)) < len(ids) or not all(re.fullmatch("[a-z]\\w*", one) for one in ids):
            raise AwsError("ValidationError", "The value for Id is not unique, or not valid.", 400)
        results = [self._result(one, asked) for one in asked["MetricDataQueries"]]
        return {"MetricDataResults": results, "Messages": []}

    def _result(self, query: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = query["MetricStat"]
        metric, period = wanted["Metric"], int(wanted["Period"])
        start, end = (_time(asked[name]) for name in ("StartTime", "EndTime"))
        if metric["Namespace"] != "AWS/SageMaker":
            told = self.embedded.values(wanted, start, end)
            return {"Id": query["Id"], "StatusCode": "Complete", **told}
        if period % 60:
            raise AwsError("InvalidParameterValue", f"cannot be asked for: {wanted}", 400)
        named = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        start = start.replace(second=0, microsecond=0)
        with self.lock:
            found = [
                one
                for one in self.invocations
                if (one.endpoint, one.variant) == (named["EndpointName"], named["VariantName"])
                and start <= one.when <= end
            ]
        values = [METRICS[metric["MetricName"]](one) for one in found]
        said = {"Id": query["Id"], "Label": metric["MetricName"], "StatusCode": "Complete"}
        if not found:
            return {**said, "Timestamps": [], "Values": []}
        total = _statistic(wanted["Stat"], [one for one in values if one is not None])
        return {**said, "Timestamps": [start], "Values": [total]}


def _statistic(name: str, values: list[float]) -> float:
    if name == "Sum":
        return sum(values)
    if (found := TRIMMED_COUNT.fullmatch(name)) is not None:
        return float(sum(value >= float(found[1]) for value in values))
    raise AwsError("InvalidParameterValue", f"The statistic {name} is not known.", 400)


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
