"""What CloudWatch counted of the versions behind a function's alias.

It tells them apart while the alias leads to two, and counts those of the alias as a whole at any
time; all of it some minutes late. What they answered and refused is told by their processes
(`deployment.embedded`). Lambda's errors are invocations that failed: where the program on the
endpoint would answer with status 500, it raises.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mlops_assets.deployment import embedded
from mlops_assets.deployment.aws_lambda.alias import ALIAS
from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways import cloudwatch
from mlops_assets.gateways.aws import Service
from mlops_assets.gateways.cloudwatch import Metric, Span

NAMESPACE = "AWS/Lambda"
PERIOD = 3600
"""Seconds; sums are asked for, so that longer periods say as much in fewer numbers."""
AHEAD = timedelta(minutes=1)


def read(
    service: Service,
    function: str,
    numbers: Sequence[str],
    *,
    alone: str | None,
    slower_than: float,
    since: datetime,
    now: datetime,
) -> dict[str, Traffic]:
    """What each of the published versions answered as the alias.

    Args:
        service: CloudWatch.
        function: its name.
        numbers: of the versions.
        alone: the one of them that has had every call but those counted of another one.
        slower_than: seconds; without the time that starting an environment took.
        since: counted from the beginning of this hour on.
        now: up to here.

    Raises:
        CloudError: CloudWatch does not say.
    """
    metrics = {
        f"{name}_{number}": Metric(NAMESPACE, metric, _dimensions(function, number), statistic)
        for number in numbers
        for name, (metric, statistic) in _counted(slower_than).items()
    }
    if alone is not None:
        metrics |= {
            f"{name}_all": Metric(NAMESPACE, metric, _dimensions(function), statistic)
            for name, (metric, statistic) in _counted(slower_than).items()
        }
    hour = since.replace(minute=0, second=0, microsecond=0)
    span = Span(hour, now + AHEAD, PERIOD)
    found = dict.fromkeys(metrics, 0.0) | cloudwatch.sums(service, metrics, span)
    if alone is not None:
        for name in _counted(slower_than):
            others = sum(found[f"{name}_{number}"] for number in numbers if number != alone)
            found[f"{name}_{alone}"] = max(0.0, found[f"{name}_all"] - others)
    told = embedded.read(service, function, numbers, span)
    return {
        number: embedded.completed(_traffic(found, number), told.get(number)) for number in numbers
    }


def _counted(slower_than: float) -> dict[str, tuple[str, str]]:
    """Metrics with their statistics; the last counts durations, in milliseconds, above a bound."""
    return {
        "invocations": ("Invocations", "Sum"),
        "errors": ("Errors", "Sum"),
        "throttles": ("Throttles", "Sum"),
        "slow": ("Duration", f"TC({slower_than * 1000:g}:)"),
    }


def _dimensions(function: str, number: str | None = None) -> dict[str, str]:
    """Of a version as the alias, or of the alias."""
    of_alias = {"FunctionName": function, "Resource": f"{function}:{ALIAS}"}
    return of_alias if number is None else {**of_alias, "ExecutedVersion": number}


def _traffic(found: dict[str, float], number: str) -> Traffic:
    def count(name: str) -> int:
        return round(found[f"{name}_{number}"])

    refused = count("throttles")  # they did not run, so they are no invocations
    return Traffic(
        requests=count("invocations") + refused,
        errors=count("errors") + refused,
        slow=count("slow"),
        rows=None,
        predictions={},
    )
