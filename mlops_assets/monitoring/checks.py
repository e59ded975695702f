"""Whether profiles arrive, and whether traffic and predictions look as they did before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import assets
from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import telemetry
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import ServingProfile
from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.monitoring import (
    charts,
    comparison,
    data_quality,
    freshness,
    judgement,
    rejections,
)
from mlops_assets.monitoring.comparison import Compared
from mlops_assets.monitoring.drawing import as_markdown
from mlops_assets.monitoring.freshness import Past
from mlops_assets.monitoring.judgement import Judgement, What
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.monitoring.resources import TOLD, past_of, told_before
from mlops_assets.monitoring.spec import DriftSpec, MonitoringSpec

DRIFT: dict[str, What] = {
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

    @assets.checks_of(
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
            past = past_of(
                context.instance, experiment.name, told, before, serving_profile.live_since
            )
            yield _freshness(serving_profile, told, past, spec, key)
        if names.DATA_QUALITY_HOLDS in asked:
            before = told_before(context.instance, dg.AssetCheckKey(key, names.DATA_QUALITY_HOLDS))
            judged = data_quality.judge(experiment, serving_profile, reader)
            rejected = rejections.judge(told, before, spec.data_quality)
            yield _quality(
                judged,
                rejected,
                telemetry.latest(told, before),
                key,
                most_rejected=spec.data_quality.max_rejected,
            )
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
    past: Mapping[str, Past],
    spec: MonitoringSpec,
    key: dg.AssetKey,
) -> dg.AssetCheckResult:
    verdict = freshness.judge(profile, told, spec, now=datetime.now(UTC), past=past)
    before = {target: each.told for target, each in past.items() if each.told is not None}
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
            "value": max(
                (each.window for each in verdict.standings if each.window), default="none"
            ),
            "threshold": f"{spec.max_age_windows} windows of a {spec.window}",
            "finding": verdict.finding,
            "targets": dg.MetadataValue.table([dg.TableRecord(each) for each in targets]),
            "unreadable_files": len(profile.unreadable),
            "files_ahead_of_time": len(profile.ahead),
            "files_long_after_their_time": profile.behind,
            TOLD: dg.MetadataValue.json(telemetry.to_json(telemetry.latest(told, before))),
            **_traffic(profile),
        },
    )


def _traffic(profile: ServingProfile) -> dict[str, Any]:
    """Rows by window, where there are any."""
    if not profile.windows:
        return {}
    starts, rows = zip(*((each.start, each.rows) for each in profile.windows), strict=True)
    picture = charts.traffic("Rows profiled in each window", starts, rows)
    return {"pictures": dg.MetadataValue.md(as_markdown([picture]))}


def _quality(
    judged: data_quality.Quality,
    rejected: rejections.Rejected,
    known: Sequence[Telemetry],
    key: dg.AssetKey,
    *,
    most_rejected: float,
) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        **_measured(judged, rejected, most_rejected),
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
    if pictures := data_quality.pictures(judged):
        metadata["pictures"] = dg.MetadataValue.md(as_markdown(pictures))
    return dg.AssetCheckResult(
        check_name=names.DATA_QUALITY_HOLDS,
        asset_key=key,
        passed=judged.passed and rejected.passed,
        description=f"{judged.reason}; {rejected.reason}",
        metadata=metadata,
    )


def _measured(
    judged: data_quality.Quality, rejected: rejections.Rejected, most_rejected: float
) -> dict[str, str]:
    """What fails first, and what is allowed; nothing where nothing does."""
    for alarm in judged.alarms:
        if alarm.alarming:
            worst = alarm.latest
            value = f"{worst.column}: {worst.kind}, {worst.share:.2%} of the rows"
            return {"value": value, "threshold": f"{worst.allowed:.2%} of the rows"}
    if not rejected.passed:
        value = f"{rejected.share:.2%} of the requests refused"
        return {"value": value, "threshold": f"{most_rejected:.2%} of the requests"}
    return {}


def _drift(
    name: str, what: What, compared: Compared, spec: DriftSpec, key: dg.AssetKey
) -> dg.AssetCheckResult:
    found = judgement.judge(what, compared, spec)
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=found.reason,
        metadata=_metadata(found, compared, spec) if found.judged else {"judged": False},
    )


def _metadata(found: Judgement, compared: Compared, spec: DriftSpec) -> dict[str, Any]:
    rows = [dg.TableRecord(judgement.row(alarm)) for alarm in found.alarms]
    return {
        "rows": found.windows[-1].rows,
        "version": compared.version,
        "judged": True,
        "windows": found.alarms[0].of,
        "compared_with": spec.against,
        "drifted_columns": len(found.alarming),
        "value": found.furthest,
        "threshold": spec.effect,
        "columns": dg.MetadataValue.table(rows),
        "pictures": dg.MetadataValue.md(as_markdown(judgement.pictures(found, spec))),
    }
