"""What CloudWatch counted of the variants of a SageMaker endpoint, and which alarms are on.

What they answered and refused, their containers tell it (`deployment.embedded`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from mlops_assets.deployment import embedded
from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways import cloudwatch
from mlops_assets.gateways.aws import Service
from mlops_assets.gateways.cloudwatch import Metric, Span

NAMESPACE = "AWS/SageMaker"
DAY = 86_400


def measured(
    service: Service,
    endpoint: str,
    variants: Mapping[str, str],
    *,
    since: datetime,
    now: datetime,
    slower_than: float,
) -> dict[str, Traffic]:
    """Calls of each variant since then.

    Args:
        service: CloudWatch.
        endpoint: its name.
        variants: their models, by which their containers name themselves.
        since: counted from here on.
        now: up to here.
        slower_than: seconds.

    Raises:
        CloudError: CloudWatch does not say.
    """
    counted = {
        "requests": ("Invocations", "Sum"),
        "errors": ("Invocation5XXErrors", "Sum"),
        "slow": ("ModelLatency", f"TC({slower_than * 1e6:.0f}:)"),  # of microseconds
    }
    metrics = {
        f"{name}{index}": Metric(
            NAMESPACE, metric, {"EndpointName": endpoint, "VariantName": variant}, statistic
        )
        for index, variant in enumerate(variants)
        for name, (metric, statistic) in counted.items()
    }
    # Minutes are kept for some days only, and an answer holds so many values.
    period = 60 if (now - since).total_seconds() < DAY else 3600
    span = Span(since, now, period)
    found = dict.fromkeys(metrics, 0.0) | cloudwatch.sums(service, metrics, span)
    told = embedded.read(service, endpoint, variants.values(), span)
    counts = {
        variant: Traffic(
            requests=round(found[f"requests{index}"]),
            errors=round(found[f"errors{index}"]),
            slow=round(found[f"slow{index}"]),
            rows=None,
            predictions={},
        )
        for index, variant in enumerate(variants)
    }
    return {
        variant: embedded.completed(traffic, told.get(variants[variant]))
        for variant, traffic in counts.items()
    }


def alarming(service: Service, names: Sequence[str]) -> list[str]:
    """Those of CloudWatch's alarms that are on.

    Raises:
        CloudError: CloudWatch does not say.
    """
    if not names:
        return []
    said = service.call(
        "describe_alarms",
        AlarmNames=list(names),
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    found = [*said.get("MetricAlarms", []), *said.get("CompositeAlarms", [])]
    return sorted(one["AlarmName"] for one in found if one["StateValue"] == "ALARM")
