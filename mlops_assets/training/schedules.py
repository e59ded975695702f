"""When a model is trained again without being asked."""

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment


def build(experiment: Experiment) -> dg.Definitions:
    retrain = experiment.training.retrain
    if retrain is None:
        return dg.Definitions()
    schedule = dg.ScheduleDefinition(
        name=names.retrain_schedule(experiment.name),
        job_name=names.retrain_job(experiment.name),
        cron_schedule=retrain.cron,
        execution_timezone=retrain.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Trains {experiment.name} again: `{retrain.cron}` in {retrain.timezone}.",
    )
    return dg.Definitions(schedules=[schedule])
