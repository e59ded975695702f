"""One drift from the failing check to the one candidate that comes of it: real data, trials, gates
and registry; in this process, on the project's own Dagster instance."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from mlops_assets import vocabulary as names
from mlops_assets.cli import cli
from mlops_assets.commands import jobs
from mlops_assets.commands.choice import choose
from mlops_assets.commands.instance import open_instance
from mlops_assets_tests.commands.project import RETRAINED, Project

pytestmark = pytest.mark.pipeline

REFRESHED = {"source", "features", "training_set"}


def write_data(project: Project, rows: int) -> None:
    rng = np.random.default_rng(0)
    age, spent = rng.integers(18, 80, rows), rng.normal(100, 20, rows).round(2)
    left = np.where(spent + rng.normal(0, 15, rows) > 100, "yes", "no")
    frame = pd.DataFrame({"age": age, "spent": spent, "left": left})
    frame.to_csv(project.root / "data.csv", index=False)


class Daemon:
    """Ticks the sensor of the project's own definitions, and runs what it asks for."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        experiment = choose(project.settings, "small")
        self.definitions = jobs.definitions(project.settings, experiment)
        self.instance = instance
        self.cursor: str | None = None

    def run(self, assets: Any = None, **tags: str) -> set[str]:
        """What a run of these assets, or of all of the job, made."""
        job = self.definitions.resolve_job_def(names.retrain_job("small"))
        result = job.execute_in_process(
            instance=self.instance, asset_selection=assets, tags=tags, run_config=jobs.QUIET
        )
        made = result.filter_events(lambda event: event.is_step_materialization)
        return {event.asset_key.path[-1] for event in made if event.asset_key is not None}

    def tick(self) -> set[str] | str:
        """What was made, or why nothing was."""
        (sensor,) = [
            each for each in self.definitions.sensors or () if each.name == names.RETRAINING_SENSOR
        ]
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions
        )
        data = sensor.evaluate_tick(context)  # type: ignore[union-attr]
        self.cursor = data.cursor
        if not data.run_requests:
            return str(data.skip_message)
        (request,) = data.run_requests
        tags = {**request.tags, "dagster/run_key": str(request.run_key)}
        return self.run(request.asset_selection, **tags)

    def drifted(self, *, passed: bool = False) -> None:
        key = names.asset_key("small", names.SERVING_PROFILE)
        said = dg.AssetCheckEvaluation(
            asset_key=key, check_name=names.HAS_NOT_DRIFTED, passed=passed
        )
        self.instance.report_runless_asset_event(said)

    def keep(self) -> None:
        """What the sensor remembers, where Dagster's daemon keeps it."""
        place = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(python_file="x"))
        origin = RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(place, "repository"), names.RETRAINING_SENSOR
        )
        state = SensorInstigatorData(cursor=self.cursor)
        self.instance.add_instigator_state(
            InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, state)
        )


@pytest.fixture
def project(tmp_path: Path, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    found = Project(tmp_path).with_tables(mlflow_template)
    found.write(RETRAINED, "small.yaml")
    for name in [n for n in os.environ if n.startswith(("MLOPS_", "MLFLOW_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    return found


@pytest.fixture
def daemon(project: Project) -> Iterator[Daemon]:
    with open_instance(project.settings) as instance:
        yield Daemon(project, instance)


def planned(project: Project) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["plan", "small", "--json"])
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.output)
    return content


def test_from_a_drift_to_one_candidate(project: Project, daemon: Daemon) -> None:
    write_data(project, 150)
    assert daemon.run() >= {*REFRESHED, "trained_model", "registered_version"}
    assert planned(project)["retraining"].startswith(
        "would now be refused: no new data: none since version 1"
    )

    daemon.drifted()
    assert daemon.tick() == REFRESHED
    said = str(daemon.tick())
    assert said.startswith("small: refused: no new data: none since version 1 (digest ")
    daemon.keep()
    assert said.removeprefix("small: ") in planned(project)["retraining"]

    write_data(project, 200)
    assert planned(project)["retraining"].startswith("would be started now")
    daemon.drifted(passed=True)
    daemon.tick()
    daemon.drifted()
    assert daemon.tick() == REFRESHED
    made = daemon.tick()
    assert made == {
        "tuned_hyperparameters", "trained_model", "evaluation", "registered_version",
        "reference_profile",
    }  # fmt: skip
    assert str(daemon.tick()).endswith("registered a version")
    for _ in range(3):
        daemon.drifted()
        daemon.tick()
        daemon.tick()
    assert project.versions("small") == 2

    # Another setting of the evaluation: the study and the model stay as they are.
    project.write(RETRAINED.replace("bootstrap: 100", "bootstrap: 200"), "small.yaml")
    stale = {each["name"] for each in planned(project)["assets"] if each["stale"]}
    assert stale == {"evaluation", "registered_version", "reference_profile"}
