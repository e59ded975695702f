"""Whether an endpoint serves the champion: the judge, and the sensor that asks again and again."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.deployment import at_once, sensors
from mlops_assets.deployment.breach import Breach
from mlops_assets.deployment.journal import Journal, Progress
from mlops_assets.deployment.targets.base import TargetContext
from mlops_assets.deployment.truth import serves_the_champion
from mlops_assets.gateways import champions
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Endpoint
from mlops_assets_tests.builders import Built, make_experiment
from mlops_assets_tests.endpoints import Place
from mlops_assets_tests.fakes.target import Clock

LIVE = Endpoint("churn", "local", "http://live", 2, "digest", "2026-05-03T00:00:00+00:00", 1)
HALF = ("version 3 half rolled out", "rollout ended")
BEGUN = Progress("run-1", 3, {}, "shifting", 0.1, "2026-05-03T00:00:00+00:00", "")


@pytest.mark.parametrize(
    ("endpoint", "said", "breach", "words"),
    [
        (LIVE, {}, None, "version 2 is live and the champion"),
        (LIVE, {"champion": None}, None, "no version is the champion yet"),
        (
            None,
            {},
            ("nothing", "version 2"),
            "nothing was ever deployed; the champion is version 2",
        ),
        (
            LIVE,
            {"champion": 3},
            ("version 2", "version 3"),
            "version 2 is live; the champion is version 3",
        ),
        (LIVE, {"champion": 3, "deploying": True}, None, "version 3 is being deployed"),
        (
            LIVE,
            {"digest": "another"},
            ("bundle digest", "bundle another"),
            "with bundle digest; registered was another",
        ),
        (
            replace(LIVE, state="failed", detail="it is gone"),
            {},
            ("failed", "version 2 live"),
            "failed: it is gone",
        ),
        (
            replace(LIVE, traffic={"2": 0.9, "3": 0.1}),
            {},
            ("version 2: 90%, version 3: 10%", "version 2: 100%"),
            "the traffic is split",
        ),
        (LIVE, {"progress": BEGUN, "deploying": True}, None, "version 3 is being rolled out"),
        (LIVE, {"progress": BEGUN}, HALF, "begun by run run-1, was left unfinished"),
        (LIVE, {"progress": replace(BEGUN, stage="done")}, None, "version 2 is live"),
        (
            replace(LIVE, state="stopped"),
            {},
            ("stopped", "version 2 live"),
            "the endpoint is stopped",
        ),
        (replace(LIVE, state="stopped"), {"stopped": True}, None, "it was stopped by `mlops stop`"),
        (replace(LIVE, state="stopped"), {"stopped": True, "progress": BEGUN}, HALF, "unfinished"),
    ],
)
def test_the_verdict_says_what_is_and_what_should_be(
    endpoint: Endpoint | None,
    said: dict[str, Any],
    breach: tuple[str, str] | None,
    words: str,
) -> None:
    """And of what does not hold, what was measured."""
    usual = {
        "champion": 2,
        "digest": "digest",
        "progress": None,
        "deploying": False,
        "stopped": False,
    }
    found = serves_the_champion(endpoint, **{**usual, **said})
    assert found.passed == (breach is None)
    assert found.breach == (Breach(*breach) if breach else None)
    assert words in found.reason


class Daemon:
    """Ticks the sensor as Dagster's daemon does."""

    def __init__(
        self,
        root: Path,
        registry: ModelRegistry,
        *,
        repair: bool = False,
        targets: Sequence[dict[str, Any]] = ({"kind": "local"},),
        variables: Mapping[str, str] = {},
        patience: float = 60.0,
    ) -> None:
        deployment = {"targets": [*targets], "repair": repair}
        self.experiment = make_experiment(deployment=deployment)
        self.clock = Clock(datetime(2026, 5, 3, tzinfo=UTC))
        self.store = DataStore(str(root / "data"), {})
        self.registry = registry
        self.cursor: str | None = None
        self.instance: dg.DagsterInstance
        self._context = TargetContext(
            state=root / "endpoints",
            environment={},
            variables=variables,
            now=self.clock.now,
            sleep=self.clock.sleep,
        )
        key = names.endpoint_key("churn", "local")

        @dg.asset(key=key, config_schema=dict, check_specs=[])
        def deployed() -> None: ...

        job = dg.define_asset_job(names.deploy_job("churn"), dg.AssetSelection.assets(key))
        self.resources = {
            "data_store": self.store,
            "model_registry": registry,
            "target_context": self._context,
        }
        self.definitions = dg.Definitions.merge(
            dg.Definitions(assets=[deployed], jobs=[job], resources=self.resources),
            sensors.build([self.experiment], [job], patience=patience),
        )

    def tick(self) -> Any:
        (sensor,) = self.definitions.sensors or ()
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=self.definitions,
            resources=self.resources,
        )
        data = sensor.evaluate_tick(context)
        self.cursor = data.cursor
        self.clock.sleep(60)
        return data


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def daemon(tmp_path: Path, model_registry: ModelRegistry, instance: dg.DagsterInstance) -> Daemon:
    model_registry.register("churn", source="runs:/r/model", run_id="", tags={})
    made = Daemon(tmp_path, model_registry)
    made.instance = instance
    return made


def test_a_verdict_is_told_when_it_changes_and_once_an_hour(daemon: Daemon) -> None:
    first = daemon.tick()
    (event,) = first.asset_events
    assert (event.check_name, event.passed) == (names.SERVES_THE_CHAMPION, True)
    assert event.description == "no version is the champion yet"
    assert daemon.tick().asset_events == []
    daemon.registry.set_alias("churn", CHAMPION, 1)
    changed = daemon.tick()
    (event,) = changed.asset_events
    assert (event.passed, event.description) == (
        False,
        "nothing was ever deployed; the champion is version 1",
    )
    measured = {name: said.value for name, said in event.metadata.items()}
    assert measured == {"value": "nothing", "threshold": "version 1"}
    assert "churn/local: nothing was ever deployed" in changed.skip_message
    assert [len(daemon.tick().asset_events) for _ in range(60)].count(1) == 1


def test_a_version_that_was_just_decided_for_is_on_its_way(daemon: Daemon) -> None:
    """The sensor that deploys it comes within seconds: nobody is told of what is no fault."""
    champions.crown(daemon.registry, "churn", 1, now=daemon.clock.now())
    said = [event for _ in range(3) for event in daemon.tick().asset_events]
    assert [(each.passed, each.description) for each in said] == [
        (True, "version 1 is being deployed"),
        (False, "nothing was ever deployed; the champion is version 1"),
    ]


def test_it_repairs_only_where_the_yaml_says_so_and_not_all_the_time(
    daemon: Daemon, tmp_path: Path, model_registry: ModelRegistry, instance: dg.DagsterInstance
) -> None:
    model_registry.set_alias("churn", CHAMPION, 1)
    assert daemon.tick().run_requests == []
    repairing = Daemon(tmp_path, model_registry, repair=True)
    repairing.instance = instance
    (request,) = repairing.tick().run_requests
    assert request.job_name == "churn__deploy"
    config = request.run_config["ops"]["churn__endpoints__local"]["config"]
    assert config["reason"].startswith("repair: nothing was ever deployed")
    journal = Journal(repairing.store, "churn", "local")
    journal.write(BEGUN)
    path = tmp_path / "data" / "churn" / "rollouts" / "local.json"
    path.write_text("{")
    unknown = repairing.tick()
    assert "it cannot be found out" in unknown.skip_message
    path.unlink()
    again = repairing.tick()
    assert again.asset_events[0].description.startswith("nothing was ever deployed")
    assert (unknown.run_requests, again.run_requests) == ([], []), "not known, and nothing new"
    asked = [repairing.tick().run_requests for _ in range(61)]
    assert sum(map(len, asked)) == 1
    keys = {request.run_key, *(r.run_key for requests in asked for r in requests)}
    assert len(keys) == 2


def test_what_was_stopped_by_hand_is_not_repaired_and_what_is_silent_otherwise_is(
    tmp_path: Path, model_registry: ModelRegistry, instance: dg.DagsterInstance, one: Built
) -> None:
    place = Place(tmp_path)
    model_registry.register("churn", source="runs:/r/model", run_id="", tags={})
    model_registry.set_alias("churn", CHAMPION, 1)
    daemon = Daemon(tmp_path, model_registry, repair=True)
    daemon.instance, daemon.resources["target_context"] = instance, place.context
    try:
        place.deploy(one, 1)
        assert daemon.tick().run_requests == []
        place.retire()
        (request,) = daemon.tick().run_requests
        assert "the endpoint is stopped" in str(request.run_config)
        report_stopped(instance)
        said = daemon.tick()
        assert said.run_requests == []
        (event,) = said.asset_events
        assert event.passed
        assert "it was stopped by `mlops stop`" in event.description
    finally:
        place.clear()


def report_stopped(instance: dg.DagsterInstance) -> None:
    """As `mlops stop` does."""
    key, said = names.endpoint_key("churn", "local"), {names.STOPPED_BY: "ada"}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=said))


def test_a_rollout_that_was_begun_before_somebody_stopped_the_endpoint_is_over(
    tmp_path: Path, model_registry: ModelRegistry, instance: dg.DagsterInstance, one: Built
) -> None:
    place = Place(tmp_path)
    model_registry.register("churn", source="runs:/r/model", run_id="", tags={})
    model_registry.set_alias("churn", CHAMPION, 1)
    daemon = Daemon(tmp_path, model_registry)
    daemon.instance, daemon.resources["target_context"] = instance, place.context
    try:
        place.deploy(one, 1)
        journal = Journal(daemon.store, "churn", "local")
        journal.write(BEGUN)
        place.retire()
        report_stopped(instance)
        said = daemon.tick()
        assert said.run_requests == []
        assert "it was stopped by `mlops stop`" in said.asset_events[0].description
        later = datetime.now(UTC) + timedelta(seconds=1)
        journal.write(replace(BEGUN, began=later.isoformat()))
        (request,) = daemon.tick().run_requests
        assert "was left unfinished" in str(request.run_config)
    finally:
        place.clear()


def test_a_rollout_whose_run_is_gone_is_finished_by_another(daemon: Daemon) -> None:
    Journal(daemon.store, "churn", "local").write(BEGUN)
    (request,) = daemon.tick().run_requests
    assert "was left unfinished" in str(request.run_config)


def test_while_a_run_deploys_nothing_is_asked_for(daemon: Daemon) -> None:
    Journal(daemon.store, "churn", "local").write(BEGUN)
    job = daemon.definitions.resolve_job_def("churn__deploy")
    daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    data = daemon.tick()
    assert data.run_requests == []
    assert data.asset_events[0].description == "version 3 is being rolled out"


def test_stores_that_do_not_answer_are_said_and_end_no_tick(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "data" / "churn" / "rollouts" / "local.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    data = daemon.tick()
    assert data.run_requests == []
    assert "it cannot be found out: " in data.asset_events[0].description


def test_a_cluster_that_is_silent_keeps_nobody_else_from_being_judged(
    tmp_path: Path, model_registry: ModelRegistry, instance: dg.DagsterInstance
) -> None:
    """It takes connections, and never answers: a call to it costs two minutes and a half."""
    model_registry.register("churn", source="runs:/r/model", run_id="", tags={})
    model_registry.set_alias("churn", CHAMPION, 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = f"http://127.0.0.1:{silent.getsockname()[1]}"
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(config_of(cluster)))
        daemon = Daemon(
            tmp_path,
            model_registry,
            targets=[{"kind": "kubernetes", "image": "serving:1"}, {"kind": "local"}],
            variables={"KUBECONFIG": str(kubeconfig)},
            patience=3.0,
        )
        daemon.instance = instance
        began = time.monotonic()
        said = {event.asset_key.path[-1]: event for event in daemon.tick().asset_events}
        assert time.monotonic() - began < 10
        assert not said["kubernetes"].passed
        assert said["kubernetes"].description == (
            "it cannot be found out: nothing was heard of it for 3 s"
        )
        assert said["local"].description.startswith("nothing was ever deployed")
        assert json.loads(daemon.cursor or "")["told"].keys() == {"churn/kubernetes", "churn/local"}
        asking = [thread for thread in threading.enumerate() if thread.name == at_once.THREAD]
        assert daemon.tick().asset_events == []
        again = [thread for thread in threading.enumerate() if thread.name == at_once.THREAD]
        assert len(asking) == 1
        assert again == asking, "it was asked again before it had answered"
    asking[0].join(60)
    assert not asking[0].is_alive()


def config_of(server: str) -> dict[str, Any]:
    """A kubeconfig."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
