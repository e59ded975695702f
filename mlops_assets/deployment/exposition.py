"""What an endpoint's own metrics say of its traffic, whatever platform it runs on."""

import math
from collections import Counter
from collections.abc import Iterable

from mlops_assets.deployment.targets.base import Traffic

SCORING = ("/invocations", "/infer")
SECONDS = "mlops_request_seconds_bucket"
VALUES = ("mlops_prediction_probability_bucket", "mlops_prediction_value_bucket")


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
    for text in texts:
        _add(text, slower_than, total, predictions)
    return Traffic(
        requests=total["requests"],
        errors=total["errors"],
        slow=total["slow"],
        rows=total["rows"],
        predictions=dict(predictions),
    )


def _add(text: str, slower_than: float, total: Counter[str], predictions: Counter[str]) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    answered: dict[str, dict[float, int]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, labels, count = sample.name, sample.labels, int(sample.value)
            if name == "mlops_requests_total":
                total["errors"] += count if labels["status"] >= "500" else 0
            elif name == "mlops_rows_total":
                total["rows"] += count
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
