"""The monitoring report that the live version carries in MLflow, made anew in every window."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.attached import attach_report
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.realised import Performance
from mlops_assets.gateways.records import MonitoringReport, ServingProfile
from mlops_assets.monitoring.report import compose, render
from mlops_assets.monitoring.report.compose import Left


def build(experiment: Experiment) -> dg.Definitions:
    ins = {
        names.SERVING_PROFILE: dg.AssetIn(names.asset_key(experiment.name, names.SERVING_PROFILE))
    }
    if experiment.monitoring.prediction_log is not None:
        key = names.asset_key(experiment.name, names.PERFORMANCE)
        ins[names.PERFORMANCE] = dg.AssetIn(key, dagster_type=Performance)

    @names.asset(
        experiment,
        "monitoring",
        names.MONITORING_REPORT,
        kinds={"html", "mlflow"},
        description="What monitoring says of the version that is live, as one HTML file with its "
        "pictures: an artifact of the version's MLflow run, named by its tag "
        "`mlops.monitoring_report`. A version that is no longer live keeps its last one.",
        code=f"{experiment.monitoring.fingerprint()}-{experiment.metric}",
        freshness_policy=names.every_window(experiment),
        ins=ins,
        deps=[names.asset_key(experiment.name, names.REFERENCE_PROFILE)],
    )
    def monitoring_report(
        context: dg.AssetExecutionContext,
        serving_profile: ServingProfile,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        **performance: Any,
    ) -> dg.MaterializeResult[MonitoringReport]:
        now = datetime.now(UTC)
        left = Left(serving_profile, performance.get(names.PERFORMANCE), serving_profile.windows)
        found = compose.monitored(experiment, data_store, left, now=now)
        at = now.isoformat(timespec="seconds")
        report = compose.of_version(experiment, serving_profile, found, at)
        said = f"{report.state}: {compose.briefly(found)}"
        html, url = render.render(report), ""
        try:
            url = attach_report(
                model_registry,
                experiment.model_name,
                serving_profile.version,
                html,
                at=at,
                said=said,
            )
        except RegistryError as error:
            # What the checks say must not depend on whether MLflow answers.
            context.log.warning(f"the version does not carry this report: {error}")
        record = MonitoringReport(serving_profile.version, at, report.state, said, url)
        return dg.MaterializeResult(
            value=record,
            metadata={
                "version": record.version,
                "state": record.state,
                "says": record.said,
                "size_kb": round(len(html.encode()) / 1000),
                "report": dg.MetadataValue.url(url) if url else "MLflow did not take it",
            },
        )

    return dg.Definitions(assets=[monitoring_report])
