"""Whether an endpoint would predict what the model predicts, found while the model was made."""

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.gateways.records import TrainedModel

TOLERANCE = 1e-6


def parity_spec(experiment: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        names.SERVING_MATCHES_TRAINING,
        asset=names.asset_key(experiment, names.TRAINED_MODEL),
        blocking=True,
        description="The serving bundle, loaded as an endpoint loads it, gives the estimator's "
        "predictions on every held-out row, and on rows made to find a difference: missing values, "
        "unseen categories, extreme numbers, and the splits of the model with their neighbouring "
        f"numbers. Within {TOLERANCE:g}, and no label differs.",
    )


def serving_matches_training(trained_model: TrainedModel) -> dg.AssetCheckResult:
    parity = trained_model.parity
    return dg.AssetCheckResult(
        check_name=names.SERVING_MATCHES_TRAINING,
        passed=parity["max_difference"] <= TOLERANCE and parity["label_flips"] == 0,
        description=f"{parity['rows']} rows: largest difference "
        f"{parity['max_difference']:.2g}, {parity['label_flips']} labels differ; "
        f"{parity['refused']} rows left out that the estimator itself refuses",
        metadata=parity | _measured(parity),
    )


def _measured(parity: dict[str, float]) -> dict[str, float | str]:
    if parity["label_flips"]:
        return {"value": f"{parity['label_flips']} labels differ", "threshold": "none may"}
    return {"value": parity["max_difference"], "threshold": TOLERANCE}
