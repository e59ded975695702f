"""Whether an endpoint would predict what the model predicts."""

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import TrainedModel

TOLERANCE = 1e-6


def build(experiment: Experiment) -> dg.Definitions:
    return dg.Definitions(asset_checks=[_serving_matches_training(experiment)])


def _serving_matches_training(experiment: Experiment) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=names.SERVING_MATCHES_TRAINING,
        asset=names.asset_key(experiment.name, names.TRAINED_MODEL),
        blocking=True,
        description="The serving bundle, loaded as an endpoint loads it, gives the estimator's "
        f"predictions on every held-out row: within {TOLERANCE:g}, and no label differs.",
    )
    @names.inspected_once
    def serving_matches_training(trained_model: TrainedModel) -> dg.AssetCheckResult:
        parity = trained_model.parity
        return dg.AssetCheckResult(
            passed=parity["max_difference"] <= TOLERANCE and parity["label_flips"] == 0,
            description=f"{parity['rows']} rows: largest difference "
            f"{parity['max_difference']:.2g}, {parity['label_flips']} labels differ",
            metadata=parity,
        )

    return serving_matches_training
