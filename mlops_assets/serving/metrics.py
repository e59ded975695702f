"""What the endpoint tells Prometheus. One registry per application, never the global one."""

import math
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import bundle
from mlops_assets.serving.profile import label as name_of
from mlops_assets.serving.scorer import Columns, Scorer, Scores

if TYPE_CHECKING:
    from prometheus_client import Histogram

    from mlops_assets.serving.recorder import Recorder

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHARES = tuple(step / 10 for step in range(1, 11))


class Metrics:
    """Counters of one endpoint process, as Prometheus text."""

    def __init__(self, scorer: Scorer, version: str, profiler: "Recorder | None") -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

        self._registry = registry = CollectorRegistry()
        self._manifest = manifest = scorer.manifest
        self.requests = Counter(
            "mlops_requests", "Requests answered, by status.", ["status"], registry=registry
        )
        self.errors = Counter(
            "mlops_errors", "Requests refused or failed, by reason.", ["reason"], registry=registry
        )
        self.seconds: Histogram = Histogram(
            "mlops_request_seconds",
            "Seconds from a request's headers to its answer, by path.",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "mlops_requests_in_flight", "Scoring requests being answered.", registry=registry
        )
        self._rows = Counter("mlops_rows", "Rows scored.", registry=registry)
        self._labels = Counter(
            "mlops_predictions", "Predictions, by label.", ["label"], registry=registry
        )
        self._missing = Counter(
            "mlops_missing_values", "Missing values, by feature.", ["feature"], registry=registry
        )
        for name in manifest.schema.names:
            self._missing.labels(name)
        for label in manifest.classes:
            self._labels.labels(name_of(label))
        self._values = _value_histogram(scorer, registry)
        Info("mlops_model", "The model that answers.", registry=registry).info(
            {
                "model": manifest.model,
                "version": version,
                "task": manifest.task,
                "run_id": manifest.run_id,
                "bundle_digest": scorer.digest,
            }
        )
        if profiler is not None:
            _watch(profiler, registry)

    def observe(self, columns: Columns, scores: Scores) -> None:
        """Count the rows of one answered request."""
        self._rows.inc(len(scores.predictions))
        for name, values in columns.items():
            if missing := values.count(None):
                self._missing.labels(name).inc(missing)
        if self._manifest.task == "regression":
            values = scores.predictions
        else:
            for label in set(scores.predictions):
                self._labels.labels(name_of(label)).inc(scores.predictions.count(label))
            values = [row[-1] if len(row) == 2 else max(row) for row in scores.probabilities]
        for value in values:
            self._values.observe(value)

    def render(self) -> tuple[bytes, str]:
        """The text and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _value_histogram(scorer: Scorer, registry: Any) -> "Histogram":
    from prometheus_client import Histogram

    if scorer.manifest.task != "regression":
        return Histogram(
            "mlops_prediction_probability",
            "Probability of the positive class, or of the predicted one of several.",
            buckets=SHARES,
            registry=registry,
        )
    # The golden requests are the only hint of the target's range that an endpoint has.
    known = [float(value) for value in bundle.read_golden(scorer.folder).predictions]
    low, high = min(known, default=0.0), max(known, default=1.0)
    width = (high - low) or max(abs(high), 1.0)
    buckets = sorted({float(f"{low + width * step / 10:.6g}") for step in range(-5, 16)})
    return Histogram(
        "mlops_prediction_value", "Predicted values.", buckets=buckets, registry=registry
    )


def _watch(profiler: "Recorder", registry: Any) -> None:
    from prometheus_client import Gauge

    pending = Gauge("mlops_profile_rows_pending", "Rows not yet profiled.", registry=registry)
    pending.set_function(lambda: profiler.pending_rows)
    dropped = Gauge(
        "mlops_profile_rows_dropped", "Rows never profiled: the queue was full.", registry=registry
    )
    dropped.set_function(lambda: profiler.dropped_rows)
    failures = Gauge(
        "mlops_profile_flush_failures", "Profiles the store did not take.", registry=registry
    )
    failures.set_function(lambda: profiler.flush_failures)
    last = Gauge(
        "mlops_profile_last_flush_timestamp_seconds",
        "When the store last took a profile; NaN before the first.",
        registry=registry,
    )
    last.set_function(lambda: profiler.last_flush or math.nan)
