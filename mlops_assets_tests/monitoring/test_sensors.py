"""The sensor of tickets on a real Dagster instance, with a real receiver of its webhooks."""

import functools
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

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.graph import build_experiment
from mlops_assets.monitoring import sensors
from mlops_assets.monitoring.sinks.base import SinkContext
from mlops_assets.monitoring.tickets.book import Book
from mlops_assets.monitoring.tickets.muting import Mute, Mutes
from mlops_assets.monitoring.tickets.shelf import PLATFORM, Desk, Shelf
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.contracts.sink import Product, Server, server
from mlops_assets_tests.monitoring.statements import counted

__all__ = ["server"]

ENDPOINT = names.endpoint_key("churn", "local")
PROFILE = names.asset_key("churn", names.SERVING_PROFILE)
HOOK = {"kind": "webhook", "url_env": "HOOK", "at_least": "info"}


def churn(name: str = "churn", **tickets: Any) -> Experiment:
    return make_experiment(name=name, monitoring={"tickets": {"sinks": [HOOK], **tickets}})


class Daemon:
    """A daemon that ticks the sensor, and the runs and checks that Dagster knows of."""

    def __init__(self, instance: dg.DagsterInstance, url: str, *experiments: Experiment) -> None:
        self.instance = instance
        self.ahead = timedelta()
        self.context = SinkContext("http://dagster", "RUNBOOK.md", {"HOOK": url}, timeout_s=1.0)
        self.load(*experiments)

    def load(self, *experiments: Experiment) -> None:
        """The code location is loaded again, with these YAMLs."""
        made = {each.name: parts_of(each.name) for each in experiments}
        built = sensors.build(experiments, made, clock=lambda: datetime.now(UTC) + self.ahead)
        self.definitions = built

    def tick(self) -> str:
        (sensor,) = self.definitions.sensors or ()
        with dg.build_sensor_context(
            instance=self.instance,
            definitions=self.definitions,
            resources={"sink_context": self.context},
        ) as context:
            return str(sensor.evaluate_tick(context).skip_message)

    def report(
        self,
        key: dg.AssetKey,
        check: str,
        *,
        passed: bool,
        severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
        **metadata: Any,
    ) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=check,
                passed=passed,
                severity=severity,
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


@functools.cache
def parts_of(name: str) -> list[Any]:
    """The assets and checks of an experiment, which its tickets do not change."""
    part = build_experiment(churn(name))
    return [*(part.assets or ()), *(part.asset_checks or ())]


def _asset(part: str, *, broken: bool, gate: bool) -> dg.AssetsDefinition:
    key = names.asset_key("churn", part)
    spec = dg.AssetCheckSpec(names.BEATS_CHAMPION, asset=key, blocking=True)

    @dg.asset(key=key, check_specs=[spec] if gate else None)
    def made() -> dg.MaterializeResult:
        if broken and not gate:
            raise dg.Failure("the file is gone", allow_retries=False)
        checked = [dg.AssetCheckResult(passed=not broken)] if gate else None
        return dg.MaterializeResult(check_results=checked)

    return made


@pytest.fixture(scope="module")
def stores() -> Iterator[dg.DagsterInstance]:
    """The stores of a real instance: making them takes longer than a test."""
    with dg.instance_for_test() as made:
        yield made


class TestTickets:
    product = Product

    @pytest.fixture
    def instance(self, stores: dg.DagsterInstance) -> dg.DagsterInstance:
        stores.wipe()
        stores.wipe_all_schedules()
        shelf = Shelf(stores.daemon_cursor_storage)
        for name in ("churn", PLATFORM):
            shelf.save(name, Book())
            shelf.save_mutes(name, Mutes())
        shelf.save_desk(Desk())
        return stores

    @pytest.fixture
    def daemon(
        self, instance: dg.DagsterInstance, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> Daemon:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        return Daemon(instance, server.url, churn())

    def test_a_failing_check_is_told_with_its_numbers_and_closed(
        self, daemon: Daemon, server: Server
    ) -> None:
        assert daemon.tick().startswith("0 tickets open")
        measured = {"value": 0.314159, "threshold": 0.15}
        daemon.report(PROFILE, names.HAS_NOT_DRIFTED, passed=False, **measured)
        for _ in range(3):
            said = daemon.tick()
        assert "churn#1 serving_profile/has_not_drifted (warning) since" in said
        (data,) = told(server)
        assert (data["value"], data["threshold"]) == ("0.3142", "0.15")
        assert data["link"] == (
            "http://dagster/assets/churn/serving_profile?view=checks&checkDetail=has_not_drifted"
        )
        daemon.report(PROFILE, names.HAS_NOT_DRIFTED, passed=True)
        daemon.tick()
        assert events(server) == ["opened churn#1", "closed churn#1"]

    def test_what_a_check_only_warns_of_is_no_worse_in_its_ticket(
        self, daemon: Daemon, server: Server
    ) -> None:
        daemon.report(
            PROFILE, names.PROFILE_IS_FRESH, passed=False, severity=dg.AssetCheckSeverity.WARN
        )
        daemon.tick()
        daemon.report(PROFILE, names.PROFILE_IS_FRESH, passed=False)
        daemon.ahead = timedelta(minutes=11)
        daemon.tick()
        assert [data["severity"] for data in told(server)] == ["warning", "error"]

    def test_a_dead_endpoint_is_one_ticket(self, daemon: Daemon, server: Server) -> None:
        for check in (names.ANSWERS_PROBE, names.SERVES_THE_CHAMPION):
            daemon.report(ENDPOINT, check, passed=False)
        for check in (names.PROFILE_IS_FRESH, names.PREDICTIONS_HAVE_NOT_DRIFTED):
            daemon.report(PROFILE, check, passed=False)
        daemon.tick()
        (data,) = told(server)
        assert (data["cause"], data["severity"]) == ("endpoints/local/answers_probe", "critical")
        assert len(data["followers"]) == 3

    def test_one_drift_is_one_ticket(self, daemon: Daemon, server: Server) -> None:
        for check in (names.HAS_NOT_DRIFTED, names.PREDICTIONS_HAVE_NOT_DRIFTED):
            daemon.report(PROFILE, check, passed=False)
        daemon.tick()
        (data,) = told(server)
        assert data["cause"] == "serving_profile/has_not_drifted"
        assert len(data["followers"]) == 1

    def test_a_daemon_that_starts_anew_tells_nothing_twice(
        self, daemon: Daemon, instance: dg.DagsterInstance, server: Server
    ) -> None:
        daemon.report(ENDPOINT, names.ANSWERS_PROBE, passed=False)
        daemon.run("source", "features", breaks="source")
        for _ in range(3):
            daemon.tick()
            daemon = Daemon(instance, server.url, churn())
        assert events(server) == ["opened churn#1", "opened churn#2"]

    def test_what_a_dead_receiver_missed_it_hears_later(
        self, daemon: Daemon, instance: dg.DagsterInstance, server: Server
    ) -> None:
        server.status = 503
        daemon.report(PROFILE, names.HAS_NOT_DRIFTED, passed=False)
        said = daemon.tick()
        assert "webhook $HOOK answered 503" in said
        daemon.report(PROFILE, names.HAS_NOT_DRIFTED, passed=True)
        daemon.tick()
        server.status, server.asked[:] = 0, []
        again = Daemon(instance, server.url, churn())
        again.ahead = timedelta(minutes=2)
        again.tick()
        assert events(server) == ["opened churn#1", "closed churn#1"]

    def test_a_run_that_breaks_says_where_and_a_run_that_goes_on_mends_it(
        self, daemon: Daemon, server: Server
    ) -> None:
        daemon.run("source", "features", breaks="source")
        daemon.tick()
        (data,) = told(server)
        assert (data["cause"], data["asset"]) == ("runs/retrain", "churn/source")
        assert data["words"].endswith("failed: churn/source: the file is gone")
        assert data["link"].startswith("http://dagster/runs/")
        daemon.run("features", job="other")
        daemon.tick()
        assert len(server.asked) == 1, "another job"
        daemon.run("source", "features")
        daemon.tick()
        assert events(server) == ["opened churn#1", "closed churn#1"]

    def test_a_refused_candidate_is_for_information_and_no_broken_run(
        self, daemon: Daemon, server: Server
    ) -> None:
        daemon.run("evaluation", breaks="evaluation", gate=True)
        daemon.tick()
        (data,) = told(server)
        assert (data["cause"], data["severity"]) == ("evaluation/beats_champion", "info")

    def test_a_mute_holds_until_it_ends(
        self, daemon: Daemon, instance: dg.DagsterInstance, server: Server
    ) -> None:
        shelf, now = Shelf(instance.daemon_cursor_storage), datetime.now(UTC).timestamp()
        _, _, mutes = shelf.read(["churn"])
        mute = Mute("answers_probe", now + 3600, "an upgrade", "ann", "")
        shelf.save_mutes("churn", mutes["churn"].adding(mute, now))
        daemon.report(ENDPOINT, names.ANSWERS_PROBE, passed=False)
        daemon.tick()
        assert server.asked == []
        daemon.ahead = timedelta(hours=2)
        daemon.tick()
        assert events(server) == ["opened churn#1"]

    def test_a_window_of_the_yaml_mutes_the_causes_it_names(
        self, daemon: Daemon, server: Server
    ) -> None:
        today = datetime.now(UTC)
        window = {
            "start": f"{today - timedelta(days=1):%Y-%m-%d %H:%M}",
            "end": f"{today + timedelta(days=1):%Y-%m-%d %H:%M}",
            "reason": "moving",
            "causes": ["endpoints/local"],
        }
        daemon.load(churn(mute=[window]))
        daemon.report(ENDPOINT, names.ANSWERS_PROBE, passed=False)
        daemon.run("source", breaks="source")
        daemon.tick()
        assert [data["cause"] for data in told(server)] == ["runs/retrain"]
        daemon.load(churn())
        daemon.tick()
        assert len(server.asked) == 2

    def test_a_sensor_that_fails_twice_in_a_row_concerns_everybody_once(
        self, daemon: Daemon, instance: dg.DagsterInstance, server: Server
    ) -> None:
        daemon.load(churn(), churn("sales"))
        ticked(instance, names.REGISTRY_SENSOR, [TickStatus.FAILURE])
        daemon.tick()
        assert server.asked == []
        ticked(instance, names.REGISTRY_SENSOR, [TickStatus.FAILURE])
        daemon.tick()
        ticked(instance, names.REGISTRY_SENSOR, [TickStatus.SKIPPED])
        daemon.tick()
        assert events(server) == ["opened all#1", "closed all#1"]
        assert told(server)[0]["words"] == "no route to MLflow"

    def test_one_tick_asks_equally_often_for_any_number_of_experiments(
        self, instance: dg.DagsterInstance, server: Server
    ) -> None:
        counts = []
        for number in (1, 12):
            daemon = Daemon(instance, server.url, *(churn(f"e{i}") for i in range(number)))
            daemon.tick()
            with counted() as statements:
                daemon.tick()
            counts.append(len(statements))
        assert counts[0] == counts[1]


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
