"""What CloudWatch counted of the versions behind a function's alias.

It tells them apart while the alias leads to two, and some minutes late. Lambda's errors are
invocations that failed: an answer of our own with status 500 is none of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlops_assets.deployment.lambda_alias import ALIAS
from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways import aws

NAMESPACE = "AWS/Lambda"
PERIOD = 3600
"""Seconds; sums are asked for, so that longer periods say as much in fewer numbers."""
AHEAD = timedelta(minutes=1)


@dataclass(frozen=True)
class _Count:
    id: str
    number: str
    metric: str
    statistic: str


def read(
    client: Any,
    function: str,
    numbers: Sequence[str],
    *,
    slower_than: float,
    since: datetime,
    now: datetime,
) -> dict[str, Traffic]:
    """What each of the published versions answered as the alias.

    Args:
        client: of CloudWatch.
        function: its name.
        numbers: of the versions.
        slower_than: seconds; without the time that starting an environment took.
        since: counted from the beginning of this hour on.
        now: up to here.

    Raises:
        CloudError: CloudWatch does not say.
    """
    asked = list(_counts(numbers, slower_than))
    start = since.replace(minute=0, second=0, microsecond=0)
    arguments: dict[str, Any] = {
        "MetricDataQueries": [_query(one, function) for one in asked],
        "StartTime": start,
        "EndTime": now + AHEAD,
    }
    sums = {one.id: 0.0 for one in asked}
    while True:
        answer = aws.call(client, "get_metric_data", **arguments)
        for result in answer["MetricDataResults"]:
            sums[result["Id"]] += sum(result["Values"])
        if not answer.get("NextToken"):
            break
        arguments["NextToken"] = answer["NextToken"]
    return {
        number: _traffic({one.metric: round(sums[one.id]) for one in asked if one.number == number})
        for number in numbers
    }


def _counts(numbers: Sequence[str], slower_than: float) -> Iterator[_Count]:
    for number in numbers:
        for metric in ("Invocations", "Errors", "Throttles"):
            yield _Count(f"{metric.lower()}_{number}", number, metric, "Sum")
        # How many of the durations, in milliseconds, are above.
        yield _Count(f"slow_{number}", number, "Duration", f"TC({slower_than * 1000:g}:)")


def _query(one: _Count, function: str) -> dict[str, Any]:
    dimensions = {
        "FunctionName": function,
        "Resource": f"{function}:{ALIAS}",
        "ExecutedVersion": one.number,
    }
    return {
        "Id": one.id,
        "MetricStat": {
            "Metric": {
                "Namespace": NAMESPACE,
                "MetricName": one.metric,
                "Dimensions": [{"Name": name, "Value": v} for name, v in dimensions.items()],
            },
            "Period": PERIOD,
            "Stat": one.statistic,
        },
    }


def _traffic(found: dict[str, int]) -> Traffic:
    refused = found["Throttles"]  # they did not run, so they are no invocations
    return Traffic(
        requests=found["Invocations"] + refused,
        errors=found["Errors"] + refused,
        slow=found["Duration"],
        rows=0,
        predictions={},
    )
