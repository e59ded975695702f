"""Whether the quality on labels that came since is what it was on the held-out rows, and whether
logged rows are as those of the training."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import assets
from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.realised import LoggedRows, Performance
from mlops_assets.gateways.registered import Origin
from mlops_assets.monitoring import charts
from mlops_assets.monitoring.domain import Separation
from mlops_assets.monitoring.drawing import Picture, as_markdown
from mlops_assets.monitoring.performance import combinations, features, finding, rows, verdict
from mlops_assets.monitoring.performance.finding import Found
from mlops_assets.monitoring.resources import numbers_before
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

    @assets.checks_of(
        name=f"{experiment.name}__{names.QUALITY_HOLDS}",
        specs=[
            dg.AssetCheckSpec(
                names.QUALITY_HOLDS,
                asset=key,
                description=f"On labels that came since, {metric} is as on the held-out rows: it "
                f"is shown to be worse by more than {spec.margin:g} in fewer than {spec.at_least} "
                f"of the newest {spec.windows} windows with {spec.min_labels} labels. Of a fall it "
                "says whether inputs drifted with it, alone or together, or hold: concept drift.",
            )
        ],
        ins={"performance": dg.AssetIn(key)},
    )
    def quality_holds(
        performance: Performance, data_store: dg.ResourceParam[DataStore]
    ) -> dg.AssetCheckResult:
        found = finding.find(data_store, experiment, performance)
        return dg.AssetCheckResult(
            check_name=names.QUALITY_HOLDS,
            asset_key=key,
            passed=found.verdict.passed,
            description=found.words,
            metadata=_metadata(performance.version, found, spec),
        )

    return quality_holds


def _rows_have_not_drifted(experiment: Experiment) -> dg.AssetChecksDefinition:
    spec = experiment.monitoring.drift
    key = names.asset_key(experiment.name, names.PREDICTION_LOG)

    @assets.checks_of(
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
    def rows_have_not_drifted(
        context: dg.AssetCheckExecutionContext,
        prediction_log: LoggedRows,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.AssetCheckResult:
        version = model_registry.version(experiment.model_name, prediction_log.version)
        digest = Origin.of(version.tags).data_digest
        try:
            found, judged = combinations.separate(
                data_store, experiment, prediction_log, data_digest=digest
            )
        except ValueError as error:
            return _rows_not_judged(key, str(error))
        check = dg.AssetCheckKey(key, names.ROWS_HAVE_NOT_DRIFTED)
        before = numbers_before(context.instance, check, "value")
        drawn = _pictures(found, judged, [*before, (_now(), judged.auc)], spec)
        return _rows_judged(key, judged, spec, prediction_log.version, drawn)

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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _pictures(
    tables: features.Tables,
    found: Separation,
    areas: Sequence[tuple[str, float]],
    spec: DriftSpec,
) -> list[Picture]:
    """The area of each evaluation, what tells the rows apart, and the first columns of it."""
    starts, values = zip(*areas, strict=True)
    title, words = "Area under the curve, by evaluation", f"alarm from {spec.rows_auc:g} on"
    telling = found.telling[: 4 if found.drifted else 1]
    return [
        charts.over_windows(
            title,
            starts,
            {"area": values},
            limit=spec.rows_auc,
            words=words,
        ),
        charts.ranking("What of the area a column is worth", found.columns),
        *charts.then_and_now(rows.compare(tables.reference, tables.logged, telling), telling),
    ]


def _rows_judged(
    key: dg.AssetKey, found: Separation, spec: DriftSpec, version: int, drawn: Sequence[Picture]
) -> dg.AssetCheckResult:
    low, high = found.by_chance
    telling = ", ".join(found.telling[:3])
    said = (
        f"logged rows are told from those of the training with an area of {found.auc:.3f}; chance "
        f"gives {low:.3f} to {high:.3f}, {spec.rows_auc:g} is an alarm"
    )
    columns = [
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
            "value": found.auc,
            "threshold": spec.rows_auc,
            "by_chance_up_to": high,
            "training_rows": found.rows[0],
            "logged_rows": found.rows[1],
            "columns": dg.MetadataValue.table(columns),
            "pictures": dg.MetadataValue.md(as_markdown(drawn)),
        },
    )


def _metadata(version: int, of: Found, spec: QualitySpec) -> dict[str, Any]:
    """Numbers under names that stay; what does not apply is left out."""
    standard, found = of.standard, of.verdict
    newest = (found.fallen or found.looked_at)[-1] if found.looked_at else None
    window = newest.window if newest else (of.windows[-1] if of.windows else None)
    metadata: dict[str, Any] = {
        "version": version,
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
        drawn = charts.quality(of.windows, standard, worst=verdict.worst(standard, spec))
        metadata["pictures"] = dg.MetadataValue.md(as_markdown([drawn]))
        table = [dg.TableRecord(each) for each in finding.rows(of, spec)]
        metadata["by_window"] = dg.MetadataValue.table(table)
    if of.drifted is not None:
        metadata["kind"] = of.drifted.words()
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in metadata.items()
    }
