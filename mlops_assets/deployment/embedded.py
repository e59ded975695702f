"""What endpoints told CloudWatch of their rows, predictions and refused requests, by version.

CloudWatch lists a new metric late, but gives its values: so the names by which one version is known
are asked of every version.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways import cloudwatch
from mlops_assets.gateways.aws import CloudError, Service
from mlops_assets.gateways.cloudwatch import Metric, Span
from mlops_assets.serving.embedded import ENDPOINT, NAMESPACE, REFUSED, ROWS, VERSION

log = logging.getLogger("deployment")

DENIED = ("AccessDenied", "AccessDeniedException")


@dataclass(frozen=True)
class Told:
    """As of `Traffic`."""

    rows: int
    predictions: Mapping[str, int]
    refused: Mapping[str, int]


def completed(traffic: Traffic, told: Told | None) -> Traffic:
    """What a platform counted of a version, with what its processes told. Where they told nothing,
    that is known only of one that nobody asked."""
    if told is None:
        return replace(traffic, rows=None if traffic.requests else 0)
    return replace(traffic, rows=told.rows, predictions=told.predictions, refused=told.refused)


def read(service: Service, endpoint: str, versions: Iterable[str], span: Span) -> dict[str, Told]:
    """What each version told; those that told nothing, as of an older program, are not in it.

    Args:
        service: CloudWatch.
        endpoint: its name in the metrics.
        versions: their names there.
        span: of the lines that count.

    Raises:
        CloudError: CloudWatch does not say. That it may not be asked which metrics there are is no
            error: then nobody told anything.
    """
    of = {version: {ENDPOINT: endpoint, VERSION: version} for version in versions}
    try:
        known = {one: cloudwatch.names(service, NAMESPACE, each) for one, each in of.items()}
    except CloudError as error:
        if error.code not in DENIED:
            raise
        log.warning("predictions of %s are not known: %s", endpoint, error)
        return {}
    names = sorted({ROWS}.union(*known.values()))
    asked = {
        f"m{number}": (version, name)
        for number, (version, name) in enumerate(
            (version, name) for version in of for name in names
        )
    }
    sums = cloudwatch.sums(
        service,
        {id_: Metric(NAMESPACE, name, of[version]) for id_, (version, name) in asked.items()},
        span,
    )
    # One that is known to tell its rows, and told none in that time, has none.
    counts: dict[str, dict[str, int]] = {
        version: {ROWS: 0} for version in of if ROWS in known[version]
    }
    for id_, total in sums.items():
        version, name = asked[id_]
        counts.setdefault(version, {})[name] = round(total)
    return {version: _told(found) for version, found in counts.items() if ROWS in found}


def _told(counts: Mapping[str, int]) -> Told:
    refused = {n.removeprefix(REFUSED): c for n, c in counts.items() if n.startswith(REFUSED)}
    said = {unquote(n): c for n, c in counts.items() if n != ROWS and not n.startswith(REFUSED)}
    return Told(counts[ROWS], said, refused)
