"""How many requests endpoints refuse because they do not fit the schema of the model. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from mlops_assets.gateways.telemetry import Telemetry, growth
from mlops_assets.monitoring.expectations import Allowed
from mlops_assets.monitoring.spec import DataQualitySpec

SCHEMA = ("unknown_field", "missing_field", "wrong_type", "bad_row", "bad_shape")
"""Reasons of refusals by which a request does not fit the schema of the model."""


@dataclass(frozen=True)
class Rejected:
    """Requests that do not fit the schema."""

    share: float
    """Of all requests, 0 to 1."""
    requests: int
    by_reason: Mapping[str, int]
    passed: bool
    reason: str


def judge(
    told: Sequence[Telemetry], before: Mapping[str, Telemetry], spec: DataQualitySpec
) -> Rejected:
    """Requests that the endpoints refused since they were last asked, or since they started.

    Args:
        told: what each endpoint says of itself now.
        before: what it said the last time, by target.
        spec: what share is allowed.
    """
    requests, by_reason, silent = 0, dict.fromkeys(SCHEMA, 0), []
    for one in told:
        if one.state != "answers" or one.rows is None:
            silent.append(one.target)
            continue
        last = before.get(one.target)
        anew = last is None or one.requests < last.requests
        requests += growth(one.requests, None if last is None else last.requests)
        for reason in SCHEMA:
            known = None if anew or last is None else last.refused.get(reason, 0)
            by_reason[reason] += growth(one.refused.get(reason, 0), known)
    count = sum(by_reason.values())
    requests = max(requests, count)
    z = NormalDist().inv_cdf(1 - spec.false_alarms)
    return Rejected(
        share=count / requests if requests else 0.0,
        requests=requests,
        by_reason={reason: times for reason, times in by_reason.items() if times},
        passed=not Allowed(spec.max_rejected, 0.0).is_exceeded(count, requests, z),
        reason=_said_of_requests(count, requests, by_reason, silent, spec),
    )


def _said_of_requests(
    count: int,
    requests: int,
    by_reason: Mapping[str, int],
    silent: Sequence[str],
    spec: DataQualitySpec,
) -> str:
    parts = []
    if requests:
        most = max(by_reason, key=lambda reason: by_reason[reason])
        mostly = f", most as `{most}`" if count else ""
        parts.append(
            f"{count:,} of {requests:,} requests did not fit the schema{mostly}; "
            f"{spec.max_rejected:.1%} may"
        )
    elif not silent:
        parts.append("no requests since the last look")
    if silent:
        parts.append(f"{', '.join(silent)} does not tell how many requests were refused")
    return "; ".join(parts)
