"""Ticks the sensor of retrainings as Dagster's daemon does, and runs what it asks for: a real
instance and real runs, over assets with the keys, edges and code versions of the experiment's graph
that make what a test says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.graph import build_experiment
from mlops_assets.training import sensors
from mlops_assets.training.retraining.assets import REFRESHED, stages
from mlops_assets.training.retraining.cases import Case, Memory
from mlops_assets.training.staleness import Stage


@dataclass
class Outside:
    """What the runs of an experiment meet."""

    data: str = "a"
    labels: int = 100
    refused: bool = False
    """Whether the gates refuse the model."""
    broken: str = ""
    """The asset that fails for reasons of its own."""
    made: list[str] = field(default_factory=list)
    """Assets in the order they were made."""


def assets(experiment: Experiment, outside: Outside) -> list[dg.AssetsDefinition]:
    """What the job of retraining makes, in the order of the graph."""
    found = stages(build_experiment(experiment).assets or ())
    return [_asset(experiment, stage, outside) for stage in found]


def _asset(experiment: Experiment, stage: Stage, outside: Outside) -> dg.AssetsDefinition:
    key = names.asset_key(experiment.name, stage.name)
    judged = stage.name == names.EVALUATION
    gate = dg.AssetCheckSpec(names.BEATS_CHAMPION, asset=key, blocking=True)

    @dg.asset(
        key=key,
        deps=[names.asset_key(experiment.name, dep) for dep in stage.deps],
        code_version=stage.code,
        check_specs=[gate] if judged else None,
    )
    def made(context: dg.AssetExecutionContext) -> Iterator[Any]:
        if outside.broken == stage.name:
            raise dg.Failure("it broke", allow_retries=False)
        outside.made.append(stage.name)
        if stage.name in (names.TRAINED_MODEL, names.EVALUATION):
            names.mark_candidate(context, experiment, f"rows-{outside.data}")
        passed = dg.AssetCheckResult(passed=not outside.refused, description="it is no better")
        yield dg.MaterializeResult(
            data_version=_version(stage.name, outside, context.run.run_id),
            metadata=_metadata(stage.name, outside),
            tags={names.VERSION_TAG: "7"} if stage.name == names.REGISTERED_VERSION else None,
            check_results=[passed] if judged else None,
        )

    return made


def _version(name: str, outside: Outside, run_id: str) -> dg.DataVersion | None:
    """Of the data by its content, of a model by its fit; the others have Dagster's own."""
    if name in REFRESHED:
        return dg.DataVersion(f"rows-{outside.data}")
    return dg.DataVersion(run_id) if name == names.TRAINED_MODEL else None


def _metadata(name: str, outside: Outside) -> dict[str, Any]:
    if name == names.TRAINING_SET:
        return {"training_rows": outside.labels - 20, "held_out_rows": 20}
    return {"labelled_rows": outside.labels} if name == names.TRAINED_MODEL else {}


class Daemon:
    """One daemon over some experiments; another one may go on with its cursor.

    Attributes:
        outside: what the runs of each experiment meet.
        ahead: how far its clock is ahead of the time that runs have.
    """

    def __init__(self, instance: dg.DagsterInstance, *experiments: Experiment) -> None:
        self.instance = instance
        self.cursor: str | None = None
        self.ahead = timedelta()
        self.outside = {each.name: Outside() for each in experiments}
        self.load(*experiments)

    def load(self, *experiments: Experiment) -> None:
        """The code location is loaded again, with these YAMLs."""
        made = {each.name: assets(each, self.outside[each.name]) for each in experiments}
        jobs = [
            dg.define_asset_job(names.retrain_job(name), found, tags={names.EXPERIMENT_TAG: name})
            for name, found in made.items()
        ]
        everything = [each for found in made.values() for each in found]
        self.definitions = dg.Definitions.merge(
            dg.Definitions(assets=everything, jobs=jobs, executor=dg.in_process_executor),
            sensors.build(experiments, jobs, made, clock=lambda: datetime.now(UTC) + self.ahead),
        )

    def case(self, name: str = "churn") -> Case:
        return Memory.from_json(self.cursor).cases.get(name, Case())

    def tick(self) -> Any:
        (sensor,) = self.definitions.sensors or ()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions
        )
        data = sensor.evaluate_tick(context)  # type: ignore[union-attr]
        self.cursor = data.cursor
        return data

    def go(self) -> str:
        """One tick, and the runs it asks for: what they made, or why there were none."""
        data = self.tick()
        for request in data.run_requests or ():
            self.run(request)
        return " ".join(map(asked, data.run_requests or ())) or str(data.skip_message)

    def run(self, request: dg.RunRequest) -> str:
        """A run as the request wants it, to its end; its id."""
        job = self.definitions.resolve_job_def(str(request.job_name))
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=request.asset_selection,
            tags={**request.tags, "dagster/run_key": str(request.run_key)},
            raise_on_error=False,
        )
        return result.run_id

    def by_hand(self, name: str = "churn", *parts: str) -> str:
        """Somebody launches the job, or a part of it; the id of the run."""
        job = self.definitions.resolve_job_def(names.retrain_job(name))
        selected = [names.asset_key(name, part) for part in parts] or None
        return job.execute_in_process(
            instance=self.instance, asset_selection=selected, raise_on_error=False
        ).run_id

    def report(self, check: str, *, passed: bool, name: str = "churn", **metadata: Any) -> None:
        """A check was evaluated."""
        part = names.PERFORMANCE if check == names.QUALITY_HOLDS else names.SERVING_PROFILE
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=names.asset_key(name, part),
                check_name=check,
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN,
                description="3 of 9 columns drifted",
                metadata=metadata,
            )
        )


def asked(request: dg.RunRequest) -> str:
    """What a run is to make, in words."""
    made = [key.path[-1] for key in request.asset_selection or ()]
    return f"{request.job_name}({', '.join(made)})"
