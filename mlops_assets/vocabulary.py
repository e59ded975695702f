"""Every string Dagster shows or stores: asset keys, check, job, sensor and tag names, and what
every asset carries.

Nothing here knows what an asset does; a name that two rooms need is written once, in this file.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from mlops_assets import assets
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of

Stage = Literal["features", "tuning", "training", "registry", "deployment", "monitoring"]

SOURCE = "source"
FEATURES = "features"
TRAINING_SET = "training_set"
TUNED_HYPERPARAMETERS = "tuned_hyperparameters"
TRAINED_MODEL = "trained_model"
EVALUATION = "evaluation"
REGISTERED_ELSEWHERE = "registered_elsewhere"
"""What no run here makes: a version that others registered."""
REGISTERED_VERSION = "registered_version"
REFERENCE_PROFILE = "reference_profile"
ENDPOINTS = "endpoints"
BATCH = "batch"
SERVING_PROFILE = "serving_profile"
LABELS = "labels"
PREDICTION_LOG = "prediction_log"
PERFORMANCE = "performance"
MONITORING_REPORT = "monitoring_report"

MATCHES_SCHEMA = "matches_schema"
LABELS_DO_NOT_LEAK = "labels_do_not_leak"
SERVING_MATCHES_TRAINING = "serving_matches_training"
MEETS_QUALITY_FLOOR = "meets_quality_floor"
BEATS_CHAMPION = "beats_champion"
NO_SLICE_LEFT_BEHIND = "no_slice_left_behind"
KEEPS_ITS_BUDGETS = "keeps_its_budgets"
PASSED_PREFLIGHT = "passed_preflight"
ANSWERS_PROBE = "answers_probe"
SERVES_THE_CHAMPION = "serves_the_champion"
PROFILE_IS_FRESH = "profile_is_fresh"
DATA_QUALITY_HOLDS = "data_quality_holds"
HAS_NOT_DRIFTED = "has_not_drifted"
PREDICTIONS_HAVE_NOT_DRIFTED = "predictions_have_not_drifted"
ROWS_HAVE_NOT_DRIFTED = "rows_have_not_drifted"
"""Of `prediction_log`: all columns together."""
QUALITY_HOLDS = "quality_holds"
"""Of `performance`: the quality on labels that came since. Its metadata says the `version`."""

STOPPED_BY = "stopped_by"
"""What `mlops stop` says in a report of an endpoint, and no deployment does."""

REGISTRY_SENSOR = "registry_changed"
TRUTH_SENSOR = "endpoint_strayed"
RETRAINING_SENSOR = "retraining_due"
TICKETS_SENSOR = "tickets"
RETENTION_JOB = "retention"
RETENTION_OP = "remove_what_is_old"
RETENTION_SCHEDULE = "retention_daily"

STAGE_TAG = "mlops/stage"
EXPERIMENT_TAG = "mlops/experiment"
VERSION_TAG = "mlops/version"
ADOPTS_TAG = "mlops/adopts"
"""On runs that evaluate a version which somebody else registered: `<experiment>:<version>`."""

AUTHOR_TAG = "mlops/author"
"""On runs that somebody launches on a server which runs as somebody else: who."""
RETRAINING_TAG = "mlops/retraining"
"""On runs that the sensor of retrainings started: the part, `data` or `model`."""
BECAUSE_TAG = "mlops/because"
CANDIDATE_TAG = "mlops/candidate"
"""On runs that made or judged a model: `<experiment>:<digest of training set>:<fingerprint>`."""

# The tag dagster-mlflow's own resource uses: an asset of the user's that logs through that
# resource lands in the same MLflow run as ours.
DAGSTER_RUN_TAG = "dagster_run_id"

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@functools.cache
def asset_key(experiment: str, *parts: str) -> dg.AssetKey:
    return dg.AssetKey([experiment, *parts])


def endpoint_key(experiment: str, target: str) -> dg.AssetKey:
    return dg.AssetKey([experiment, ENDPOINTS, target])


def retrain_job(experiment: str) -> str:
    return f"{experiment}__retrain"


def deploy_job(experiment: str) -> str:
    return f"{experiment}__deploy"


def monitor_job(window: str) -> str:
    return f"monitor_every_{window}"


def monitor_schedule(window: str) -> str:
    return f"monitor_every_{window}_schedule"


def is_ours(instigator: str) -> bool:
    """Whether a sensor or schedule is the platform's, apart from the sensor of tickets, which
    cannot tell of itself."""
    ours = (REGISTRY_SENSOR, TRUTH_SENSOR, RETRAINING_SENSOR, RETENTION_SCHEDULE)
    return instigator in ours or instigator.startswith(monitor_job(""))


def deploying(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """The runs that deploy, or wait to, by experiment."""
    found: dict[str, set[str]] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED])):
        experiment = run.job_name.removesuffix(deploy_job(""))
        if experiment != run.job_name:
            found.setdefault(experiment, set()).add(run.run_id)
    return found


def stopped_at(instance: dg.DagsterInstance, endpoint: dg.AssetKey) -> float | None:
    """When `mlops stop` ended it, in seconds since 1970; None if it was deployed since, or never
    stopped so."""
    event = instance.get_latest_materialization_event(endpoint)
    made = None if event is None else event.asset_materialization
    return event.timestamp if event and made and STOPPED_BY in made.metadata else None


def working_on(instance: dg.DagsterInstance, experiment: str) -> str | None:
    """The run that trains or deploys the experiment, or waits to."""
    jobs = (retrain_job(experiment), deploy_job(experiment))
    runs = instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED]))
    return next((run.run_id for run in runs if run.job_name in jobs), None)


def candidate(experiment: Experiment, digest: str) -> str:
    """Names a model by what it is made of: equal data and an equal YAML have an equal name."""
    return f"{experiment.name}:{digest[:16]}:{experiment.recipe()}"


def mark_candidate(context: dg.AssetExecutionContext, experiment: Experiment, digest: str) -> None:
    """Say on the run which model it makes or judges, so that none is tried twice."""
    tags = {CANDIDATE_TAG: candidate(experiment, digest)}
    context.instance.add_run_tags(context.run.run_id, tags)


def deploy_config(experiment: Experiment, **knobs: Any) -> dg.RunConfig:
    """One-off knobs for the endpoints of every target of the experiment."""
    kinds = [kind_of(type(target)) for target in experiment.deployment.targets]
    ops = {f"{experiment.name}__{ENDPOINTS}__{kind}": {"config": knobs} for kind in kinds}
    return dg.RunConfig(ops=ops)


def adopt_config(experiment: Experiment, version: int) -> dg.RunConfig:
    """For the job of retraining: take this version's model instead of fitting one."""
    return dg.RunConfig(ops={f"{experiment.name}__{TRAINED_MODEL}": {"config": {"adopt": version}}})


def reason_of(tags: Mapping[str, str]) -> str:
    """Who asked for a run, from its tags."""
    for tag, words in (
        ("dagster/sensor_name", "sensor {}"),
        ("dagster/schedule_name", "schedule {}"),
        ("mlops/started_by", "{}"),
    ):
        if tag in tags:
            return words.format(tags[tag])
    return "launched by hand"


def author_of(tags: Mapping[str, str], user: str) -> str:
    """Who makes what a run makes: the sensor or schedule that started it, who the tag names, or
    else the user whose process runs it."""
    reason = reason_of(tags)
    if reason.startswith(("sensor ", "schedule ")):
        return reason
    return tags.get(AUTHOR_TAG) or user


def root_run(context: dg.AssetExecutionContext) -> str:
    """The run this one re-executes, or itself: a retry writes to the MLflow run of the first."""
    return context.run.root_run_id or context.run.run_id


def every_window(experiment: Experiment) -> dg.FreshnessPolicy:
    """Of what the monitoring job makes anew in every window."""
    return dg.FreshnessPolicy.time_window(fail_window=experiment.monitoring.overdue_after)


def asset(
    experiment: Experiment,
    stage: Stage,
    *path: str,
    kinds: set[str],
    description: str,
    code: str,
    ins: Mapping[str, dg.AssetIn] | None = None,
    deps: Sequence[dg.AssetKey] = (),
    check_specs: Sequence[dg.AssetCheckSpec] = (),
    dagster_type: Any = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
    pool: str | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` with what every asset carries, and the version of its part of the YAML.

    Args:
        experiment: whose asset it is.
        stage: of the six.
        path: the asset key below the experiment.
        kinds: technologies, shown as badges.
        description: Markdown for the UI.
        code: fingerprint of the YAML the asset is made from; a change shows it as stale.
        ins: what the function is given, by parameter: key and type.
        deps: what it waits for, and reads itself.
        check_specs: of the checks that it evaluates.
        dagster_type: of its result, where its annotation does not say it.
        freshness_policy: when it is overdue.
        pool: whose limit holds its runs.
    """
    given = ins or {}
    spec = dg.AssetSpec(
        **_carried(experiment, stage, *path),
        kinds=kinds,
        description=description,
        code_version=code,
        deps=[*(each.key for each in given.values() if each.key), *deps],
        freshness_policy=freshness_policy,
    )
    return assets.asset_of(
        spec, ins=given, check_specs=check_specs, dagster_type=dagster_type, pool=pool
    )


def external_asset(
    experiment: Experiment, stage: Stage, *path: str, kinds: set[str], description: str
) -> dg.AssetsDefinition:
    """An asset that nobody materializes here; its events are reported. Arguments as of `asset`."""
    carried = _carried(experiment, stage, *path)
    return dg.AssetsDefinition(
        specs=[dg.AssetSpec(**carried, kinds=kinds, description=description)]
    )


def _carried(experiment: Experiment, stage: Stage, *path: str) -> dict[str, Any]:
    """Key, group, owner, tags and the link to the YAML."""
    return {
        "key": asset_key(experiment.name, *path),
        "group_name": experiment.name,
        "owners": [experiment.owner],
        "tags": {STAGE_TAG: stage, EXPERIMENT_TAG: experiment.name},
        "metadata": _links(experiment.path),
    }


@functools.cache
def _links(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        # Marked beta by Dagster; a warning per asset would bury the log.
        warnings.simplefilter("ignore", dg.BetaWarning)
        file = dg.LocalFileCodeReference(file_path=str(path), label="experiment YAML")
        references = dg.CodeReferencesMetadataValue(code_references=[file])
    return {"dagster/code_references": references, "yaml": dg.MetadataValue.path(str(path))}
