"""What an endpoint's own metrics say of its traffic, whatever platform it runs on."""

import math
from collections import Counter
from collections.abc import Iterable

from mlops_assets.deployment.targets.base import Traffic
from mlops_assets.gateways.telemetry import ProfileLog

SCORING = ("/invocations", "/infer")
SECONDS = "mlops_request_seconds_bucket"
VALUES = ("mlops_prediction_probability_bucket", "mlops_prediction_value_bucket")
PENDING = "mlops_profile_rows_pending"
FLUSHED = "mlops_profile_last_flush_timestamp_seconds"
LOG = {
    PENDING: "pending_rows",
    "mlops_profile_bytes_waiting": "waiting_bytes",
    "mlops_profile_rows_dropped_total": "dropped_rows",
    "mlops_profile_flush_failures_total": "flush_failures",
}


def read(texts: Iterable[str], *, slower_than: float) -> Traffic:
    """The traffic of one version, over all of its processes.

    Args:
        texts: Prometheus text, one from each process or pod.
        slower_than: seconds; the next finer bound of the histogram counts.

    Raises:
        ValueError: a text is not what our endpoints give.
    """
    total: Counter[str] = Counter()
    predictions: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    kept = [_add(text, slower_than, total, predictions, refused) for text in texts]
    return Traffic(
        requests=total["requests"],
        errors=total["errors"],
        slow=total["slow"],
        rows=total["rows"],
        predictions=dict(predictions),
        refused=dict(refused),
        log=_log([each for each in kept if PENDING in each]),
    )


def _add(
    text: str,
    slower_than: float,
    total: Counter[str],
    predictions: Counter[str],
    refused: Counter[str],
) -> dict[str, float]:
    """Add what a text tells of requests; returns what it tells of the profiles."""
    from prometheus_client.parser import text_string_to_metric_families

    answered: dict[str, dict[float, int]] = {}
    kept: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, labels, count = sample.name, sample.labels, int(sample.value)
            if name == "mlops_requests_total":
                total["errors"] += count if labels["status"] >= "500" else 0
            elif name == "mlops_rows_total":
                total["rows"] += count
            elif name == "mlops_errors_total":
                refused[labels["reason"]] += count
            elif name in LOG or name == FLUSHED:
                kept[name] = sample.value
            elif name == "mlops_predictions_total":
                predictions[f"label={labels['label']}"] += count
            elif name == SECONDS and labels["path"].endswith(SCORING):
                answered.setdefault(labels["path"], {})[float(labels["le"])] = count
            elif name in VALUES and labels["le"] != "+Inf":
                predictions[f"value<={labels['le']}"] += count
    for counts in answered.values():
        fast = max((bound for bound in counts if bound <= slower_than), default=None)
        total["requests"] += counts[math.inf]
        total["slow"] += counts[math.inf] - (0 if fast is None else counts[fast])
    return kept


def _log(kept: list[dict[str, float]]) -> ProfileLog | None:
    if not kept:
        return None
    counts = {field: sum(int(each.get(name, 0)) for each in kept) for name, field in LOG.items()}
    return ProfileLog(
        **counts, last_flush=max((e[FLUSHED] for e in kept if FLUSHED in e), default=None)
    )
