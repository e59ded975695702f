"""The gates before registration."""

from collections.abc import Iterator

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import Evaluation
from mlops_assets.registry import promotion

GATES = {
    names.MEETS_QUALITY_FLOOR: (
        promotion.quality_floor,
        "Every floor of the YAML's `registry.floors` is met on the held-out rows.",
    ),
    names.BEATS_CHAMPION: (
        promotion.beats_champion,
        "On the same held-out rows the model is not worse than the champion by more than "
        "`registry.champion.margin`.",
    ),
}


def build(experiment: Experiment) -> dg.Definitions:
    key = names.asset_key(experiment.name, names.EVALUATION)

    @dg.multi_asset_check(
        name=f"{experiment.name}__{names.EVALUATION}_gates",
        specs=[
            dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)
            for name, (_, description) in GATES.items()
        ],
        ins={"evaluation": dg.AssetIn(key)},
        can_subset=True,
    )
    @names.inspected_once
    def gates(
        context: dg.AssetCheckExecutionContext, evaluation: Evaluation
    ) -> Iterator[dg.AssetCheckResult]:
        asked = {check.name for check in context.selected_asset_check_keys}
        for name, (judge, _) in GATES.items():
            if name in asked:
                verdict = judge(evaluation, experiment.registry)
                yield dg.AssetCheckResult(
                    check_name=name,
                    asset_key=key,
                    passed=verdict.passed,
                    description=verdict.reason,
                )

    return dg.Definitions(asset_checks=[gates])
