"""One experiment as one lineage graph, in the order the data flows."""

from collections.abc import Iterable
from itertools import chain

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.deployment import assets as deployment_assets
from mlops_assets.deployment import checks as deployment_checks
from mlops_assets.deployment import in_use as deployment_in_use
from mlops_assets.deployment import sensors as deployment_sensors
from mlops_assets.deployment import telling as deployment_telling
from mlops_assets.deployment.batch import assets as batch_assets
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.features import assets as features_assets
from mlops_assets.features.labels import assets as labels_assets
from mlops_assets.jobs import Jobs
from mlops_assets.monitoring import assets as monitoring_assets
from mlops_assets.monitoring import checks as monitoring_checks
from mlops_assets.monitoring import schedules as monitoring_schedules
from mlops_assets.monitoring import sensors as monitoring_sensors
from mlops_assets.monitoring.performance import assets as performance_assets
from mlops_assets.monitoring.performance import checks as performance_checks
from mlops_assets.monitoring.report import assets as report_assets
from mlops_assets.registry import assets as registry_assets
from mlops_assets.registry import checks as registry_checks
from mlops_assets.registry import schedules as registry_schedules
from mlops_assets.registry import sensors as registry_sensors
from mlops_assets.training import assets as training_assets
from mlops_assets.training import sensors as training_sensors
from mlops_assets.tuning import assets as tuning_assets


def build_experiment(experiment: Experiment) -> dg.Definitions:
    """The assets, checks, jobs and schedules of one experiment."""
    return dg.Definitions.merge(
        features_assets.build(experiment),
        tuning_assets.build(experiment),
        training_assets.build(experiment),
        registry_checks.build(experiment),
        registry_assets.build(experiment),
        deployment_assets.build(experiment),
        deployment_checks.build(experiment),
        batch_assets.build(experiment),
        monitoring_assets.build(experiment),
        monitoring_checks.build(experiment, deployment_telling.told),
        labels_assets.build(experiment),
        performance_assets.build(experiment),
        performance_checks.build(experiment),
        report_assets.build(experiment),
        _jobs(experiment),
    )


def build_all(
    experiments: Iterable[Experiment], shared: dg.Definitions, *, webhooks: bool = False
) -> dg.Definitions:
    """Every experiment; the sensors that watch the registry and the endpoints, that retrain and
    that keep tickets for all of them; the schedules that judge what was served, and the job that
    removes what is old.

    Args:
        experiments: with different names.
        shared: the resources and the executor all of them use.
        webhooks: whether those of MLflow may wake the sensor that watches the registry.
    """
    found = tuple(experiments)
    built = {experiment.name: build_experiment(experiment) for experiment in found}
    made = {name: [*(part.assets or ())] for name, part in built.items()}
    judged = {name: [*made[name], *(part.asset_checks or ())] for name, part in built.items()}
    tying = Jobs(shared)
    parts = [tying.tie(part, judged[name]) for name, part in built.items()]
    deploys = {names.deploy_job(experiment.name) for experiment in found}
    jobs = [job for part in parts for job in part.jobs or ()]
    deploying = [job for job in jobs if job.name in deploys]
    return dg.Definitions.merge(
        *parts,
        registry_sensors.build(found, jobs, webhooks=webhooks),
        training_sensors.build(found, jobs, made),
        deployment_sensors.build(found, deploying),
        tying.tie(monitoring_schedules.build(found), chain.from_iterable(judged.values())),
        monitoring_sensors.build(found, judged),
        registry_schedules.build(
            found, deployment_in_use.versions_in_use, deployment_in_use.images_of_versions
        ),
        shared,
    )


def _jobs(experiment: Experiment) -> dg.Definitions:
    name = experiment.name
    trained = (
        names.SOURCE,
        names.FEATURES,
        names.TRAINING_SET,
        names.TUNED_HYPERPARAMETERS,
        names.TRAINED_MODEL,
        names.EVALUATION,
        names.REGISTERED_VERSION,
        names.REFERENCE_PROFILE,
    )
    endpoints = [
        names.endpoint_key(name, kind_of(type(target))) for target in experiment.deployment.targets
    ]
    tags = {names.EXPERIMENT_TAG: name}
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                names.retrain_job(name),
                dg.AssetSelection.assets(*(names.asset_key(name, part) for part in trained)),
                description="From the source to a registered version.",
                tags=tags,
            ),
            dg.define_asset_job(
                names.deploy_job(name),
                dg.AssetSelection.assets(*endpoints),
                description="The champion, live on every target.",
                tags=tags,
            ),
        ]
    )
