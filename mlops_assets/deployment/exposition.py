"""What an endpoint's own metrics say of its traffic, whatever platform it runs on."""

import math
from collections import Counter

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


def read(text: str, *, slower_than: float) -> Traffic:
    """The traffic that one process or pod tells of.

    Args:
        text: for Prometheus.
        slower_than: seconds; the next finer bound of the histogram counts.

    Raises:
        ValueError: the text is not what our endpoints give.
    """
    from prometheus_client.parser import text_string_to_metric_families

    total: Counter[str] = Counter()
    predictions: Counter[str] = Counter()
    refused: Counter[str] = Counter()
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
    return Traffic(
        requests=total["requests"],
        errors=total["errors"],
        slow=total["slow"],
        rows=total["rows"],
        predictions=dict(predictions),
        refused=dict(refused),
        log=_log(kept) if PENDING in kept else None,
    )


def _log(kept: dict[str, float]) -> ProfileLog:
    counts = {field: int(kept.get(name, 0)) for name, field in LOG.items()}
    return ProfileLog(**counts, last_flush=kept.get(FLUSHED))
