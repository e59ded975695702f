"""The sensor of retrainings on a real Dagster instance, with the events that real runs leave."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import DagsterEvent
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.training import sensors
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.training.retraining.daemon import Daemon

REFRESH = "churn__retrain(source, features, training_set)"
ALL_THE_REST = (
    "churn__retrain(tuned_hyperparameters, trained_model, evaluation, registered_version, "
    "reference_profile)"
)
FREE = {"cool_down": 0, "per_day": 100, "per_week": 100}


def churn(
    training: dict[str, Any] | None = None, name: str = "churn", **retrain: Any
) -> Experiment:
    estimator = {"estimator": "sklearn.linear_model.LogisticRegression"}
    asked = {"brakes": FREE, **({"on_drift": True} if not retrain else {}), **retrain}
    return make_experiment(name=name, training={**estimator, **(training or {}), "retrain": asked})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    """Over an experiment that was trained once, and retrains when there is drift."""
    found = Daemon(instance, churn())
    found.by_hand()
    found.outside["churn"].made.clear()
    return found


def drifted(daemon: Daemon, **metadata: Any) -> None:
    daemon.report(names.HAS_NOT_DRIFTED, passed=False, **metadata)


def test_with_nothing_new_nothing_is_asked_for(daemon: Daemon) -> None:
    daemon.report(names.HAS_NOT_DRIFTED, passed=True)
    assert daemon.go() == "nothing asks for a retraining; experiments watched: 1"


def test_drift_with_new_data_makes_exactly_one_candidate(daemon: Daemon) -> None:
    daemon.outside["churn"].data = "b"
    drifted(daemon)
    assert [daemon.go() for _ in range(2)] == [REFRESH, ALL_THE_REST]
    assert daemon.go().endswith("registered a version")
    for _ in range(5):
        drifted(daemon)
        daemon.ahead += timedelta(hours=24)
        daemon.go()
    assert daemon.outside["churn"].made.count(names.TRAINED_MODEL) == 1


def test_drift_without_new_data_is_refused_with_the_version(daemon: Daemon) -> None:
    drifted(daemon)
    assert daemon.go() == REFRESH
    said = "churn: refused: no new data: none since version 7 (digest rows-a)"
    assert daemon.go() == said
    assert f"churn: {daemon.case().said}" == said
    assert daemon.go().startswith("nothing asks")


def test_what_a_run_is_tagged_with(daemon: Daemon) -> None:
    daemon.load(churn(on_drift=True, priority=7))
    daemon.outside["churn"].data = "b"
    drifted(daemon)
    (request,) = daemon.tick().run_requests
    tags = {names.RETRAINING_TAG: "data", "dagster/priority": "7", names.EXPERIMENT_TAG: "churn"}
    assert tags.items() <= request.tags.items()
    assert "has_not_drifted failed at" in request.tags[names.BECAUSE_TAG]
    assert "3 of 9 columns drifted" in request.tags[names.BECAUSE_TAG]
    daemon.run(request)
    (request,) = daemon.tick().run_requests
    assert request.tags[names.CANDIDATE_TAG] == f"churn:rows-b:{churn().recipe()}"


def test_a_refused_candidate_is_not_tried_again(daemon: Daemon) -> None:
    outside = daemon.outside["churn"]
    outside.data, outside.refused = "b", True
    drifted(daemon)
    assert [daemon.go() for _ in range(2)] == [REFRESH, ALL_THE_REST]
    assert daemon.go().endswith("brought no version")
    daemon.ahead += timedelta(days=1)
    drifted(daemon)
    assert daemon.go() == REFRESH
    said = daemon.go()
    assert "refused: tried before: this exact data (digest rows-b)" in said
    assert "which was refused by beats_champion" in said
    assert outside.made.count(names.TRAINED_MODEL) == 1


def test_data_that_comes_back_is_not_trained_on_again(daemon: Daemon) -> None:
    outside = daemon.outside["churn"]
    for data in ("b", "a"):
        outside.data = data
        daemon.report(names.HAS_NOT_DRIFTED, passed=True)
        daemon.go()
        drifted(daemon)
        daemon.go()
        said = daemon.go()
        daemon.go()
    assert "already tried by run" in said
    assert said.endswith("which registered a version")


def test_what_broke_is_tried_again_from_where_it_broke(daemon: Daemon) -> None:
    outside = daemon.outside["churn"]
    outside.data, outside.broken = "b", names.EVALUATION
    drifted(daemon)
    assert [daemon.go() for _ in range(2)] == [REFRESH, ALL_THE_REST]
    outside.broken = ""
    daemon.go()
    daemon.ahead += timedelta(days=1)
    drifted(daemon)
    assert [daemon.go() for _ in range(2)] == [
        REFRESH,
        "churn__retrain(evaluation, registered_version, reference_profile)",
    ]


def test_only_what_the_yaml_changed_is_made_anew(daemon: Daemon) -> None:
    daemon.load(churn(training={"bootstrap": 333}, on_drift=True))
    drifted(daemon)
    assert daemon.go() == REFRESH
    assert daemon.go() == "churn__retrain(evaluation, registered_version, reference_profile)"
    assert "tuned_hyperparameters" not in daemon.outside["churn"].made


def test_a_model_that_somebody_else_registered_is_none_of_ours(daemon: Daemon) -> None:
    daemon.outside["churn"].data = "b"
    daemon.by_hand("churn", names.SOURCE, names.FEATURES, names.TRAINING_SET)
    key = names.asset_key("churn", names.TRAINED_MODEL)
    tags = {names.ADOPTS_TAG: "9"}
    daemon.instance.report_runless_asset_event(dg.AssetMaterialization(key, tags=tags))
    drifted(daemon)
    daemon.go()
    assert "trained_model" in daemon.go()


def test_quality_loss_asks_by_the_name_of_its_check(daemon: Daemon) -> None:
    daemon.load(churn(on_quality_loss=True))
    drifted(daemon)
    assert daemon.go().startswith("nothing asks")
    daemon.report(names.QUALITY_HOLDS, passed=False, version=7)
    assert daemon.go() == REFRESH
    assert [*daemon.case().asked] == ["quality"]


def test_another_version_that_drifts_is_another_drift(daemon: Daemon) -> None:
    drifted(daemon, version=7)
    assert daemon.go() == REFRESH
    assert "no new data" in daemon.go()
    drifted(daemon, version=7)
    assert daemon.go().startswith("nothing asks")
    drifted(daemon, version=8)
    assert daemon.go() == REFRESH


@pytest.mark.parametrize(("more", "starts"), [(49, False), (50, True)])
def test_labels_are_counted_since_the_last_training(
    daemon: Daemon, more: int, *, starts: bool
) -> None:
    daemon.load(churn(new_labels=50, look="0 * * * *"))
    daemon.tick()
    daemon.outside["churn"].data, daemon.outside["churn"].labels = "b", 100 + more
    daemon.ahead += timedelta(hours=1)
    assert daemon.go() == REFRESH
    said = daemon.go()
    assert (said == ALL_THE_REST) == starts
    assert starts or said == (
        "churn: refused: too few labels: 49 since the last training, 50 needed"
    )


def test_a_week_without_a_daemon_is_one_retraining(daemon: Daemon) -> None:
    daemon.load(churn(cron="0 3 * * *", timezone="Europe/Berlin"))
    assert daemon.go().startswith("nothing asks")
    daemon.ahead += timedelta(days=7)
    daemon.outside["churn"].data = "b"
    assert [daemon.go() for _ in range(2)] == [REFRESH, ALL_THE_REST]
    daemon.go()
    assert daemon.go().startswith("nothing asks")


def test_a_person_who_trains_is_never_held_back_and_is_waited_for(daemon: Daemon) -> None:
    daemon.load(churn(on_drift=True, brakes={"cool_down": 5}))
    drifted(daemon)
    assert "held back by cool-down: 5 hours after the last retraining, until" in daemon.go()
    run_id = daemon.by_hand()
    assert daemon.instance.get_run_by_id(run_id).is_success  # type: ignore[union-attr]
    daemon.report(names.HAS_NOT_DRIFTED, passed=False)
    daemon.ahead += timedelta(hours=4.9)
    assert "held back by cool-down" in daemon.go()
    daemon.ahead += timedelta(hours=0.2)
    assert daemon.go() == REFRESH


def test_a_run_under_way_is_waited_for(daemon: Daemon) -> None:
    drifted(daemon)
    job = daemon.definitions.resolve_job_def("churn__retrain")
    run = daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    said = f"churn: held back by one at a time: run {run.run_id} is under way or waits in the queue"
    assert daemon.go() == said
    daemon.instance.report_run_canceled(run)
    assert daemon.go() == REFRESH


def test_the_circuit_opens_and_a_person_closes_it(daemon: Daemon) -> None:
    daemon.load(churn(on_drift=True, look="0 * * * *", brakes={**FREE, "failed_candidates": 2}))
    outside = daemon.outside["churn"]
    outside.refused = True
    for data in ("b", "c"):
        outside.data = data
        drifted(daemon)
        assert [daemon.go() for _ in range(2)] == [REFRESH, ALL_THE_REST]
        daemon.go()
        daemon.ahead += timedelta(hours=1)
    outside.data = "d"
    drifted(daemon)
    said = daemon.go()
    assert "circuit breaker: 2 retrainings in a row brought no version, the last was run" in said
    outside.refused = False
    daemon.by_hand()
    outside.data = "e"
    assert [daemon.go() for _ in range(2)] == [REFRESH, ALL_THE_REST]


def test_a_check_that_is_being_evaluated_says_nothing_yet(daemon: Daemon) -> None:
    key = names.asset_key("churn", names.SERVING_PROFILE)
    planned = dg.AssetCheckKey(key, names.HAS_NOT_DRIFTED)
    store = daemon.instance.event_log_storage
    job = daemon.definitions.resolve_job_def("churn__retrain")
    run = daemon.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    data = AssetCheckEvaluationPlanned(asset_key=key, check_name=names.HAS_NOT_DRIFTED)
    said = DagsterEvent(
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value,
        job.name,
        event_specific_data=data,
    )
    daemon.instance.report_dagster_event(said, run.run_id)
    assert planned in store.get_latest_asset_check_execution_by_key([planned])
    assert daemon.go().startswith("nothing asks")


def test_a_restart_and_a_lost_cursor_repeat_no_training(daemon: Daemon) -> None:
    daemon.outside["churn"].data = "b"
    drifted(daemon)
    assert daemon.go() == REFRESH
    daemon.load(churn())
    assert daemon.go() == ALL_THE_REST
    daemon.cursor = None
    drifted(daemon)
    assert daemon.go() == REFRESH
    assert "no new data" in daemon.go()


def test_the_greater_priority_goes_first_and_the_text_is_bounded(
    instance: dg.DagsterInstance,
) -> None:
    several = [churn(name=f"e{i:02}", on_drift=True, priority=i % 3) for i in range(25)]
    daemon = Daemon(instance, *several)
    for each in several:
        daemon.report(names.HAS_NOT_DRIFTED, passed=False, name=each.name)
    first = [request.job_name for request in daemon.tick().run_requests]
    assert len(first) == 20
    assert first[:8] == [f"e{i:02}__retrain" for i in range(25) if i % 3 == 2]
    assert len(daemon.tick().run_requests) == 5
    lines = daemon.tick().skip_message.splitlines()
    assert len(lines) == sensors.MOST_TOLD + 1
    assert lines[-1] == "and 5 more"


def test_of_many_refusals_each_is_told_in_some_tick(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "MOST_TOLD", 2)
    refused = [churn(name=f"r{i}") for i in range(5)]
    held = [churn(name=f"a{i}", on_drift=True, brakes={"cool_down": 9}) for i in range(3)]
    daemon = Daemon(instance, *refused, *held)
    for each in [*refused, *held]:
        daemon.by_hand(each.name)
        daemon.report(names.HAS_NOT_DRIFTED, passed=False, name=each.name)
    for request in daemon.tick().run_requests:
        daemon.run(request)
    told = [str(daemon.tick().skip_message) for _ in range(4)]
    assert [len(each.splitlines()) for each in told] == [3, 3, 3, 3]
    for each in refused:
        assert f"{each.name}: refused: no new data" in "\n".join(told)
        assert daemon.case(each.name).said.startswith("refused: no new data")
    for each in held:
        assert f"{each.name}: held back by cool-down" in "\n".join(told)


def test_checks_are_read_in_turn(instance: dg.DagsterInstance) -> None:
    """In one tick those of the first ones, in the next one those of the last."""
    many = [
        churn(name=f"e{i:03}", on_drift=True, brakes={"cool_down": 9})
        for i in range(sensors.MOST_CHECKED + 3)
    ]
    (sensor,) = sensors.build(many, [], {}).sensors or ()
    last = many[-1].name
    key = names.asset_key(last, names.REGISTERED_VERSION)
    instance.report_runless_asset_event(dg.AssetMaterialization(key))
    Daemon(instance, churn()).report(names.HAS_NOT_DRIFTED, passed=False, name=last)
    said, cursor = [], None
    for _ in range(2):
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        data = sensor.evaluate_tick(context)  # type: ignore[union-attr]
        said.append(str(data.skip_message))
        cursor = data.cursor
    assert said[0] == f"nothing asks for a retraining; experiments watched: {len(many)}"
    assert said[1].startswith(f"{last}: held back by cool-down")


@pytest.mark.parametrize("count", [1, 60])
def test_a_tick_with_nothing_new_asks_dagster_once(
    instance: dg.DagsterInstance, count: int
) -> None:
    many = [churn(name=f"e{i:03}", cron="0 3 * * *", on_drift=True) for i in range(count)]
    (sensor,) = sensors.build(many, [], {}).sensors or ()
    Daemon(instance, churn()).report(names.HAS_NOT_DRIFTED, passed=True, name=many[0].name)
    asked: list[str] = []

    def listen(*said: Any) -> None:
        asked.append(str(said[2]))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        sensor.evaluate_tick(dg.build_sensor_context(instance=instance))  # type: ignore[union-attr]
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert len([each for each in asked if each.startswith("SELECT")]) == 1


def test_without_retraining_there_is_no_sensor() -> None:
    assert sensors.build([make_experiment()], [], {}).sensors is None
