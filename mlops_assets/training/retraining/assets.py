"""Which assets and checks a retraining has to do with."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.training import staleness
from mlops_assets.training.retraining.cases import Trigger
from mlops_assets.training.spec import Retrain
from mlops_assets.training.staleness import Stage

DRIFT = (names.HAS_NOT_DRIFTED, names.PREDICTIONS_HAVE_NOT_DRIFTED)
REFRESHED = (names.SOURCE, names.FEATURES, names.TRAINING_SET)
TRAINED = (
    *REFRESHED,
    names.TUNED_HYPERPARAMETERS,
    names.TRAINED_MODEL,
    names.EVALUATION,
    names.REGISTERED_VERSION,
    names.REFERENCE_PROFILE,
)
"""What `<experiment>__retrain` makes, in the order of the graph."""


def retrain_of(experiment: Experiment) -> Retrain:
    """Of an experiment that is retrained."""
    retrain = experiment.training.retrain
    assert retrain is not None  # noqa: S101
    return retrain


def listens(retrain: Retrain) -> bool:
    """Whether any check may ask for a retraining."""
    return retrain.on_drift or retrain.on_quality_loss


def checks_of(experiment: Experiment) -> dict[dg.AssetCheckKey, Trigger]:
    """The checks that may ask for a retraining of the experiment."""
    retrain, found = experiment.training.retrain, dict[dg.AssetCheckKey, Trigger]()
    if retrain is not None and retrain.on_drift:
        profile = names.asset_key(experiment.name, names.SERVING_PROFILE)
        found |= {dg.AssetCheckKey(profile, name): "drift" for name in DRIFT}
    if retrain is not None and retrain.on_quality_loss:
        performance = names.asset_key(experiment.name, names.PERFORMANCE)
        found[dg.AssetCheckKey(performance, names.QUALITY_HOLDS)] = "quality"
    return found


def stages(assets: Iterable[Any]) -> tuple[Stage, ...]:
    """What the job of retraining makes, out of an experiment's assets in the order of the graph."""
    return tuple(
        Stage(
            spec.key.path[1],
            tuple(dep.asset_key.path[-1] for dep in spec.deps),
            spec.code_version or "",
        )
        for asset in assets
        for spec in asset.specs
        if spec.key.path[1] in TRAINED
    )


def known(stage: Stage, tags: Mapping[str, str]) -> staleness.Known:
    """What is known of an asset; a model that was only taken over was not made by this YAML."""
    found = staleness.known(stage, tags)
    if stage.name == names.TRAINED_MODEL and names.ADOPTS_TAG in tags:
        words = f"holds version {tags[names.ADOPTS_TAG]}, which somebody else registered"
        return replace(found, unfinished=words)
    return found
