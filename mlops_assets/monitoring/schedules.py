"""When profiles are collected and judged."""

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.monitoring.spec import Window

CRON: dict[Window, str] = {
    "minute": "* * * * *",
    "hour": "2 * * * *",
    "day": "10 0 * * *",
    "week": "10 0 * * 1",
}
"""Shortly after a window ends, in UTC."""


def build(experiment: Experiment) -> dg.Definitions:
    window = experiment.monitoring.window
    schedule = dg.ScheduleDefinition(
        name=names.monitor_schedule(experiment.name),
        job_name=names.monitor_job(experiment.name),
        cron_schedule=CRON[window],
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Collects and judges the profiles of {experiment.name} every {window}.",
    )
    return dg.Definitions(schedules=[schedule])
