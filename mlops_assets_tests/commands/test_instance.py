"""The project's Dagster instance: where it is, what it forgets, and who may run."""

import threading

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.commands import instance as instances
from mlops_assets.commands.instance import STARTED_BY, STARTED_BY_TAG
from mlops_assets_tests.commands.project import Project


@pytest.fixture
def settings(tmp_path):
    return Project(tmp_path).settings


def test_looking_makes_nothing(settings):
    assert instances.existing_instance(settings) is None
    assert not instances.is_claimed(settings, "churn")
    assert list(settings.root.iterdir()) == []


def test_the_instance_is_made_once_without_telemetry(settings):
    with instances.open_instance(settings) as instance:
        assert not instance.telemetry_enabled
        assert instance.is_persistent
    with instances.existing_instance(settings) as found:
        assert found.root_directory == str(settings.dagster_home)


def test_the_instance_follows_the_dagster_yaml_of_the_project(settings):
    text = "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n"
    (settings.root / "dagster.yaml").write_text(text)
    with instances.open_instance(settings):
        link = settings.dagster_home / "dagster.yaml"
    assert link.is_symlink()
    assert link.read_text() == text


def test_a_killed_run_is_written_off_and_gives_its_pools_back(settings):
    tags = {names.EXPERIMENT_TAG: "churn"}

    @dg.op(pool="tune_churn")
    def tune() -> None: ...

    @dg.job
    def retrain() -> None:
        tune()

    (settings.root / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1, granularity: op}}\n"
    )
    with instances.open_instance(settings) as instance:
        storage = instance.event_log_storage
        ours = instance.create_run_for_job(retrain, tags={**tags, STARTED_BY_TAG: STARTED_BY})
        others = instance.create_run_for_job(retrain, tags=tags)
        for run in (ours, others):
            instance.report_dagster_event(
                dg.DagsterEvent("PIPELINE_START", retrain.name), run_id=run.run_id
            )
        storage.initialize_concurrency_limit_to_default("tune_churn")
        assert storage.claim_concurrency_slot("tune_churn", ours.run_id, "tune").is_claimed
        instances.bury_the_dead(instance, "other")
        assert instance.get_run_by_id(ours.run_id).status is dg.DagsterRunStatus.STARTED
        instances.bury_the_dead(instance, "churn")
        assert instance.get_run_by_id(ours.run_id).status is dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(others.run_id).status is dg.DagsterRunStatus.STARTED
        assert storage.claim_concurrency_slot("tune_churn", "next", "tune").is_claimed


def test_one_run_at_a_time_per_experiment(settings):
    with instances.claimed(settings, "churn"):
        assert instances.is_claimed(settings, "churn")
        with pytest.raises(instances.BusyError, match="churn is being run by process"):
            instances.claimed(settings, "churn").__enter__()
        with instances.claimed(settings, "other"):
            pass
    assert not instances.is_claimed(settings, "churn")


def test_whoever_has_patience_is_next(settings):
    waits, told = threading.Event(), []

    def next_one():
        waits.set()
        with instances.claimed(settings, "churn", patience=60):
            told.append(list(told))

    thread = threading.Thread(target=next_one)
    with instances.claimed(settings, "churn"):
        thread.start()
        assert waits.wait(20)
        with pytest.raises(instances.BusyError, match="churn is being run by process"):
            instances.claimed(settings, "churn", patience=0.6).__enter__()
        told.append("the first one ends")
    thread.join(60)
    assert told == ["the first one ends", ["the first one ends"]]
    assert not instances.is_claimed(settings, "churn")
