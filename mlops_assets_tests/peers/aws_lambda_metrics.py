"""What CloudWatch counts of functions: invocations through an alias, and by the version that ran
while the alias leads to two; and what functions tell it themselves. At once, where the real one
takes minutes.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets_tests.peers.aws import AwsError
from mlops_assets_tests.peers.aws_call import Call
from mlops_assets_tests.peers.embedded_metrics import EmbeddedMetrics, refuse_too_many
from mlops_assets_tests.peers.emulator import Function, Said

if TYPE_CHECKING:
    from mlops_assets_tests.peers.aws_lambda import Lambdas

ABOVE = re.compile(r"TC\((\d+(?:\.\d+)?):\)")


@dataclass(frozen=True)
class Invocation:
    """One that ran."""

    dimensions: frozenset[tuple[str, str]]
    when: datetime
    milliseconds: float
    failed: bool


@dataclass
class Metrics:
    """Those of `AWS/Lambda` that an alias has."""

    peer: "Lambdas"
    invocations: list[Invocation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.embedded = EmbeddedMetrics(
            self.peer.aws, lambda: self.peer.folder.glob("environments/*/output.log")
        )
        self.peer.aws.answers["cloudwatch", "GetMetricData"] = self._get

    def count(self, function: Function, qualifier: str | None, said: Said) -> None:
        aliases = {one.name: one for one in self.peer.backend.list_aliases(function.name)}
        if qualifier not in aliases:
            return
        of_alias = {
            ("FunctionName", function.name),
            ("Resource", f"{function.name}:{qualifier}"),
        }
        found = [of_alias]
        if (aliases[qualifier].routing_config or {}).get("AdditionalVersionWeights"):
            found.append(of_alias | {("ExecutedVersion", function.version)})
        now = datetime.now(UTC)
        self.invocations += [
            Invocation(frozenset(dimensions), now, said.seconds * 1000, said.failed)
            for dimensions in found
        ]

    def _get(self, call: Call) -> dict[str, Any]:
        asked = call.parameters
        between = asked["StartTime"].timestamp(), asked["EndTime"].timestamp()
        refuse_too_many(asked["MetricDataQueries"])
        results = []
        for query in asked["MetricDataQueries"]:
            wanted = query["MetricStat"]
            if wanted["Metric"]["Namespace"] != "AWS/Lambda":
                told = self.embedded.values(wanted, asked["StartTime"], asked["EndTime"])
                results.append({"Id": query["Id"], "StatusCode": "Complete", **told})
                continue
            number = self._number(wanted, between)
            found = {"Values": [number], "Timestamps": [asked["StartTime"]]} if number else {}
            empty = {"Values": [], "Timestamps": []}
            results.append({"Id": query["Id"], "StatusCode": "Complete", **(found or empty)})
        return {"MetricDataResults": results}

    def _number(self, asked: dict[str, Any], between: tuple[float, float]) -> float:
        metric, stat = asked["Metric"], asked["Stat"]
        if asked["Period"] % 60:
            raise AwsError("InvalidParameterValue", "no such metric")
        wanted = frozenset((one["Name"], one["Value"]) for one in metric["Dimensions"])
        ran = [
            one
            for one in self.invocations
            if one.dimensions == wanted and between[0] <= one.when.timestamp() < between[1]
        ]
        name = metric["MetricName"]
        if name == "Duration" and (found := ABOVE.fullmatch(stat)):
            return float(sum(one.milliseconds > float(found[1]) for one in ran))
        if stat != "Sum" or name not in ("Invocations", "Errors", "Throttles"):
            raise AwsError("InvalidParameterValue", f"{name} has no {stat}")
        if name == "Throttles":
            return 0.0
        return float(sum(one.failed or name == "Invocations" for one in ran))
