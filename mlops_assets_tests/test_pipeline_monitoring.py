"""From traffic that changes to the version that knows it: Dagster's own daemon with its schedules
and sensors, an endpoint that is called all the time, and a receiver where Slack would be. Nobody
does anything; only the first ten minutes of traffic are handed to the endpoint's recorder with
their times, instead of being waited for."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import numpy as np
import pandas as pd
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.commands import kept
from mlops_assets.commands.instance import STARTED_BY, STARTED_BY_TAG, open_instance
from mlops_assets.commands.live import live_endpoint
from mlops_assets.experiment import loader
from mlops_assets.monitoring import comparison, drift
from mlops_assets.monitoring.profiles import Reader
from mlops_assets_tests.commands.project import RETRAINED, Project
from mlops_assets_tests.contracts.sink import Product, Server, server
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.programs import daemon
from mlops_assets_tests.recorded import record_the_past

__all__ = ["server"]

pytestmark = [pytest.mark.pipeline, pytest.mark.clock]

ROOT = Path(__file__).resolve().parent.parent
WATCHED = (
    RETRAINED
    + """\
monitoring:
  window: minute
  tickets: {sinks: [{kind: slack, url_env: SLACK_URL}]}
"""
)
AS_TRAINED, OLDER = (18, 80), (50, 80)
"""Ages from and to: the shift stays within the range of the training, and tells nothing of the
label."""
WINDOWS = 10
PATIENCE = 420
"""Seconds from a change to what follows of it: two windows of a minute, ticks, and runs."""
PROFILE = names.asset_key("small", names.SERVING_PROFILE)
JUDGED = [
    dg.AssetCheckKey(PROFILE, name)
    for name in (
        names.PROFILE_IS_FRESH, names.DATA_QUALITY_HOLDS, names.HAS_NOT_DRIFTED,
        names.PREDICTIONS_HAVE_NOT_DRIFTED,
    )
]  # fmt: skip


def people(rows: int, ages: tuple[int, int], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    spent = rng.normal(100, 20, rows).round(2)
    left = np.where(spent + rng.normal(0, 15, rows) > 100, "yes", "no")
    return pd.DataFrame({"age": rng.integers(*ages, rows), "spent": spent, "left": left})


@dataclass
class Caller:
    """Asks the endpoint about new people all the time."""

    url: str
    ages: tuple[int, int] = AS_TRAINED
    versions: list[str] = field(default_factory=list)
    """That answered, in their order."""
    failures: list[str] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def call(self) -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            for seed in range(10**6):
                if self.ends.wait(1):
                    return
                asked = people(40, self.ages, seed).drop(columns="left")
                body = {"instances": asked.to_dict(orient="records")}
                answer = client.post(f"{self.url}/invocations", json=body)
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                elif self.versions[-1:] != [answer.json()["version"]]:
                    self.versions.append(answer.json()["version"])

    @contextmanager
    def calling(self) -> Iterator["Caller"]:
        thread = threading.Thread(target=self.call)
        thread.start()
        try:
            yield self
        finally:
            self.ends.set()
            thread.join(30)


@dataclass(frozen=True)
class Watched:
    """The project, its Dagster, and the messages that came."""

    project: Project
    instance: dg.DagsterInstance
    slack: Server

    def judged(self) -> dict[str, Any]:
        """The last evaluation of each check that was made."""
        storage = self.instance.event_log_storage
        found = storage.get_latest_asset_check_execution_by_key(JUDGED)
        events = {key.name: record.event for key, record in found.items()}
        return {
            name: event.dagster_event.asset_check_evaluation_data
            for name, event in events.items()
            if event is not None and event.dagster_event is not None
            and event.dagster_event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        }  # fmt: skip

    def is_green(self, windows: int) -> bool:
        """Whether that many windows were looked at, and all is well."""
        event = self.instance.get_latest_materialization_event(PROFILE)
        if event is None or event.asset_materialization is None:
            return False
        looked = event.asset_materialization.metadata["windows"].value
        judged = self.judged()
        return (
            len(judged) == len(JUDGED)
            and all(each.passed for each in judged.values())
            and isinstance(looked, int)
            and looked >= windows
        )

    def windows_like_training(self) -> int:
        """How many windows, one after the other up to the newest, have no column that drifted."""
        experiment = loader.load(self.project.root / "configs" / "small.yaml")
        profile = self.project.record("small", names.SERVING_PROFILE)
        reader = Reader(kept.store(self.project.settings))
        windows = comparison.compare(experiment, profile, reader).windows
        verdicts = [drift.judge(each.columns, experiment.monitoring.drift) for each in windows]
        like = takewhile(lambda each: not any(one.drifted for one in each), reversed(verdicts))
        return len(list(like))

    def never_failed(self) -> bool:
        """Whether no check said anything else in any of the runs so far."""
        storage = self.instance.event_log_storage
        found = [
            record.evaluation
            for key in JUDGED
            for record in storage.get_asset_check_execution_history(key, limit=100)
        ]
        made = [each for each in found if isinstance(each, dg.AssetCheckEvaluation)]
        return bool(made) and all(each.passed for each in made)

    def failure(self, name: str) -> Any:
        """The last evaluation of the check, when it failed."""
        found = self.judged().get(name)
        return found if found is not None and not found.passed else None

    def messages(self) -> list[str]:
        """What Slack was told, as its notifications show it."""
        return [asked.json["text"] for asked in self.slack.asked]

    def told(self) -> list[str]:
        """The messages themselves."""
        return [asked.json["blocks"][0]["text"]["text"] for asked in self.slack.asked]

    def trainings(self) -> list[dg.DagsterRun]:
        """Runs that fitted a model."""
        key = names.asset_key("small", names.TRAINED_MODEL)
        fetched = self.instance.fetch_materializations(key, limit=10).records
        runs = [self.instance.get_run_by_id(record.run_id) for record in fetched]
        return [run for run in runs if run is not None]


class TestFromADriftToTheVersionThatKnowsIt:
    product = Product

    def test_nobody_does_anything(
        self, server: Server, tmp_path: Path, mlflow_template: Path
    ) -> None:
        project = Project(tmp_path, (("SLACK_URL", server.url),)).with_tables(mlflow_template)
        project.write(WATCHED, "small.yaml")
        shutil.copy(ROOT / "dagster.yaml", tmp_path)
        people(600, AS_TRAINED, 1).to_csv(tmp_path / "data.csv", index=False)
        assert project.json("run", "small")["ok"]
        experiment = loader.load(project.root / "configs" / "small.yaml")
        url = live_endpoint(project.settings, experiment).url
        try:
            record_the_past(project, experiment, windows=WINDOWS, rows=400)
            with (
                Caller(url).calling() as caller,
                open_instance(project.settings) as instance,
                daemon(project),
            ):
                self.goes_round(Watched(project, instance, server), caller)
        finally:
            project.retire()

    def goes_round(self, watched: Watched, caller: Caller) -> None:
        until(lambda: watched.is_green(WINDOWS), PATIENCE)
        assert watched.messages() == []
        assert watched.windows_like_training() >= WINDOWS
        assert watched.never_failed()

        people(600, OLDER, 2).to_csv(watched.project.root / "data.csv", index=False)
        caller.ages = OLDER
        found = until(lambda: watched.failure(names.HAS_NOT_DRIFTED), PATIENCE)
        until(lambda: caller.versions == ["1", "2"], PATIENCE)
        until(lambda: len(watched.messages()) > 1, PATIENCE)

        until(lambda: watched.is_green(1), PATIENCE)
        assert caller.failures == []
        assert watched.project.versions("small") == 2
        by_drift, by_hand = watched.trainings()
        assert by_hand.tags[STARTED_BY_TAG] == STARTED_BY
        assert by_drift.tags["dagster/sensor_name"] == names.RETRAINING_SENSOR

        columns = [row.data["column"] for row in found.metadata["columns"].records]
        assert columns == ["age", "spent"]
        ticket = "[small#1] small: serving_profile/has_not_drifted"
        assert watched.messages() == [f"{ticket} opened", f"{ticket} closed"]
        opened, closed = watched.told()
        assert "1 of 2 columns of inputs is not as in training: age (" in opened
        assert "threshold: 0.15\n" in opened
        assert "closed: recovered, after " in closed
