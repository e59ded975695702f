"""When profiles are collected and judged: one schedule for all experiments with equal windows."""

from collections.abc import Iterable, Iterator

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.monitoring.checks import DRIFT
from mlops_assets.monitoring.spec import Window

CRON: dict[Window, str] = {
    "minute": "* * * * *",
    "hour": "2 * * * *",
    "day": "10 0 * * *",
    "week": "10 0 * * 1",
}
"""Shortly after a window ends, in UTC."""


def build(experiments: Iterable[Experiment]) -> dg.Definitions:
    """A job and its schedule for each length of window that these experiments use."""
    by_window: dict[Window, list[Experiment]] = {}
    for experiment in experiments:
        by_window.setdefault(experiment.monitoring.window, []).append(experiment)
    return dg.Definitions.merge(*(_every(window, found) for window, found in by_window.items()))


def _every(window: Window, experiments: list[Experiment]) -> dg.Definitions:
    checks = [check for experiment in experiments for check in _checks(experiment)]
    job = dg.define_asset_job(
        names.monitor_job(window),
        dg.AssetSelection.assets(
            *(key for experiment in experiments for key in _assets(experiment))
        ).without_checks()
        | dg.AssetSelection.checks(*checks),
        description="Collects what the endpoints profiled and logged, and judges it: of every "
        f"experiment whose windows last a {window}.",
    )

    @dg.schedule(
        name=names.monitor_schedule(window),
        job_name=names.monitor_job(window),
        cron_schedule=CRON[window],
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Every {window}, a run of its own for each experiment whose windows last a "
        f"{window}.",
    )
    def monitor(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time.isoformat()
        for experiment in experiments:
            yield dg.RunRequest(
                run_key=f"{experiment.name} {tick}",
                tags={names.EXPERIMENT_TAG: experiment.name},
                asset_selection=_assets(experiment),
                asset_check_keys=_checks(experiment),
            )

    return dg.Definitions(jobs=[job], schedules=[monitor])


def _profile(experiment: Experiment) -> dg.AssetKey:
    return names.asset_key(experiment.name, names.SERVING_PROFILE)


def _assets(experiment: Experiment) -> list[dg.AssetKey]:
    """What is made anew in every window."""
    made = [names.SERVING_PROFILE, names.MONITORING_REPORT]
    if experiment.monitoring.prediction_log is not None:
        made += [names.PREDICTION_LOG, names.PERFORMANCE]
    if experiment.labels is not None:
        made.append(names.LABELS)
    return [names.asset_key(experiment.name, name) for name in made]


def _checks(experiment: Experiment) -> list[dg.AssetCheckKey]:
    """The checks of the profile and of quality, and those of every endpoint."""
    endpoints = [
        names.endpoint_key(experiment.name, kind_of(type(target)))
        for target in experiment.deployment.targets
    ]
    judged = [
        dg.AssetCheckKey(_profile(experiment), name)
        for name in (names.PROFILE_IS_FRESH, names.DATA_QUALITY_HOLDS, *DRIFT)
    ]
    if experiment.monitoring.prediction_log is not None:
        logged = {
            names.PERFORMANCE: names.QUALITY_HOLDS,
            names.PREDICTION_LOG: names.ROWS_HAVE_NOT_DRIFTED,
        }
        judged += [
            dg.AssetCheckKey(names.asset_key(experiment.name, asset), check)
            for asset, check in logged.items()
        ]
    asked = (names.ANSWERS_PROBE, names.SERVES_THE_CHAMPION)
    return judged + [dg.AssetCheckKey(key, name) for key in endpoints for name in asked]
