"""The sensor of tickets on a real Dagster instance, with a real receiver of its webhooks."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    TickData,
    TickStatus,
)
from dagster._utils.error import SerializableErrorInfo
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.graph import build_experiment
from mlops_assets.monitoring import sensors
from mlops_assets.monitoring.sinks.base import SinkContext
from mlops_assets.monitoring.tickets.muting import Mute
from mlops_assets.monitoring.tickets.shelf import Shelf
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.contracts.sink import Product, Server, server

__all__ = ["server"]

ENDPOINT = names.endpoint_key("churn", "local")
PROFILE = names.asset_key("churn", names.SERVING_PROFILE)
HOOK = {"kind": "webhook", "url_env": "HOOK", "at_least": "info"}


def churn(name: str = "churn", **tickets: Any) -> Experiment:
    return make_experiment(name=name, monitoring={"tickets": {"sinks": [HOOK], **tickets}})


class Desk:
    """A daemon that ticks the sensor, and the runs and checks that Dagster knows of."""

    def __init__(self, instance: dg.DagsterInstance, url: str, *experiments: Experiment) -> None:
        self.instance = instance
        self.ahead = timedelta()
        self.context = SinkContext("http://dagster", "RUNBOOK.md", {"HOOK": url}, timeout_s=1.0)
        self.load(*experiments)

    def load(self, *experiments: Experiment) -> None:
        """The code location is loaded again, with these YAMLs."""
        made = {}
        for each in experiments:
            part = build_experiment(each)
            made[each.name] = [*(part.assets or ()), *(part.asset_checks or ())]
        built = sensors.build(experiments, made, clock=lambda: datetime.now(UTC) + self.ahead)
        self.definitions = dg.Definitions(
            sensors=built.sensors, resources={"sink_context": self.context}
        )

    def tick(self) -> str:
        (sensor,) = self.definitions.sensors or ()
        with dg.build_sensor_context(
            instance=self.instance, definitions=self.definitions
        ) as context:
            return str(sensor.evaluate_tick(context).skip_message)  # type: ignore[union-attr]

    def report(self, key: dg.AssetKey, check: str, *, passed: bool, **metadata: Any) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=check,
                passed=passed,
                description=f"{check} said so",
                metadata=metadata,
            )
        )

    def run(self, *parts: str, job: str = "retrain", breaks: str = "", gate: bool = False) -> None:
        """A run of a job over assets with these names, in order."""
        made = [_asset(part, broken=part == breaks, gate=gate) for part in parts]
        name = f"churn__{job}"
        defined = dg.define_asset_job(name, made, tags={names.EXPERIMENT_TAG: "churn"})
        loaded = dg.Definitions(assets=made, jobs=[defined], executor=dg.in_process_executor)
        loaded.resolve_job_def(name).execute_in_process(
            instance=self.instance, raise_on_error=False
        )


def _asset(part: str, *, broken: bool, gate: bool) -> dg.AssetsDefinition:
    key = names.asset_key("churn", part)
    spec = dg.AssetCheckSpec(names.BEATS_CHAMPION, asset=key, blocking=True)

    @dg.asset(key=key, check_specs=[spec] if gate else None)
    def made() -> Any:
        if broken and not gate:
            raise dg.Failure("the file is gone", allow_retries=False)
        checked = [dg.AssetCheckResult(passed=not broken)] if gate else None
        return dg.MaterializeResult(check_results=checked)

    return made


class TestTickets:
    product = Product

    @pytest.fixture
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.ephemeral() as made:
            yield made

    @pytest.fixture
    def desk(
        self, instance: dg.DagsterInstance, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> Desk:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        return Desk(instance, server.url, churn())

    def test_a_failing_check_is_told_with_its_numbers_and_closed(
        self, desk: Desk, server: Server
    ) -> None:
        assert desk.tick().startswith("0 tickets are open")
        desk.report(PROFILE, names.HAS_NOT_DRIFTED, passed=False, largest_distance=0.314159)
        for _ in range(3):
            said = desk.tick()
        assert "churn#1 serving_profile/has_not_drifted (warning) since" in said
        (data,) = told(server)
        assert (data["value"], data["threshold"]) == ("0.3142", "0.15")
        assert data["link"] == (
            "http://dagster/assets/churn/serving_profile?view=checks&checkDetail=has_not_drifted"
        )
        desk.report(PROFILE, names.HAS_NOT_DRIFTED, passed=True)
        desk.tick()
        assert events(server) == ["opened churn#1", "closed churn#1"]

    def test_a_dead_endpoint_is_one_ticket(self, desk: Desk, server: Server) -> None:
        for check in (names.ANSWERS_PROBE, names.SERVES_THE_CHAMPION):
            desk.report(ENDPOINT, check, passed=False)
        for check in (names.PROFILE_IS_FRESH, names.PREDICTIONS_HAVE_NOT_DRIFTED):
            desk.report(PROFILE, check, passed=False)
        desk.tick()
        (data,) = told(server)
        assert (data["cause"], data["severity"]) == ("endpoints/local/answers_probe", "critical")
        assert len(data["followers"]) == 3

    def test_a_daemon_that_starts_anew_tells_nothing_twice(
        self, desk: Desk, instance: dg.DagsterInstance, server: Server
    ) -> None:
        desk.report(ENDPOINT, names.ANSWERS_PROBE, passed=False)
        desk.run("source", "features", breaks="source")
        for _ in range(3):
            desk.tick()
            desk = Desk(instance, server.url, churn())
        assert events(server) == ["opened churn#1", "opened churn#2"]

    def test_what_a_dead_receiver_missed_it_hears_later(
        self, desk: Desk, instance: dg.DagsterInstance, server: Server
    ) -> None:
        server.status = 503
        desk.report(PROFILE, names.HAS_NOT_DRIFTED, passed=False)
        said = desk.tick()
        assert "webhook $HOOK answered 503" in said
        desk.report(PROFILE, names.HAS_NOT_DRIFTED, passed=True)
        desk.tick()
        server.status, server.asked[:] = 0, []
        again = Desk(instance, server.url, churn())
        again.ahead = timedelta(minutes=2)
        again.tick()
        assert events(server) == ["opened churn#1", "closed churn#1"]

    def test_a_run_that_breaks_says_where_and_a_run_that_goes_on_mends_it(
        self, desk: Desk, server: Server
    ) -> None:
        desk.run("source", "features", breaks="source")
        desk.tick()
        (data,) = told(server)
        assert (data["cause"], data["asset"]) == ("runs/retrain", "churn/source")
        assert data["words"].endswith("failed: churn/source: the file is gone")
        assert data["link"].startswith("http://dagster/runs/")
        desk.run("features", job="other")
        desk.tick()
        assert len(server.asked) == 1, "another job"
        desk.run("source", "features")
        desk.tick()
        assert events(server) == ["opened churn#1", "closed churn#1"]

    def test_a_refused_candidate_is_for_information_and_no_broken_run(
        self, desk: Desk, server: Server
    ) -> None:
        desk.run("evaluation", breaks="evaluation", gate=True)
        desk.tick()
        (data,) = told(server)
        assert (data["cause"], data["severity"]) == ("evaluation/beats_champion", "info")

    def test_a_mute_holds_until_it_ends(
        self, desk: Desk, instance: dg.DagsterInstance, server: Server
    ) -> None:
        shelf, now = Shelf(instance.daemon_cursor_storage), datetime.now(UTC).timestamp()
        _, _, mutes = shelf.read(["churn"])
        mute = Mute("answers_probe", now + 3600, "an upgrade", "ann", "")
        shelf.save_mutes("churn", mutes["churn"].adding(mute, now))
        desk.report(ENDPOINT, names.ANSWERS_PROBE, passed=False)
        desk.tick()
        assert server.asked == []
        desk.ahead = timedelta(hours=2)
        desk.tick()
        assert events(server) == ["opened churn#1"]

    def test_a_window_of_the_yaml_mutes_the_causes_it_names(
        self, desk: Desk, server: Server
    ) -> None:
        today = datetime.now(UTC)
        window = {
            "start": f"{today - timedelta(days=1):%Y-%m-%d %H:%M}",
            "end": f"{today + timedelta(days=1):%Y-%m-%d %H:%M}",
            "reason": "moving",
            "causes": ["endpoints/local"],
        }
        desk.load(churn(mute=[window]))
        desk.report(ENDPOINT, names.ANSWERS_PROBE, passed=False)
        desk.run("source", breaks="source")
        desk.tick()
        assert [data["cause"] for data in told(server)] == ["runs/retrain"]
        desk.load(churn())
        desk.tick()
        assert len(server.asked) == 2

    def test_a_sensor_that_fails_twice_in_a_row_concerns_everybody_once(
        self, desk: Desk, instance: dg.DagsterInstance, server: Server
    ) -> None:
        desk.load(churn(), churn("sales"))
        ticked(instance, names.REGISTRY_SENSOR, [TickStatus.FAILURE])
        desk.tick()
        assert server.asked == []
        ticked(instance, names.REGISTRY_SENSOR, [TickStatus.FAILURE])
        desk.tick()
        ticked(instance, names.REGISTRY_SENSOR, [TickStatus.SKIPPED])
        desk.tick()
        assert events(server) == ["opened all#1", "closed all#1"]
        assert told(server)[0]["words"] == "no route to MLflow"

    def test_one_tick_asks_equally_often_for_any_number_of_experiments(
        self, instance: dg.DagsterInstance, server: Server
    ) -> None:
        counts = []
        for number in (1, 60):
            desk = Desk(instance, server.url, *(churn(f"e{i}") for i in range(number)))
            desk.tick()
            with counted() as statements:
                desk.tick()
            counts.append(len(statements))
        assert counts[0] == counts[1]


class counted:  # noqa: N801 used like a function
    """The statements that reach a database meanwhile."""

    def __enter__(self) -> list[str]:
        self.statements: list[str] = []
        event.listen(Engine, "before_cursor_execute", self._note)
        return self.statements

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._note)


def told(server: Server) -> list[dict[str, Any]]:
    return [asked.json["data"] for asked in server.asked]


def events(server: Server) -> list[str]:
    return [f"{data['event']} {data['ticket']}" for data in told(server)]


def ticked(instance: dg.DagsterInstance, sensor: str, statuses: Sequence[TickStatus]) -> None:
    """What Dagster's daemon leaves of ticks."""
    origin = _origin(sensor)
    if not any(s.instigator_name == sensor for s in instance.all_instigator_state()):
        instance.add_instigator_state(
            InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
        )
    for status in statuses:
        failed = status == TickStatus.FAILURE
        error = SerializableErrorInfo("no route to MLflow\n", [], "RegistryError")
        instance.create_tick(
            TickData(
                origin.get_id(),
                sensor,
                InstigatorType.SENSOR,
                status,
                datetime.now(UTC).timestamp(),
                selector_id=origin.get_selector().get_id(),
                error=error if failed else None,
            )
        )


def _origin(sensor: str) -> RemoteInstigatorOrigin:
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    target = LoadableTargetOrigin(module_name="mlops_assets.definitions")
    location = InProcessCodeLocationOrigin(target, location_name="mlops_assets")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), sensor)
