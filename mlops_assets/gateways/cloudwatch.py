"""What CloudWatch counted, as sums over a time. Knows no stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_assets.gateways.aws import Service

MOST_QUERIES = 500
"""Metrics that one call of CloudWatch takes."""


@dataclass(frozen=True)
class Metric:
    """A metric of a namespace, and what of it is added up."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Sum"


@dataclass(frozen=True)
class Span:
    """The time of which something is asked."""

    since: datetime
    until: datetime
    period: int
    """Seconds that one value of CloudWatch stands for."""


def sums(cloudwatch: Service, metrics: Mapping[str, Metric], span: Span) -> dict[str, float]:
    """The sum of each that has a value in that time; CloudWatch may be a minute or two behind.

    Args:
        cloudwatch: whom to ask.
        metrics: by names of our own; letters in lower case, digits and underscores.
        span: of the values that are added up.

    Raises:
        CloudError: CloudWatch does not say.
    """
    found: dict[str, float] = {}
    queries = [_query(name, metric, span.period) for name, metric in metrics.items()]
    for start in range(0, len(queries), MOST_QUERIES):
        results = cloudwatch.pages(
            "get_metric_data",
            "MetricDataResults",
            MetricDataQueries=queries[start : start + MOST_QUERIES],
            StartTime=span.since,
            EndTime=span.until,
        )
        for one in results:
            if one["Values"]:
                found[one["Id"]] = found.get(one["Id"], 0.0) + sum(one["Values"])
    return found


def names(cloudwatch: Service, namespace: str, dimensions: Mapping[str, str]) -> set[str]:
    """Of the metrics with just these dimensions. One that is new may be missing for a quarter of an
    hour, one that had no value for two weeks is.

    Raises:
        CloudError: CloudWatch does not say.
    """
    found = cloudwatch.pages(
        "list_metrics", "Metrics", Namespace=namespace, Dimensions=_dimensions(dimensions)
    )
    return {one["MetricName"] for one in found if len(one["Dimensions"]) == len(dimensions)}


def _query(name: str, metric: Metric, period: int) -> dict[str, Any]:
    asked = {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": _dimensions(metric.dimensions),
    }
    return {
        "Id": name,
        "MetricStat": {"Metric": asked, "Period": period, "Stat": metric.statistic},
    }


def _dimensions(dimensions: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": key, "Value": value} for key, value in dimensions.items()]
