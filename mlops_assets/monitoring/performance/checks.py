"""Whether the quality on labels that came since is what it was on the held-out rows, and whether
logged rows are as those of the training."""

from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.realised import LoggedRows, Performance, QualityWindow
from mlops_assets.gateways.registered import Origin
from mlops_assets.modeling.tasks import METRICS
from mlops_assets.monitoring import charts, domain
from mlops_assets.monitoring.domain import Separation
from mlops_assets.monitoring.drawing import as_markdown
from mlops_assets.monitoring.performance import features, inputs, verdict
from mlops_assets.monitoring.performance.verdict import Inputs, Standard, Verdict
from mlops_assets.monitoring.spec import DriftSpec, QualitySpec


def build(experiment: Experiment) -> dg.Definitions:
    """Nothing without a prediction log."""
    if experiment.monitoring.prediction_log is None:
        return dg.Definitions()
    return dg.Definitions(
        asset_checks=[_quality_holds(experiment), _rows_have_not_drifted(experiment)]
    )


def _quality_holds(experiment: Experiment) -> dg.AssetChecksDefinition:
    spec = experiment.monitoring.quality
    key = names.asset_key(experiment.name, names.PERFORMANCE)
    metric = spec.metric or experiment.metric

    @dg.multi_asset_check(
        name=f"{experiment.name}__{names.QUALITY_HOLDS}",
        specs=[
            dg.AssetCheckSpec(
                names.QUALITY_HOLDS,
                asset=key,
                description=f"On labels that came since, {metric} is as on the held-out rows: it "
                f"is shown to be worse by more than {spec.margin:g} in fewer than {spec.at_least} "
                f"of the newest {spec.windows} windows with {spec.min_labels} labels. Of a fall it "
                "says whether inputs drifted with it, or hold: concept drift.",
            )
        ],
        ins={"performance": dg.AssetIn(key)},
    )
    @names.inspected_once
    def quality_holds(
        performance: Performance, data_store: dg.ResourceParam[DataStore]
    ) -> dg.AssetCheckResult:
        standard = _standard(experiment, performance)
        found = verdict.judge(performance.windows, performance.version, standard, spec)
        drifted = None
        if not found.passed:
            starts = {each.window.begins for each in found.fallen}
            drifted = inputs.compare(data_store, experiment, performance.version, starts)
        said = found.note and f"not judged: {found.note}{_expected(performance, metric)}"
        return dg.AssetCheckResult(
            check_name=names.QUALITY_HOLDS,
            asset_key=key,
            passed=found.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=said or verdict.words(found, standard, spec, drifted),
            metadata=_metadata(performance, standard, spec, found, drifted),
        )

    return quality_holds


def _rows_have_not_drifted(experiment: Experiment) -> dg.AssetChecksDefinition:
    spec = experiment.monitoring.drift
    key = names.asset_key(experiment.name, names.PREDICTION_LOG)

    @dg.multi_asset_check(
        name=f"{experiment.name}__{names.ROWS_HAVE_NOT_DRIFTED}",
        specs=[
            dg.AssetCheckSpec(
                names.ROWS_HAVE_NOT_DRIFTED,
                asset=key,
                description="A classifier cannot tell logged rows from those of the training: its "
                f"area under the curve, out of fold, is below {spec.rows_auc:g} or what chance "
                "explains. It sees new combinations of values, where each column is as it was.",
            )
        ],
        ins={"prediction_log": dg.AssetIn(key)},
    )
    @names.inspected_once
    def rows_have_not_drifted(
        prediction_log: LoggedRows,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.AssetCheckResult:
        version = model_registry.version(experiment.model_name, prediction_log.version)
        found = features.tables(
            data_store,
            experiment.name,
            prediction_log,
            data_digest=Origin.of(version.tags).data_digest,
            most=domain.MOST_ROWS,
        )
        if found is None or min(len(found.logged), len(found.reference)) < spec.min_rows:
            rows = 0 if found is None else len(found.logged)
            said = f"{rows} logged rows beside the training set, {spec.min_rows} are needed"
            return _rows_not_judged(key, f"{said} (monitoring.drift.min_rows)")
        try:
            judged = domain.separate(found.reference, found.logged, spec)
        except ValueError as error:
            return _rows_not_judged(key, str(error))
        return _rows_judged(key, judged, spec, prediction_log.version)

    return rows_have_not_drifted


def _rows_not_judged(key: dg.AssetKey, why: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=names.ROWS_HAVE_NOT_DRIFTED,
        asset_key=key,
        passed=True,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"not judged: {why}",
        metadata={"judged": False},
    )


def _rows_judged(
    key: dg.AssetKey, found: Separation, spec: DriftSpec, version: int
) -> dg.AssetCheckResult:
    low, high = found.by_chance
    telling = ", ".join(name for name, cost in found.columns[:3] if cost > 0)
    said = (
        f"logged rows are told from those of the training with an area of {found.auc:.3f}; chance "
        f"gives {low:.3f} to {high:.3f}, {spec.rows_auc:g} is an alarm"
    )
    rows = [
        dg.TableRecord({"column": name, "cost": float(f"{cost:.4g}")})
        for name, cost in found.columns
    ]
    return dg.AssetCheckResult(
        check_name=names.ROWS_HAVE_NOT_DRIFTED,
        asset_key=key,
        passed=not found.drifted,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{said}, by {telling}" if found.drifted and telling else said,
        metadata={
            "version": version,
            "judged": True,
            "auc": found.auc,
            "by_chance_up_to": high,
            "training_rows": found.rows[0],
            "logged_rows": found.rows[1],
            "columns": dg.MetadataValue.table(rows),
        },
    )


def _standard(experiment: Experiment, performance: Performance) -> Standard:
    metric = experiment.monitoring.quality.metric or experiment.metric
    rule = experiment.promotion.metrics.get(metric)
    return Standard(
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        held_out=performance.held_out.get(metric),
        floor=None if rule is None else rule.floor,
    )


def _expected(performance: Performance, metric: str) -> str:
    """The newest estimate, in words."""
    found = [
        window.estimated[metric] for window in _ours(performance) if metric in window.estimated
    ]
    if not found:
        return "; there is no estimate either"
    error = performance.held_out.get("calibration_error")
    calibrated = f" (error on held-out rows {error.value:.2g})" if error is not None else ""
    return (
        f"; estimated {metric} {found[-1].value:.3g} ({found[-1].low:.3g} to {found[-1].high:.3g}) "
        f"if probabilities are calibrated{calibrated} and the outcome depends on the inputs as in "
        "training"
    )


def _ours(performance: Performance) -> list[QualityWindow]:
    return [window for window in performance.windows if window.version == performance.version]


def _metadata(
    performance: Performance,
    standard: Standard,
    spec: QualitySpec,
    found: Verdict,
    drifted: Inputs | None,
) -> dict[str, Any]:
    """Numbers under names that stay; what does not apply is left out."""
    ours = _ours(performance)
    newest = (found.fallen or found.looked_at)[-1] if found.looked_at else None
    window = newest.window if newest else (ours[-1] if ours else None)
    metadata: dict[str, Any] = {
        "version": performance.version,
        "judged": bool(found.looked_at),
        "metric": standard.metric,
        "windows": len(found.looked_at),
        "fallen_windows": len(found.fallen),
    }
    if standard.held_out is not None:
        metadata |= {
            "held_out": standard.held_out.value,
            "threshold": verdict.worst(standard, spec),
        }
    if standard.floor is not None:
        metadata["floor"] = standard.floor
    if newest is not None:
        metadata |= {
            "value": newest.realised.value,
            "low": newest.realised.low,
            "high": newest.realised.high,
        }
    if window is not None:
        metadata |= {"coverage": window.coverage, "window": window.start}
        if window.lag_median_s is not None:
            metadata["lag_median_hours"] = window.lag_median_s / 3600
        if standard.metric in window.estimated:
            metadata["estimated"] = window.estimated[standard.metric].value
        drawn = charts.quality(ours, standard, worst=verdict.worst(standard, spec))
        metadata["picture"] = dg.MetadataValue.md(as_markdown([drawn]))
        rows = [dg.TableRecord(verdict.row(each, standard, spec)) for each in ours[::-1]]
        metadata["by_window"] = dg.MetadataValue.table(rows)
    if drifted is not None:
        metadata["kind"] = drifted.words()
    return metadata
