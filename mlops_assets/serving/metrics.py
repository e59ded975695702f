"""What the endpoint tells Prometheus. One registry per application, never the global one.

Several processes of one endpoint tell one truth: each writes its numbers to files in a directory
they share, and whichever is asked adds them up. Counters of a process that is gone stay in them.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving import answered_values
from mlops_assets.serving.contents import PREDICTION, PROBABILITY, Contents
from mlops_assets.serving.contents import label as name_of
from mlops_assets.serving.embedded import Totals
from mlops_assets.serving.scorer import Columns, Scorer, Scores

if TYPE_CHECKING:
    from prometheus_client import Gauge

    from mlops_assets.serving.recorder import Recorder

SECONDS = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
RECORDED = {
    "dropped_rows": ("mlops_profile_rows_dropped", "Rows never profiled: the queue was full."),
    "flush_failures": ("mlops_profile_flush_failures", "Profiles the store did not take."),
    "logged_rows": ("mlops_logged_rows", "Rows written to the prediction log."),
    "dropped_log_rows": ("mlops_logged_rows_dropped", "Rows meant for the log, and lost."),
}
"""What a recorder counts; its numbers only grow."""


class Metrics:
    """Counters of one endpoint process, as Prometheus text.

    `directory` is shared by all processes of the endpoint; None for a single one. It holds for the
    whole process, so a process makes one of these.
    """

    def __init__(self, scorer: Scorer, version: str, *, directory: Path | None = None) -> None:
        if directory is not None:
            _share(directory)
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._directory = directory
        self._registry = registry = CollectorRegistry()
        self._manifest = manifest = scorer.manifest
        self._statuses = _Children(
            Counter(
                "mlops_requests", "Requests answered, by status.", ["status"], registry=registry
            )
        )
        self._reasons = _Children(
            Counter(
                "mlops_errors", "Requests refused or failed, by reason.", ["reason"],
                registry=registry,
            )
        )  # fmt: skip
        self._seconds = _Children(
            Histogram(
                "mlops_request_seconds",
                "Seconds from a request's headers to its answer, by path.",
                ["path"],
                buckets=SECONDS,
                registry=registry,
            )
        )
        self._in_flight = Gauge(
            "mlops_requests_in_flight",
            "Scoring requests being answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._rows = Counter("mlops_rows", "Rows scored.", registry=registry)
        labels = Counter(
            "mlops_predictions", "Predictions, by label.", ["label"], registry=registry
        )
        self._labels = {label: labels.labels(name_of(label)) for label in manifest.classes}
        missing = Counter(
            "mlops_missing_values", "Missing values, by feature.", ["feature"], registry=registry
        )
        self._missing = {name: missing.labels(name) for name in manifest.schema.names}
        self._values = answered_values.histogram(scorer, registry)
        _tell_model(scorer, version, registry)
        self._recorder: Recorder | None = None
        self._counted = dict.fromkeys(RECORDED, 0)
        self._recorded: dict[str, Any] = {}
        self._last_flush: Gauge | None = None

    def watch(self, recorder: "Recorder") -> None:
        """Tell of a recorder from now on."""
        from prometheus_client import Counter, Gauge

        self._recorder = recorder
        self._recorded = {
            attribute: Counter(name, text, registry=self._registry)
            for attribute, (name, text) in RECORDED.items()
        }
        self._pending = Gauge(
            "mlops_profile_rows_pending",
            "Rows not yet profiled.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._waiting = Gauge(
            "mlops_profile_bytes_waiting",
            "Size of profiles and logged rows that the store has not taken.",
            multiprocess_mode="livemax",  # processes share the folder they wait in
            registry=self._registry,
        )

    def answered(self, status: int, path: str, seconds: float) -> None:
        self._statuses[str(status)].inc()
        answered_values.observe_one(self._seconds[path], seconds)

    def refused(self, reason: str) -> None:
        self._reasons[reason].inc()

    def observe(self, columns: Columns, scores: Scores) -> None:
        """Count the rows of one answered request, or of several together."""
        self._rows.inc(len(scores.predictions))
        for name, values in columns.items():
            if missing := values.count(None):
                self._missing[name].inc(missing)
        if self._manifest.task == "regression":
            values = scores.predictions
        else:
            for label in set(scores.predictions):
                self._labels[label].inc(scores.predictions.count(label))
            values = [row[-1] if len(row) == 2 else max(row) for row in scores.probabilities]
        answered_values.observe(self._values, values)

    def count(self, contents: Contents) -> None:
        """Count what the rows of many requests hold."""
        import numpy as np

        self._rows.inc(contents.rows)
        for name, counter in self._missing.items():
            content = contents.columns[name]
            if isinstance(content, dict):
                missing = content[None]
            else:
                missing = int(np.count_nonzero(np.isnan(content)))
            if missing:
                counter.inc(missing)
        answers = contents.columns
        if self._manifest.task != "regression":
            named = {name_of(label): child for label, child in self._labels.items()}
            for name, times in answers[PREDICTION].items():
                named[name].inc(times)
        shown = answers.get(PROBABILITY, answers[PREDICTION])
        answered_values.observe(self._values, shown.tolist())

    def totals(self) -> Totals:
        """What this process has counted of rows, predictions and refused requests."""
        return Totals(
            rows=int(self._rows._value.get()),
            labels={name_of(label): int(one._value.get()) for label, one in self._labels.items()},
            values=answered_values.up_to(self._values),
            refused={reason: int(one._value.get()) for reason, one in [*self._reasons.items()]},
        )

    def refresh(self, in_flight: int) -> None:
        """Tell what has changed without a request: called often, for other processes to read."""
        self._in_flight.set(in_flight)
        recorder = self._recorder
        if recorder is None:
            return
        self._pending.set(recorder.pending_rows)
        self._waiting.set(recorder.waiting_bytes)
        for attribute, counter in self._recorded.items():
            now = getattr(recorder, attribute)
            counter.inc(now - self._counted[attribute])
            self._counted[attribute] = now
        if recorder.last_flush is not None:
            self._flushed().set(recorder.last_flush)

    def render(self) -> tuple[bytes, str]:
        """The text and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if self._directory is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def close(self) -> None:
        """Leave the last numbers of this process; its requests in flight count no more."""
        self.refresh(0)
        if self._directory is not None:
            forget(self._directory, os.getpid())

    def _flushed(self) -> "Gauge":
        if self._last_flush is None:
            from prometheus_client import Gauge

            # Made late: before the first flush there is no time to tell.
            self._last_flush = Gauge(
                "mlops_profile_last_flush_timestamp_seconds",
                "When the store last took a profile; absent before the first.",
                multiprocess_mode="max",
                registry=self._registry,
            )
        return self._last_flush


def forget(directory: Path, pid: int) -> None:
    """After process `pid` has ended: its gauges are no more, its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]


class _Children(dict[str, Any]):
    """The children of a metric with one label, each looked up once."""

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, label: str) -> Any:
        child = self[label] = self._metric.labels(label)
        return child


def _share(directory: Path) -> None:
    """Have every metric made from now on write to files. The library's own switch is a variable
    read when it is first imported, which may have been already."""
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call, misc]


def _tell_model(scorer: Scorer, version: str, registry: Any) -> None:
    from prometheus_client import Gauge

    manifest = scorer.manifest
    told = {
        "model": manifest.model,
        "version": version,
        "task": manifest.task,
        "run_id": manifest.run_id,
        "bundle_digest": scorer.digest,
    }
    # The library's Info has no form for several processes.
    info = Gauge(
        "mlops_model_info",
        "The model that answers.",
        list(told),
        multiprocess_mode="livemax",
        registry=registry,
    )
    info.labels(**told).set(1)
