"""One tick for many experiments, on a real Dagster instance over a real MLflow store."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets import resources, settings
from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import record_json
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import Endpoint
from mlops_assets.graph import build_all
from mlops_assets.monitoring import schedules
from mlops_assets_tests.builders import make_bundle, make_experiment

CHURN = make_experiment()
CREDIT = make_experiment(name="credit")
SALES = make_experiment(name="sales", monitoring={"window": "week"})
ENDED = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
"""When a tick takes place: just after the end of an hour."""
CHECKS = {
    names.PROFILE_IS_FRESH,
    names.DATA_QUALITY_HOLDS,
    names.HAS_NOT_DRIFTED,
    names.PREDICTIONS_HAVE_NOT_DRIFTED,
    names.ANSWERS_PROBE,
    names.SERVES_THE_CHAMPION,
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def loaded(tmp_path: Path, model_registry: ModelRegistry) -> dg.Definitions:
    """Three experiments, all deployed; only the version of churn is known to the registry."""
    home = {"MLOPS_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": model_registry.tracking_uri}
    built = resources.build(settings.load(home))
    for experiment in (CHURN, CREDIT, SALES):
        deployed(experiment, built["data_store"])
    bundle = make_bundle(tmp_path / "bundle").folder
    uri = {"mlops.bundle_uri": str(bundle)}
    model_registry.register("churn", source="runs:/r/model", run_id="", tags=uri)
    shared = dg.Definitions(resources=built, executor=dg.in_process_executor)
    return build_all([CHURN, CREDIT, SALES], shared)


def deployed(experiment: Experiment, store: DataStore) -> None:
    """What the endpoint's asset leaves behind; nobody listens at the address."""
    record = Endpoint(
        experiment=experiment.name,
        target="local",
        url="http://127.0.0.1:9",
        version=1,
        bundle_digest="d",
        since=datetime.now(UTC).isoformat(),
        previous_version=None,
    )
    path = f"records/{experiment.name}/endpoints/local/latest.json"
    store.write_bytes(path, record_json.to_json(record).encode())


def tick(
    loaded: dg.Definitions, instance: dg.DagsterInstance, window: str, *, at: datetime
) -> list[dg.RunRequest]:
    schedule = loaded.get_repository_def().get_schedule_def(names.monitor_schedule(window))
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
    return list(schedule.evaluate_tick(context).run_requests or ())


def launch(
    loaded: dg.Definitions, instance: dg.DagsterInstance, window: str, request: dg.RunRequest
) -> dg.ExecuteInProcessResult:
    """The run a request asks for, of the part of the job it names, as the daemon makes it."""
    part = loaded.resolve_job_def(names.monitor_job(window)).get_subset(
        asset_selection=frozenset(request.asset_selection or ()),
        asset_check_selection=frozenset(request.asset_check_keys or ()),
    )
    return part.execute_in_process(
        instance=instance, tags={**request.tags}, raise_on_error=False, run_config={}
    )


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    found = [event.asset_key for event in result.get_asset_materialization_events()]
    return {key.to_user_string() for key in found if key is not None}


def judged(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{check.asset_key.path[0]} {check.check_name}": check.passed
        for check in result.get_asset_check_evaluations()
    }


def test_each_experiment_gets_a_run_that_touches_nothing_of_the_others(
    loaded: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    requests = tick(loaded, instance, "hour", at=ENDED)
    results = {
        request.tags[names.EXPERIMENT_TAG]: launch(loaded, instance, "hour", request)
        for request in requests
    }
    assert [made(result) for result in results.values()] == [
        {f"{name}/{asset}" for asset in (names.SERVING_PROFILE, names.MONITORING_REPORT)}
        for name in ("churn", "credit")
    ]
    assert set(judged(results["churn"])) == {f"churn {name}" for name in CHECKS}
    assert not judged(results["churn"])["churn answers_probe"]
    runs = instance.get_runs(dg.RunsFilter(tags={names.EXPERIMENT_TAG: "churn"}))
    assert [run.run_id for run in runs] == [results["churn"].run_id]


def test_an_experiment_that_cannot_be_judged_fails_alone(
    loaded: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    """The registry knows no version of credit, whose probe therefore ends in an error."""
    churn, credit = tick(loaded, instance, "hour", at=ENDED)
    assert not launch(loaded, instance, "hour", credit).success
    assert launch(loaded, instance, "hour", churn).success


def test_only_experiments_with_such_windows_are_asked_for(
    loaded: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    (request,) = tick(loaded, instance, "week", at=ENDED)
    assert request.tags[names.EXPERIMENT_TAG] == "sales"
    assert made(launch(loaded, instance, "week", request)) == {
        "sales/serving_profile",
        "sales/monitoring_report",
    }


def test_a_tick_repeats_its_keys_and_the_next_one_has_others(
    loaded: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    keys = [request.run_key for request in tick(loaded, instance, "hour", at=ENDED)]
    assert len(set(keys)) == 2
    assert [r.run_key for r in tick(loaded, instance, "hour", at=ENDED)] == keys
    later = tick(loaded, instance, "hour", at=ENDED + timedelta(hours=1))
    assert not {request.run_key for request in later} & set(keys)


def test_without_experiments_there_is_no_schedule() -> None:
    assert not schedules.build([]).schedules
