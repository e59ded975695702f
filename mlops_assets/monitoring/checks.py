"""Whether profiles arrive, and whether traffic and predictions look as they did in training."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import ServingProfile
from mlops_assets.modeling.figures import as_markdown
from mlops_assets.monitoring import drift, freshness, plots, profiles, views
from mlops_assets.monitoring.assets import reference_path
from mlops_assets.monitoring.profiles import Histogram
from mlops_assets.monitoring.spec import MonitoringSpec

OUTPUTS = ("prediction", "probability")
DRIFT = {
    names.HAS_NOT_DRIFTED: "inputs",
    names.PREDICTIONS_HAVE_NOT_DRIFTED: "predictions",
}


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(asset_checks=[_checks(experiment)])


def _checks(experiment: Experiment) -> dg.AssetChecksDefinition:
    """All checks of the profile in one step: they read the same two files."""
    spec = experiment.monitoring
    key = names.asset_key(experiment.name, names.SERVING_PROFILE)
    reference = names.asset_key(experiment.name, names.REFERENCE_PROFILE)

    @dg.multi_asset_check(
        name=f"{experiment.name}__{names.SERVING_PROFILE}_checks",
        specs=[
            dg.AssetCheckSpec(
                names.PROFILE_IS_FRESH,
                asset=key,
                description="The endpoint's newest profile is not older than the YAML allows. A "
                "late profile is a fault of the endpoint or its store, not of the model.",
            ),
            *(
                dg.AssetCheckSpec(
                    name,
                    asset=key,
                    additional_deps=[reference],
                    description=f"The {what} of the live version are distributed as in training: "
                    f"population stability index of every column at most {spec.drift.threshold:g}.",
                )
                for name, what in DRIFT.items()
            ),
        ],
        ins={"serving_profile": dg.AssetIn(key)},
        can_subset=True,
    )
    @names.inspected_once
    def serving_profile_checks(
        context: dg.AssetCheckExecutionContext,
        serving_profile: ServingProfile,
        data_store: dg.ResourceParam[DataStore],
    ) -> Iterator[dg.AssetCheckResult]:
        asked = {check.name for check in context.selected_asset_check_keys}
        if names.PROFILE_IS_FRESH in asked:
            yield _freshness(serving_profile, spec, key)
        found = None
        for name, what in DRIFT.items():
            if name not in asked:
                continue
            if serving_profile.url is None or serving_profile.rows < spec.drift.min_rows:
                yield _not_judged(name, serving_profile, spec, key)
                continue
            found = found or _histograms(experiment, serving_profile, data_store)
            yield _drift(name, what, found, serving_profile, spec, key)

    return serving_profile_checks


def _freshness(
    profile: ServingProfile, spec: MonitoringSpec, key: dg.AssetKey
) -> dg.AssetCheckResult:
    verdict = freshness.judge(profile, spec, now=datetime.now(UTC))
    return dg.AssetCheckResult(
        check_name=names.PROFILE_IS_FRESH,
        asset_key=key,
        passed=verdict.passed,
        description=verdict.reason,
        metadata={"newest_window": profile.last or "none"},
    )


def _not_judged(
    name: str, profile: ServingProfile, spec: MonitoringSpec, key: dg.AssetKey
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=True,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"not judged: {profile.rows} rows, {spec.drift.min_rows} are needed "
        "(monitoring.drift.min_rows)",
        metadata={"rows": profile.rows, "judged": False},
    )


def _histograms(
    experiment: Experiment, profile: ServingProfile, store: DataStore
) -> tuple[Histogram, ...]:
    assert profile.url is not None  # noqa: S101
    reference = store.at(reference_path(experiment.name, profile.version))
    then = views.deserialize(store.read_bytes(reference))
    return profiles.histograms(then, views.deserialize(store.read_bytes(profile.url)))


def _drift(
    name: str,
    what: str,
    found: tuple[Histogram, ...],
    profile: ServingProfile,
    spec: MonitoringSpec,
    key: dg.AssetKey,
) -> dg.AssetCheckResult:
    outputs = name == names.PREDICTIONS_HAVE_NOT_DRIFTED
    wanted = None if outputs else spec.drift.columns
    histograms = tuple(
        h
        for h in found
        if (h.column in OUTPUTS) == outputs and (wanted is None or h.column in wanted)
    )
    if not histograms:
        return dg.AssetCheckResult(
            check_name=name,
            asset_key=key,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"no column to judge: {', '.join(wanted or ()) or what} in neither profile",
        )
    verdicts = drift.judge(histograms, spec.drift)
    drifted = [verdict for verdict in verdicts if verdict.drifted]
    records = [
        dg.TableRecord(
            {"column": v.column, "psi": round(v.psi, 4), "drifted": v.drifted, "most": v.moved}
        )
        for v in verdicts
    ]
    rows = profile.rows
    pictures = as_markdown({"then and now": plots.then_and_now(histograms, verdicts)})
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not drifted,
        severity=dg.AssetCheckSeverity.WARN,
        description=_summary(drifted, len(verdicts), rows, what),
        metadata={
            "rows": rows,
            "version": profile.version,
            "judged": True,
            "drifted_columns": len(drifted),
            "largest_psi": verdicts[0].psi,
            "columns": dg.MetadataValue.table(records),
            "pictures": dg.MetadataValue.md(pictures),
        },
    )


def _summary(drifted: list[drift.ColumnDrift], columns: int, rows: int, what: str) -> str:
    if not drifted:
        return f"{columns} columns of {what} over {rows:,} rows are as in training"
    first = ", ".join(f"{v.column} (PSI {v.psi:.2f}, {v.moved})" for v in drifted[:3])
    return f"{len(drifted)} of {columns} columns of {what} drifted over {rows:,} rows: {first}"
