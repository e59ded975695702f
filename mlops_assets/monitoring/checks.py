"""Whether profiles arrive, and whether traffic and predictions look as they did in training."""

from datetime import UTC, datetime

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import ServingProfile
from mlops_assets.modeling.figures import as_markdown
from mlops_assets.monitoring import drift, freshness, plots, profiles
from mlops_assets.monitoring.assets import reference_path

OUTPUTS = ("prediction", "probability")


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        asset_checks=[
            _profile_is_fresh(experiment),
            _drift_check(experiment, names.HAS_NOT_DRIFTED, outputs=False),
            _drift_check(experiment, names.PREDICTIONS_HAVE_NOT_DRIFTED, outputs=True),
        ]
    )


def _profile_is_fresh(experiment: Experiment) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=names.PROFILE_IS_FRESH,
        asset=names.asset_key(experiment.name, names.SERVING_PROFILE),
        description="The endpoint's newest profile is not older than the YAML allows. A late "
        "profile is a fault of the endpoint or its store, not of the model.",
    )
    def profile_is_fresh(serving_profile: ServingProfile) -> dg.AssetCheckResult:
        verdict = freshness.judge(serving_profile, experiment.monitoring, now=datetime.now(UTC))
        return dg.AssetCheckResult(
            passed=verdict.passed,
            description=verdict.reason,
            metadata={"newest_window": serving_profile.last or "none"},
        )

    return profile_is_fresh


def _drift_check(experiment: Experiment, name: str, *, outputs: bool) -> dg.AssetChecksDefinition:
    spec = experiment.monitoring.drift
    what = "predictions" if outputs else "inputs"

    @dg.asset_check(
        name=name,
        asset=names.asset_key(experiment.name, names.SERVING_PROFILE),
        additional_deps=[names.asset_key(experiment.name, names.REFERENCE_PROFILE)],
        description=f"The {what} of the live version are distributed as in training: population "
        f"stability index of every column at most {spec.threshold:g}.",
    )
    def has_not_drifted(
        serving_profile: ServingProfile, data_store: dg.ResourceParam[DataStore]
    ) -> dg.AssetCheckResult:
        if serving_profile.url is None or serving_profile.rows < spec.min_rows:
            return dg.AssetCheckResult(
                passed=True,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"not judged: {serving_profile.rows} rows, "
                f"{spec.min_rows} are needed (monitoring.drift.min_rows)",
                metadata={"rows": serving_profile.rows, "judged": False},
            )
        from mlops_assets.serving import profile as sketches

        reference = data_store.at(reference_path(experiment.name, serving_profile.version))
        then = sketches.deserialize(data_store.read_bytes(reference))
        now = sketches.deserialize(data_store.read_bytes(serving_profile.url))
        wanted = OUTPUTS if outputs else spec.columns
        histograms = tuple(
            h
            for h in profiles.histograms(then, now)
            if (h.column in OUTPUTS) == outputs and (wanted is None or h.column in wanted)
        )
        verdicts = drift.judge(histograms, spec)
        drifted = [verdict for verdict in verdicts if verdict.drifted]
        records = [
            dg.TableRecord(
                {"column": v.column, "psi": round(v.psi, 4), "drifted": v.drifted, "most": v.moved}
            )
            for v in verdicts
        ]
        return dg.AssetCheckResult(
            passed=not drifted,
            severity=dg.AssetCheckSeverity.WARN,
            description=_summary(drifted, len(verdicts), serving_profile.rows, what),
            metadata={
                "rows": serving_profile.rows,
                "judged": True,
                "drifted_columns": len(drifted),
                "largest_psi": verdicts[0].psi if verdicts else 0.0,
                "columns": dg.MetadataValue.table(records),
                "pictures": dg.MetadataValue.md(
                    as_markdown({"then and now": plots.then_and_now(histograms, verdicts)})
                ),
            },
        )

    return has_not_drifted


def _summary(drifted: list[drift.ColumnDrift], columns: int, rows: int, what: str) -> str:
    if not drifted:
        return f"{columns} columns of {what} over {rows:,} rows are as in training"
    first = ", ".join(f"{v.column} (PSI {v.psi:.2f}, {v.moved})" for v in drifted[:3])
    return f"{len(drifted)} of {columns} columns of {what} drifted over {rows:,} rows: {first}"
