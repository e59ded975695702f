"""What CloudWatch counted, as sums over a time. Knows no stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops_assets.gateways.aws import Service


@dataclass(frozen=True)
class Metric:
    """A metric of a namespace, and what of it is added up."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Sum"


def sums(
    cloudwatch: Service,
    metrics: Mapping[str, Metric],
    *,
    since: datetime,
    now: datetime,
    period: int,
) -> dict[str, float]:
    """The sum of each, 0 where there is nothing; CloudWatch may be a minute or two behind.

    Args:
        cloudwatch: whom to ask.
        metrics: by names of our own; letters in lower case, digits and underscores.
        since: counted from here on.
        now: up to here.
        period: seconds that one value of CloudWatch stands for.

    Raises:
        CloudError: CloudWatch does not say.
    """
    results = cloudwatch.pages(
        "get_metric_data",
        "MetricDataResults",
        MetricDataQueries=[
            {
                "Id": name,
                "MetricStat": {
                    "Metric": {
                        "Namespace": metric.namespace,
                        "MetricName": metric.name,
                        "Dimensions": [
                            {"Name": key, "Value": value}
                            for key, value in metric.dimensions.items()
                        ],
                    },
                    "Period": period,
                    "Stat": metric.statistic,
                },
            }
            for name, metric in metrics.items()
        ],
        StartTime=since,
        EndTime=now,
    )
    found = dict.fromkeys(metrics, 0.0)
    for one in results:
        found[one["Id"]] += sum(one["Values"])
    return found
