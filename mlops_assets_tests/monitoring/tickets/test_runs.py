"""Runs on the stores of a real instance, many of which changed at once: each is looked at."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.runs.schema import RunsTable

from mlops_assets import vocabulary as names
from mlops_assets.monitoring.resources import OVERLAP_S, Reached
from mlops_assets.monitoring.tickets import resources
from mlops_assets.monitoring.tickets.book import Book
from mlops_assets.monitoring.tickets.findings import Finding

THEN = datetime.now(UTC).replace(microsecond=123456) - timedelta(minutes=10)
FAILED, SUCCEEDED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
BOOKS = {"churn": Book()}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def runs(instance: dg.DagsterInstance, count: int, status: dg.DagsterRunStatus) -> None:
    """Runs of the experiment that left no events, as those that a check ended leave none that
    count."""
    for _ in range(count):
        tags = {names.EXPERIMENT_TAG: "churn"}
        run = dg.DagsterRun(job_name="churn__other", status=status, tags=tags)
        instance.run_storage.add_run(run)


def broken(instance: dg.DagsterInstance, job: str) -> None:
    """A run that really fails."""

    @dg.op(name=job)
    def failing() -> None:
        raise dg.Failure("the file is gone", allow_retries=False)

    @dg.job(name=f"churn__{job}", tags={names.EXPERIMENT_TAG: "churn"})
    def made() -> None:
        failing()

    made.execute_in_process(instance=instance, raise_on_error=False)


def at_once(instance: dg.DagsterInstance, when: datetime = THEN) -> None:
    """Every run changed at that time."""
    with instance.run_storage.connect() as connection:
        moment = when.replace(tzinfo=None)
        connection.execute(RunsTable.update().values(update_timestamp=moment))


def looks(instance: dg.DagsterInstance) -> Iterator[tuple[resources.Found, Reached]]:
    """One tick after the other."""
    reached, now = Reached(0.0), datetime.now(UTC).timestamp()
    while True:
        found, reached = resources.of_runs(instance, BOOKS, {}, reached=reached, now=now)
        yield found, reached


def causes(found: resources.Found) -> set[str]:
    return {c for c, each in found.get("churn", {}).items() if isinstance(each, Finding)}


def test_of_runs_that_changed_at_once_each_is_looked_at(instance: dg.DagsterInstance) -> None:
    """More than twice as many as one tick looks at; those that matter come first and last."""
    broken(instance, "retrain")
    runs(instance, 2 * resources.MOST_RUNS + 50, SUCCEEDED)
    broken(instance, "deploy")
    at_once(instance)
    ticks = [*itertools.islice(looks(instance), 3)]
    assert set[str]().union(*(causes(found) for found, _ in ticks)) == {
        "runs/retrain",
        "runs/deploy",
    }
    # The third was the last: the next one goes on a minute before that.
    _, reached = ticks[-1]
    assert reached.at > THEN.timestamp() + OVERLAP_S
    assert reached.runs == ()


def test_failures_without_a_cause_hold_nobody_up(instance: dg.DagsterInstance) -> None:
    """More of them, all at once, than one tick reads the events of."""
    runs(instance, 3 * resources.MOST_FAILURES, FAILED)
    broken(instance, "deploy")
    at_once(instance)
    seen = [causes(found) for found, _ in itertools.islice(looks(instance), 4)]
    assert set[str]().union(*seen) == {"runs/deploy"}


def test_the_end_of_one_tick_is_where_the_next_goes_on(instance: dg.DagsterInstance) -> None:
    """However many share a time, nothing is looked at twice while there is more to come."""
    runs(instance, 2 * resources.MOST_RUNS, SUCCEEDED)
    at_once(instance)
    runs(instance, 5, SUCCEEDED)
    first, second = (reached for _, reached in itertools.islice(looks(instance), 2))
    assert first.at == second.at == THEN.timestamp()
    assert len(set(first.runs)) == resources.MOST_RUNS
    assert len(set(second.runs)) == 2 * resources.MOST_RUNS
