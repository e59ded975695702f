"""What CloudWatch counted of the variants of a SageMaker endpoint, and which alarms are on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways.aws import Service

NAMESPACE = "AWS/SageMaker"
DAY = 86_400


def measured(
    cloudwatch: Service,
    endpoint: str,
    variants: Iterable[str],
    *,
    since: datetime,
    now: datetime,
    slower_than: float,
) -> dict[str, Traffic]:
    """Calls of each variant since then. CloudWatch may be a minute or two behind.

    Raises:
        CloudError: it does not say.
    """
    names = list(variants)
    queries = [
        query
        for index, variant in enumerate(names)
        for query in _queries(index, endpoint, variant, since, now, slower_than)
    ]
    found = cloudwatch.pages(
        "get_metric_data",
        "MetricDataResults",
        MetricDataQueries=queries,
        StartTime=since.astimezone(UTC),
        EndTime=now.astimezone(UTC),
    )
    sums: dict[str, float] = {}
    for one in found:
        sums[one["Id"]] = sums.get(one["Id"], 0.0) + sum(one["Values"])

    def count(name: str) -> int:
        return round(sums.get(name, 0.0))

    return {
        variant: Traffic(
            requests=count(f"requests{index}"),
            errors=count(f"errors{index}"),
            slow=count(f"slow{index}"),
            rows=0,
            predictions={},
        )
        for index, variant in enumerate(names)
    }


def alarming(cloudwatch: Service, names: Sequence[str]) -> list[str]:
    """Those of the alarms that are on.

    Raises:
        CloudError: CloudWatch does not say.
    """
    if not names:
        return []
    kinds = ("MetricAlarms", "CompositeAlarms")
    said = cloudwatch.call(
        "describe_alarms",
        AlarmNames=list(names),
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    found = [one for kind in kinds for one in said.get(kind, [])]
    return sorted(one["AlarmName"] for one in found if one["StateValue"] == "ALARM")


def _queries(
    index: int, endpoint: str, variant: str, since: datetime, now: datetime, slower_than: float
) -> list[Mapping[str, Any]]:
    """Requests, errors, and requests that took longer than so many microseconds."""
    # Minutes are kept for some days only, and an answer holds so many values.
    period = 60 if (now - since).total_seconds() < DAY else 3600
    metrics = {
        "requests": ("Invocations", "Sum"),
        "errors": ("Invocation5XXErrors", "Sum"),
        "slow": ("ModelLatency", f"TC({slower_than * 1e6:.0f}:)"),
    }
    dimensions = [
        {"Name": "EndpointName", "Value": endpoint},
        {"Name": "VariantName", "Value": variant},
    ]
    return [
        {
            "Id": f"{name}{index}",
            "MetricStat": {
                "Metric": {
                    "Namespace": NAMESPACE,
                    "MetricName": metric,
                    "Dimensions": dimensions,
                },
                "Period": period,
                "Stat": statistic,
            },
        }
        for name, (metric, statistic) in metrics.items()
    ]
