"""What was predicted, and how good it was once labels came; of experiments that log their rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.realised import Labels, LoggedRows, Performance, QualityWindow
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.registered import Origin, held_out
from mlops_assets.monitoring.performance import logged, measurement
from mlops_assets.serving.recording import window_start


def build(experiment: Experiment) -> dg.Definitions:
    """Nothing without a prediction log."""
    if experiment.monitoring.prediction_log is None:
        return dg.Definitions()
    return dg.Definitions(assets=[_prediction_log(experiment), _performance(experiment)])


def _prediction_log(experiment: Experiment) -> dg.AssetsDefinition:
    spec = experiment.monitoring
    kinds = [kind_of(type(target)) for target in experiment.deployment.targets]
    length = timedelta(seconds=spec.quality_window_seconds)

    @names.asset(
        experiment,
        "monitoring",
        names.PREDICTION_LOG,
        kinds={"parquet"},
        description="The rows that endpoints of every version logged, window by window: which "
        "files hold them, and how many there are when those written twice count once.",
        code=spec.fingerprint(),
        freshness_policy=names.every_window(experiment),
        ins={
            kind: dg.AssetIn(names.endpoint_key(experiment.name, kind), dagster_type=Endpoint)
            for kind in kinds
        },
    )
    def prediction_log(
        context: dg.AssetExecutionContext, data_store: dg.ResourceParam[DataStore], **endpoints: Any
    ) -> dg.MaterializeResult[LoggedRows]:
        now = datetime.now(UTC)
        newest = window_start(now.timestamp(), spec.quality_window_seconds)
        since = newest - length * (spec.quality.lookback - 1)
        found = logged.index(data_store, experiment.name, since=since, until=now)
        for url in found.unreadable:
            context.log.warning(f"{url} is no table and was left out")
        record = LoggedRows(
            version=max(endpoint.version for endpoint in endpoints.values()),
            windows=found.windows,
            unreadable=found.unreadable,
        )
        return dg.MaterializeResult(
            value=record,
            metadata={
                "version": record.version,
                "dagster/row_count": record.rows,
                "windows": len(record.windows),
                "since": since.isoformat(),
                "unreadable_files": len(record.unreadable),
            },
        )

    return prediction_log


def _performance(experiment: Experiment) -> dg.AssetsDefinition:
    ins = {
        "prediction_log": dg.AssetIn(names.asset_key(experiment.name, names.PREDICTION_LOG)),
    }
    if experiment.labels is not None:
        key = names.asset_key(experiment.name, names.LABELS)
        ins[names.LABELS] = dg.AssetIn(key, dagster_type=Labels)

    @names.asset(
        experiment,
        "monitoring",
        names.PERFORMANCE,
        kinds={"pandas"},
        description="How good the predictions of each window were: realised where labels came, "
        "with their share and their lag, and estimated without any label, which is no "
        "measurement. A window is computed again when labels of its own rows come or change.",
        code=f"{experiment.monitoring.fingerprint()}-{experiment.metric}",
        freshness_policy=names.every_window(experiment),
        ins=ins,
    )
    def performance(
        prediction_log: LoggedRows,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        **labels: Any,
    ) -> dg.MaterializeResult[Performance]:
        found = labels.get(names.LABELS)
        return _measured(experiment, prediction_log, found, data_store, model_registry)

    return performance


def _measured(
    experiment: Experiment,
    log: LoggedRows,
    labels: Labels | None,
    store: DataStore,
    registry: ModelRegistry,
) -> dg.MaterializeResult[Performance]:
    now = datetime.now(UTC)
    found = measurement.measure(store, experiment, log.windows, labels, now=now)
    tags = registry.version(experiment.model_name, log.version).tags
    record = Performance(
        version=log.version,
        windows=found.windows,
        held_out=held_out(tags),
        labels=labels.known if labels is not None else 0,
        unknown=found.unknown,
        examples=found.examples,
        data_digest=Origin.of(tags).data_digest,
    )
    metric = experiment.monitoring.quality.metric or experiment.metric
    rows = [_row(window, metric) for window in record.windows]
    return dg.MaterializeResult(
        value=record,
        metadata={
            "version": record.version,
            "windows": len(record.windows),
            "predictions": sum(window.predictions for window in record.windows),
            "labelled": sum(window.labelled for window in record.windows),
            "labels_without_a_prediction": record.unknown,
            "examples": ", ".join(record.examples) or "none",
            "by_window": dg.MetadataValue.table(rows) if rows else "none",
        },
    )


def _row(window: QualityWindow, metric: str) -> dg.TableRecord:
    """One window in the table of the asset; what is not known is empty."""
    realised, estimated = window.realised.get(metric), window.estimated.get(metric)
    shown: dict[str, float | int | str | None] = {
        "window": window.start,
        "version": window.version,
        "predictions": window.predictions,
        "labelled": window.labelled,
        "coverage": round(window.coverage, 4),
        "lag_median_h": _hours(window.lag_median_s),
        "lag_max_h": _hours(window.lag_max_s),
        f"realised_{metric}": _short(realised.value if realised else None),
        "low": _short(realised.low if realised else None),
        "high": _short(realised.high if realised else None),
        f"estimated_{metric}": _short(estimated.value if estimated else None),
        "revision": window.revision,
        f"{metric}_before": _short(window.before.get(metric)),
        "labels_of_no_class": window.strange,
        "computed_at": window.computed_at,
    }
    return dg.TableRecord({k: "" if value is None else value for k, value in shown.items()})


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 2)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
