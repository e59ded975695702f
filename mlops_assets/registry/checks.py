"""The gates before registration."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from mlops_assets import assets
from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import Evaluation
from mlops_assets.registry import promotion, record

GATES: dict[str, promotion.Judge] = {
    names.MEETS_QUALITY_FLOOR: promotion.quality_floor,
    names.BEATS_CHAMPION: promotion.beats_champion,
    names.NO_SLICE_LEFT_BEHIND: promotion.no_slice_left_behind,
    names.KEEPS_ITS_BUDGETS: promotion.keeps_its_budgets,
}

DESCRIPTIONS = {
    names.MEETS_QUALITY_FLOOR: "Every floor of `registry.promotion.metrics` is met on the "
    "held-out rows.",
    names.BEATS_CHAMPION: "On the same held-out rows the model shows against the champion what "
    "`registry.promotion.metrics` asks for: by default that it is better in what tuning optimised.",
    names.NO_SLICE_LEFT_BEHIND: "On every slice of `training.slices` with enough rows, "
    "`registry.promotion.slices` holds: by default the model is not shown to be worse there.",
    names.KEEPS_ITS_BUDGETS: "Calibration, latency, size and changed predictions stay within "
    "`registry.promotion.budgets`.",
}


def build(experiment: Experiment) -> dg.Definitions:
    key = names.asset_key(experiment.name, names.EVALUATION)

    @assets.checks_of(
        name=f"{experiment.name}__{names.EVALUATION}_gates",
        specs=[
            dg.AssetCheckSpec(name, asset=key, blocking=True, description=DESCRIPTIONS[name])
            for name in GATES
        ],
        ins={"evaluation": dg.AssetIn(key)},
        can_subset=True,
    )
    def gates(
        context: dg.AssetCheckExecutionContext,
        evaluation: Evaluation,
        model_registry: dg.ResourceParam[ModelRegistry],
        dagster_url: dg.ResourceParam[str],
    ) -> Iterator[dg.AssetCheckResult]:
        asked = {check.name for check in context.selected_asset_check_keys}
        judged = promotion.decide(
            evaluation, experiment.promotion, {n: j for n, j in GATES.items() if n in asked}
        )
        if asked == GATES.keys() and not judged.promoted:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            record.write_refused(
                model_registry,
                experiment,
                evaluation.run_id,
                judged,
                Decision("refused", judged.refusal, THE_GATES, at, context.run.run_id),
                dagster_url=dagster_url,
            )
        for name, verdict in judged.verdicts.items():
            table = promotion.findings_table(verdict.findings)
            yield dg.AssetCheckResult(
                check_name=name,
                asset_key=key,
                passed=verdict.passed,
                description=verdict.reason,
                metadata=_measured(verdict)
                | ({"findings": dg.MetadataValue.md(table)} if table else {}),
            )

    return dg.Definitions(asset_checks=[gates])


def _measured(verdict: promotion.Verdict) -> dict[str, str]:
    """What the first rule that failed found, and asks for; nothing where none with numbers did."""
    for one in verdict.findings:
        if one.result == "failed" and one.candidate is not None:
            champion = "" if one.champion is None else f", of the champion {one.champion:.4g}"
            wanted = "" if one.wanted is None else f" {one.wanted:.4g}"
            return {
                "value": f"{one.subject}: {one.candidate:.4g}{champion}",
                "threshold": f"{one.rule}{wanted}",
            }
    return {}
