"""Every string Dagster shows or stores: asset keys, check, job, sensor and tag names.

Nothing here knows what an asset does; a name that two rooms need is written once, in this file.
"""

import re
from typing import Literal

import dagster as dg

Stage = Literal["features", "tuning", "training", "registry", "deployment", "monitoring"]

SOURCE = "source"
FEATURES = "features"
TRAINING_SET = "training_set"
TUNED_HYPERPARAMETERS = "tuned_hyperparameters"
TRAINED_MODEL = "trained_model"
EVALUATION = "evaluation"
REGISTERED_VERSION = "registered_version"
REFERENCE_PROFILE = "reference_profile"
ENDPOINTS = "endpoints"
SERVING_PROFILE = "serving_profile"

MATCHES_SCHEMA = "matches_schema"
LABELS_DO_NOT_LEAK = "labels_do_not_leak"
SERVING_MATCHES_TRAINING = "serving_matches_training"
MEETS_QUALITY_FLOOR = "meets_quality_floor"
BEATS_CHAMPION = "beats_champion"
ANSWERS_PROBE = "answers_probe"
PROFILE_IS_FRESH = "profile_is_fresh"
HAS_NOT_DRIFTED = "has_not_drifted"

CHAMPION = "champion"
CHALLENGER = "challenger"

REGISTRY_SENSOR = "champion_changed"

STAGE_TAG = "mlops/stage"
EXPERIMENT_TAG = "mlops/experiment"
VERSION_TAG = "mlops/version"

# The tag dagster-mlflow's own resource uses: an asset of the user's that logs through that
# resource lands in the same MLflow run as ours.
DAGSTER_RUN_TAG = "dagster_run_id"


def asset_key(experiment: str, *parts: str) -> dg.AssetKey:
    return dg.AssetKey([experiment, *parts])


def endpoint_key(experiment: str, target: str) -> dg.AssetKey:
    return dg.AssetKey([experiment, ENDPOINTS, target])


def retrain_job(experiment: str) -> str:
    return f"{experiment}__retrain"


def deploy_job(experiment: str) -> str:
    return f"{experiment}__deploy"


def monitor_job(experiment: str) -> str:
    return f"{experiment}__monitor"


def retrain_schedule(experiment: str) -> str:
    return f"{experiment}__retrain_schedule"


def monitor_schedule(experiment: str) -> str:
    return f"{experiment}__monitor_schedule"


NAME_PATTERN = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
