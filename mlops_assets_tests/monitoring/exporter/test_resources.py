"""What is read of a real instance of Dagster."""

import functools
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.graph import build_experiment
from mlops_assets.monitoring.exporter.facts import Facts
from mlops_assets.monitoring.exporter.resources import DAY_S, Platform
from mlops_assets.monitoring.tickets.book import Book, Ticket
from mlops_assets.monitoring.tickets.findings import Finding
from mlops_assets.monitoring.tickets.shelf import Desk, Shelf
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.monitoring.statements import counted

ENDPOINT = names.endpoint_key("churn", "local")
PROFILE = names.asset_key("churn", names.SERVING_PROFILE)
LIVE = {"state": "live", "version": 7}


@functools.cache
def parts(name: str) -> list[Any]:
    part = build_experiment(make_experiment(name=name))
    return [*(part.assets or ()), *(part.asset_checks or ())]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def platform() -> Platform:
    return Platform({"churn": parts("churn")})


def evaluate(instance: dg.DagsterInstance, *, passed: bool, **metadata: Any) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=PROFILE, check_name=names.HAS_NOT_DRIFTED, passed=passed, metadata=metadata
        )
    )


def deploy(instance: dg.DagsterInstance, **said: Any) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(ENDPOINT, metadata=said))


def look(platform: Platform, instance: dg.DagsterInstance, ahead: float = 0.0) -> Facts:
    return platform.look(instance, time.time() + ahead)


def run(instance: dg.DagsterInstance, job: str, *, breaks: bool = False) -> None:
    @dg.op
    def work() -> None:
        if breaks:
            raise dg.Failure("no", allow_retries=False)

    @dg.job(name=job, tags={names.EXPERIMENT_TAG: "churn"})
    def made() -> None:
        work()

    made.execute_in_process(instance=instance, raise_on_error=False)


def begin(instance: dg.DagsterInstance, job: str) -> str:
    """A run that has started, and does not end."""

    @dg.job(name=job, tags={names.EXPERIMENT_TAG: "churn"})
    def made() -> None: ...

    started = dg.DagsterRunStatus.STARTED
    return instance.create_run_for_job(made, status=started, tags=made.tags).run_id


def test_of_nothing_that_ran_nothing_is_told(platform, instance) -> None:
    assert look(platform, instance) == Facts(("churn",))


def test_the_newest_verdict_with_its_numbers(platform, instance) -> None:
    evaluate(instance, passed=True, value=0.1, threshold=0.15)
    evaluate(instance, passed=False, value=0.31, threshold="none", version=7)
    (said,) = look(platform, instance).checks
    assert (said.asset, said.check, said.severity) == (
        "serving_profile", "has_not_drifted", "warning",
    )  # fmt: skip
    assert (said.passed, said.value, said.threshold) == (False, 0.31, None)


def test_a_verdict_holds_while_the_check_is_evaluated_again(platform, instance) -> None:
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationPlanned,
    )
    from dagster._core.events import DagsterEvent

    evaluate(instance, passed=False)
    before = look(platform, instance).checks
    run_id = begin(instance, "any")
    planned = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value,
        job_name="any",
        message="planned",
        event_specific_data=AssetCheckEvaluationPlanned(
            asset_key=PROFILE, check_name=names.HAS_NOT_DRIFTED
        ),
    )
    instance.report_dagster_event(planned, run_id)
    assert look(platform, instance).checks == before
    evaluate(instance, passed=True)
    (after,) = look(platform, instance).checks
    assert after.passed


def test_a_check_that_the_yaml_has_no_more_is_not_told(platform, instance) -> None:
    evaluate(instance, passed=False)
    assert look(Platform({"sales": parts("sales")}), instance).checks == ()


def test_an_endpoint_is_expected_from_its_deployment_until_it_is_stopped(
    platform, instance
) -> None:
    deploy(instance, **LIVE)
    (one,) = look(platform, instance).endpoints
    assert (one.target, one.version, one.expected) == ("local", 7, True)
    since = "2026-05-03T00:00:00+00:00"
    stopped = {"state": "stopped", "since": since, names.STOPPED_BY: "ada"}
    deploy(instance, **{**LIVE, **stopped})
    (told,) = look(platform, instance).endpoints
    began = datetime.fromisoformat(since).timestamp()
    assert (told.version, told.since, told.expected) == (7, began, False)
    deploy(instance, **LIVE)
    assert [each.expected for each in look(platform, instance).endpoints] == [True]


def test_a_materialization_that_says_nothing_is_no_deployment(platform, instance) -> None:
    deploy(instance)
    facts = look(platform, instance)
    assert facts.endpoints == ()
    (made,) = facts.assets
    assert (made.asset, made.fresh_s) == ("endpoints/local", 90 * DAY_S)


def test_runs_are_told_by_result_for_a_day(platform, instance) -> None:
    run(instance, "churn__retrain")
    run(instance, "churn__deploy", breaks=True)
    run(instance, "somebody_elses")
    assert {(each.job, each.result) for each in look(platform, instance).ended} == {
        ("retrain", "success"),
        ("deploy", "failure"),
    }
    run(instance, "churn__deploy")
    ended = look(platform, instance).ended
    assert [each.result for each in ended if each.job == "deploy"] == ["failure", "success"]
    assert look(platform, instance, ahead=DAY_S + 1).ended == ()


def test_the_oldest_run_that_has_not_ended(platform, instance) -> None:
    begin(instance, "somebody_elses")
    assert look(platform, instance).unfinished == {}
    first, _ = (begin(instance, "churn__retrain") for _ in range(2))
    record = instance.get_run_record_by_id(first)
    found = look(platform, instance).unfinished
    assert found == {("churn", "retrain"): pytest.approx(record.create_timestamp.timestamp())}
    instance.report_run_canceled(record.dagster_run)
    assert look(platform, instance).unfinished[("churn", "retrain")] >= found["churn", "retrain"]
    assert [each.result for each in look(platform, instance).ended] == ["canceled"]


def test_open_tickets_are_counted_by_severity(platform, instance) -> None:
    def ticket(number: int, cause: str, closed: float = 0.0) -> Ticket:
        finding = Finding(cause, "warning", "drifted", 1.0, 1.0)
        return Ticket(number, 1.0, finding, 1.0, closed=closed)

    shelf = Shelf(instance.daemon_cursor_storage)
    tickets = {"a": ticket(1, "a"), "b": ticket(2, "b"), "c": ticket(3, "c", closed=5.0)}
    shelf.save("churn", Book(tickets=tickets))
    shelf.save_desk(Desk(looked=77.0))
    facts = look(platform, instance)
    assert facts.tickets == {("churn", "warning"): 2}
    assert facts.tickets_looked == 77.0


def test_one_look_asks_equally_often_for_any_number_of_experiments(instance) -> None:
    asked = []
    for number in (1, 4):
        platform = Platform({name: parts(name) for name in (f"e{i}" for i in range(number))})
        with counted() as statements:
            look(platform, instance)
        asked.append(len(statements))
    assert asked[0] == asked[1]
