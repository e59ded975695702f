"""The gates before registration."""

from collections.abc import Callable

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import Evaluation
from mlops_assets.registry import promotion
from mlops_assets.registry.promotion import Verdict
from mlops_assets.registry.spec import RegistrySpec


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(
        asset_checks=[
            _gate(
                experiment,
                names.MEETS_QUALITY_FLOOR,
                promotion.quality_floor,
                "Every floor of the YAML's `registry.floors` is met on the held-out rows.",
            ),
            _gate(
                experiment,
                names.BEATS_CHAMPION,
                promotion.beats_champion,
                "On the same held-out rows the model is not worse than the champion by more than "
                "`registry.champion.margin`.",
            ),
        ]
    )


def _gate(
    experiment: Experiment,
    name: str,
    judge: Callable[[Evaluation, RegistrySpec], Verdict],
    description: str,
) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=name,
        asset=names.asset_key(experiment.name, names.EVALUATION),
        blocking=True,
        description=description,
    )
    def gate(evaluation: Evaluation) -> dg.AssetCheckResult:
        verdict = judge(evaluation, experiment.registry)
        return dg.AssetCheckResult(passed=verdict.passed, description=verdict.reason)

    return gate
