"""The daily job that removes what is old: one for all experiments, which costs nothing to load."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.images import VersionImages
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.registry import removal, report
from mlops_assets.registry.removal import Stores

CRON = "40 2 * * *"
MOST = 1000
"""Materializations of an endpoint that are looked at, the newest."""

InUse = Callable[[Experiment, DataStore, Any], Mapping[int, str]]
"""What the endpoints of an experiment do with a version, by version."""

Images = Callable[[Experiment, Any], tuple[VersionImages, ...]]
"""Where versions of an experiment have container images of their own."""


class RetentionConfig(dg.Config):
    """One-off knobs of a run."""

    experiments: list[str] = Field(default_factory=list)
    """By name; none means all."""
    apply: bool | None = None
    """Whether anything is removed; by default what each YAML says in `registry.retention.apply`."""


def build(experiments: Iterable[Experiment], in_use: InUse, images: Images) -> dg.Definitions:
    """The job and its schedule.

    Args:
        experiments: whose past is looked at.
        in_use: asks the endpoints of one of them; its last argument is the resource
            `target_context`.
        images: asks the YAML of one of them; its last argument is the same.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    if not by_name:
        return dg.Definitions()

    @dg.op(
        name=names.RETENTION_OP,
        pool=names.RETENTION_JOB,
        out=dg.Out(dg.Nothing),
        description="What goes, and why the rest stays, stands on the pages of the registered "
        "versions.",
    )
    def retention(
        context: dg.OpExecutionContext,
        config: RetentionConfig,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        study_store: dg.ResourceParam[StudyStore],
        target_context: dg.ResourceParam[Any],
    ) -> None:
        failures = []
        if unknown := sorted(set(config.experiments) - set(by_name)):
            failures.append(f"no such experiment: {', '.join(unknown)}")
        for name in sorted(set(config.experiments or by_name) & set(by_name)):
            experiment = by_name[name]
            apply = experiment.registry.retention.apply if config.apply is None else config.apply
            try:
                endpoints = in_use(experiment, data_store, target_context)
                stores = Stores(
                    model_registry, data_store, study_store, images(experiment, target_context)
                )
                _retain(context, experiment, stores, endpoints, apply=apply)
            # One experiment whose stores or targets do not answer must not keep the others'.
            except Exception as error:
                context.log.exception(f"{name}: nothing more of it is removed now")
                failures.append(f"{name}: {error}")
        if failures:
            raise dg.Failure("; ".join(failures), allow_retries=False)

    @dg.job(
        name=names.RETENTION_JOB,
        description="Removes versions, runs, studies, files and images that are older than "
        "`registry.retention` of their YAML keeps them and that nobody needs. A dry run, unless "
        "`registry.retention.apply` or the run's config says otherwise.",
    )
    def job() -> None:
        retention()

    schedule = dg.ScheduleDefinition(
        name=names.RETENTION_SCHEDULE,
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: what is old goes, where the YAML says so.",
    )
    return dg.Definitions(jobs=[job], schedules=[schedule])


def _retain(
    context: dg.OpExecutionContext,
    experiment: Experiment,
    stores: Stores,
    endpoints: Mapping[int, str],
    *,
    apply: bool,
) -> None:
    """Plan, write down what is to go and why, and remove it where that is asked for."""
    name, now = experiment.name, datetime.now(UTC)
    if (busy := names.working_on(context.instance, name)) is not None:
        raise dg.Failure(f"run {busy} trains or deploys it; the next run comes back to it")
    plan = removal.plan(
        experiment,
        stores,
        run_tag=names.DAGSTER_RUN_TAG,
        endpoints=endpoints,
        deployed=_deployed(context.instance, experiment),
        now=now,
    )
    told = report.of(experiment, plan, run=context.run_id, now=now)
    report.write(stores.data, told)
    context.log.info(f"{name}: {report.in_words(told)}")
    if apply:
        left = removal.remove(
            experiment, stores, plan, lambda words: context.log.info(f"{name}: {words}")
        )
        told = report.applied(told, left)
        report.write(stores.data, told)
    context.log_event(
        dg.AssetObservation(
            asset_key=names.asset_key(name, names.REGISTERED_VERSION),
            description=report.in_words(told),
            metadata={
                "retention": dg.MetadataValue.md(report.table(told)),
                "removed": told.applied,
                "versions_that_go": sum(not one.kept for one in told.versions),
                "files_that_go": told.files,
                "images_that_go": told.images,
                "bytes_that_go": told.bytes,
            },
        )
    )


def _deployed(instance: dg.DagsterInstance, experiment: Experiment) -> tuple[int, ...]:
    """Versions that took the traffic of any endpoint, oldest first."""
    found: list[tuple[float, int]] = []
    for target in experiment.deployment.targets:
        key = names.endpoint_key(experiment.name, kind_of(type(target)))
        for record in instance.fetch_materializations(key, limit=MOST).records:
            if record.asset_materialization is None:
                continue
            said = {k: v.value for k, v in record.asset_materialization.metadata.items()}
            # People can report a materialization in the UI, without any metadata.
            if said.get("state") == "live" and "version" in said:
                found.append((record.timestamp, int(str(said["version"]))))
    return tuple(version for _, version in sorted(found))
