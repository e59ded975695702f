"""Whether profiles arrive, and whether traffic and predictions look as they did before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import telemetry
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import ServingProfile
from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.modeling.figures import as_markdown
from mlops_assets.monitoring import comparison, data_quality, drift, freshness, plots, rejections
from mlops_assets.monitoring.comparison import Compared, Judged
from mlops_assets.monitoring.drift import ColumnAlarm
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.monitoring.resources import TOLD, told_before
from mlops_assets.monitoring.spec import DriftSpec, MonitoringSpec
from mlops_assets.serving.scorer import OUTPUTS

DRIFT = {
    names.HAS_NOT_DRIFTED: "inputs",
    names.PREDICTIONS_HAVE_NOT_DRIFTED: "predictions",
}

Ask = Callable[[Experiment, int, Any], Sequence[Telemetry]]
"""What the endpoints of an experiment tell of themselves, and of the traffic of a version."""


def build(experiment: Experiment, ask: Ask) -> dg.Definitions:
    """The checks of the serving profile.

    Args:
        experiment: whose.
        ask: asks its endpoints; the last argument is the resource `target_context`.
    """
    return dg.Definitions(asset_checks=[_checks(experiment, ask)])


def _checks(experiment: Experiment, ask: Ask) -> dg.AssetChecksDefinition:
    """All checks of the profile in one step: they read the same files."""
    spec = experiment.monitoring
    key = names.asset_key(experiment.name, names.SERVING_PROFILE)
    reference = names.asset_key(experiment.name, names.REFERENCE_PROFILE)

    @dg.multi_asset_check(
        name=f"{experiment.name}__{names.SERVING_PROFILE}_checks",
        specs=[
            dg.AssetCheckSpec(
                names.PROFILE_IS_FRESH,
                asset=key,
                description="The newest profile of every endpoint is not older than the YAML "
                "allows. Where it is, the endpoint is asked why: no traffic, a dead endpoint, a "
                "dead log or a late window. None of them is a fault of the model.",
            ),
            dg.AssetCheckSpec(
                names.DATA_QUALITY_HOLDS,
                asset=key,
                additional_deps=[reference],
                description="The values of the traffic are as in training, or as "
                "`monitoring.expectations` has them: missing ones, categories, ranges and types, "
                f"in {spec.drift.at_least} of {spec.drift.windows} windows. And at most "
                f"{spec.data_quality.max_rejected:.0%} of the requests do not fit the schema.",
            ),
            *(
                dg.AssetCheckSpec(
                    name,
                    asset=key,
                    additional_deps=[reference],
                    description=f"The {what} are distributed as "
                    f"{comparison.WORDS[spec.drift.against]}: no column differs in "
                    f"{spec.drift.at_least} of {spec.drift.windows} windows, by a Jensen-Shannon "
                    f"distance of {spec.drift.effect:g} or more and beyond what chance explains.",
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
        target_context: dg.ResourceParam[Any],
    ) -> Iterator[dg.AssetCheckResult]:
        asked = {check.name for check in context.selected_asset_check_keys}
        reader = Reader(data_store)
        told: Sequence[Telemetry] = ()
        if asked & {names.PROFILE_IS_FRESH, names.DATA_QUALITY_HOLDS}:
            told = ask(experiment, serving_profile.version, target_context)
        if names.PROFILE_IS_FRESH in asked:
            before = told_before(context.instance, dg.AssetCheckKey(key, names.PROFILE_IS_FRESH))
            yield _freshness(serving_profile, told, before, spec, key)
        if names.DATA_QUALITY_HOLDS in asked:
            before = told_before(context.instance, dg.AssetCheckKey(key, names.DATA_QUALITY_HOLDS))
            judged = data_quality.judge(experiment, serving_profile, reader)
            rejected = rejections.judge(told, before, spec.data_quality)
            yield _quality(judged, rejected, telemetry.latest(told, before), key)
        wanted = {name: what for name, what in DRIFT.items() if name in asked}
        if not wanted:
            return
        compared = comparison.compare(experiment, serving_profile, reader)
        for name, what in wanted.items():
            yield _drift(name, what, compared, spec.drift, key)

    return serving_profile_checks


def _freshness(
    profile: ServingProfile,
    told: Sequence[Telemetry],
    before: Mapping[str, Telemetry],
    spec: MonitoringSpec,
    key: dg.AssetKey,
) -> dg.AssetCheckResult:
    verdict = freshness.judge(profile, told, spec, now=datetime.now(UTC), before=before)
    targets = [
        {"target": each.target, "finding": each.finding, "newest_window": each.window or "none"}
        for each in verdict.standings
    ]
    error, warning = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=names.PROFILE_IS_FRESH,
        asset_key=key,
        passed=verdict.passed,
        severity=error if verdict.is_a_fault else warning,
        description=verdict.reason,
        metadata={
            "value": profile.last or "none",
            "threshold": f"{spec.max_age_windows} windows of a {spec.window}",
            "finding": verdict.finding,
            "targets": dg.MetadataValue.table([dg.TableRecord(each) for each in targets]),
            "unreadable_files": len(profile.unreadable),
            "files_ahead_of_time": len(profile.ahead),
            TOLD: dg.MetadataValue.json(telemetry.to_json(telemetry.latest(told, before))),
        },
    )


def _quality(
    judged: data_quality.Quality,
    rejected: rejections.Rejected,
    known: Sequence[Telemetry],
    key: dg.AssetKey,
) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "judged": bool(judged.windows),
        "rows": judged.rows,
        "windows": judged.windows,
        "version": judged.version,
        "rejected_share": rejected.share,
        "rejected": dg.MetadataValue.json(dict(rejected.by_reason)),
        "requests": rejected.requests,
        TOLD: dg.MetadataValue.json(telemetry.to_json(known)),
    }
    if judged.alarms:
        rows = [dg.TableRecord(data_quality.row(alarm)) for alarm in judged.alarms]
        metadata["columns"] = dg.MetadataValue.table(rows)
    return dg.AssetCheckResult(
        check_name=names.DATA_QUALITY_HOLDS,
        asset_key=key,
        passed=judged.passed and rejected.passed,
        description=f"{judged.reason}; {rejected.reason}",
        metadata=metadata,
    )


def _drift(
    name: str, what: str, compared: Compared, spec: DriftSpec, key: dg.AssetKey
) -> dg.AssetCheckResult:
    outputs = name == names.PREDICTIONS_HAVE_NOT_DRIFTED
    wanted = None if outputs else spec.columns
    windows = [
        replace(
            window,
            columns=tuple(
                c for c in window.columns if _is_judged(c.column, wanted, outputs=outputs)
            ),
        )
        for window in compared.windows
        if window.same_version or not outputs
    ]
    if not windows:
        return _not_judged(name, compared, key)
    if not windows[-1].columns:
        return dg.AssetCheckResult(
            check_name=name,
            asset_key=key,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"no column to judge: {', '.join(wanted or ()) or what} in neither profile",
        )
    verdicts = [drift.judge(window.columns, spec) for window in windows]
    alarms = drift.over_windows(verdicts, spec, compared.importances)
    alarming = [alarm for alarm in alarms if alarm.alarming]
    ranked = [alarm.newest.column for alarm in alarms]
    pictures = {
        "then and now": plots.then_and_now(windows[-1].columns, ranked),
        "by window": plots.by_window([w.start for w in windows], verdicts, ranked, spec.effect),
    }
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not alarming,
        severity=dg.AssetCheckSeverity.WARN,
        description=_summary(alarms, windows[-1], spec, what),
        metadata={
            "rows": windows[-1].rows,
            "version": compared.version,
            "judged": True,
            "windows": len(windows),
            "compared_with": spec.against,
            "drifted_columns": len(alarming),
            "value": max(alarm.newest.jensen_shannon for alarm in alarms),
            "threshold": spec.effect,
            "columns": dg.MetadataValue.table([_record(alarm) for alarm in alarms]),
            "pictures": dg.MetadataValue.md(as_markdown(pictures)),
        },
    )


def _is_judged(column: str, wanted: tuple[str, ...] | None, *, outputs: bool) -> bool:
    return (column in OUTPUTS) == outputs and (wanted is None or column in wanted)


def _not_judged(name: str, compared: Compared, key: dg.AssetKey) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=True,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"not judged: {compared.note}",
        metadata={"judged": False},
    )


def _record(alarm: ColumnAlarm) -> dg.TableRecord:
    """A row of the ranked table; what does not apply is empty."""
    newest = alarm.newest
    shown = {
        "column": newest.column,
        "alarm": "yes" if alarm.alarming else "",
        "windows": f"{alarm.times} of {alarm.of}",
        "importance": alarm.importance,
        "jensen_shannon": newest.jensen_shannon,
        "psi": newest.psi,
        "ks": newest.ks,
        "wasserstein": newest.wasserstein,
        "p_value": newest.p_value,
        "q_value": newest.q_value,
        "most_moved": newest.moved,
    }
    return dg.TableRecord(
        {
            name: ""
            if value is None
            else float(f"{value:.4g}")
            if isinstance(value, float)
            else value
            for name, value in shown.items()
        }
    )


def _summary(alarms: tuple[ColumnAlarm, ...], newest: Judged, spec: DriftSpec, what: str) -> str:
    reference = comparison.WORDS[spec.against]
    alarming = [alarm for alarm in alarms if alarm.alarming]
    if alarming:
        first = ", ".join(
            f"{a.newest.column} ({a.newest.jensen_shannon:.2f}, in {a.times} of {a.of} windows, "
            f"{a.newest.moved})"
            for a in alarming[:3]
        )
        return f"{len(alarming)} of {len(alarms)} columns of {what} are not as {reference}: {first}"
    if seen := [alarm.newest.column for alarm in alarms if alarm.newest.drifted]:
        return (
            f"no alarm yet: in the newest window {', '.join(seen[:3])} of {what} are not as "
            f"{reference}; {spec.at_least} of {spec.windows} windows are an alarm"
        )
    return f"{len(alarms)} columns of {what} over {newest.rows:,} rows are as {reference}"
