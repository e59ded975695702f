"""The registry sensor on a real Dagster instance over a real MLflow store."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

from mlops_assets import vocabulary as names
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.registry import sensors
from mlops_assets_tests.registry.daemon import BUNDLE, CHURN, Daemon, endpoint_key, version_in


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def daemon(model_registry: ModelRegistry, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(model_registry, instance)


@pytest.fixture
def versions(model_registry: ModelRegistry) -> ModelRegistry:
    """Three versions of churn, none of them champion."""
    for _ in range(3):
        model_registry.register("churn", source="runs:/r/model", run_id="", tags=BUNDLE)
    return model_registry


def test_without_a_champion_nothing_is_asked_for(daemon: Daemon, versions: ModelRegistry) -> None:
    data = daemon.tick()
    assert data.run_requests == []
    assert data.skip_message == "champions are as deployed: none yet"


def test_the_first_champion_is_deployed_once(daemon: Daemon, versions: ModelRegistry) -> None:
    versions.set_alias("churn", CHAMPION, 1)
    assert daemon.asked() == [("churn__deploy", 1)]
    data = daemon.tick()
    assert data.run_requests == []
    assert data.skip_message == "champions are as deployed: churn 1"


def test_the_runs_it_asks_for_are_valid(daemon: Daemon, versions: ModelRegistry) -> None:
    versions.set_alias("churn", CHAMPION, 2)
    (request,) = daemon.tick().run_requests
    job = daemon.definitions.resolve_job_def(request.job_name)
    assert dg.validate_run_config(job, request.run_config)


def test_an_alias_moved_by_a_person_is_deployed(daemon: Daemon, versions: ModelRegistry) -> None:
    versions.set_alias("churn", CHAMPION, 1)
    daemon.tick()
    daemon.live(1)
    person = MlflowClient(versions.tracking_uri, versions.tracking_uri)
    person.set_registered_model_alias("churn", "champion", "3")
    assert daemon.asked() == [("churn__deploy", 3)]
    daemon.live(3)
    person.set_registered_model_alias("churn", "champion", "1")  # a rollback
    assert daemon.asked() == [("churn__deploy", 1)]
    assert daemon.asked() == []


def test_a_move_by_hand_is_told_on_the_page_of_the_version(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    champions.crown(versions, "churn", 1, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert daemon.tick().asset_events == []
    versions.set_alias("churn", CHAMPION, 3)
    data = daemon.tick()
    (event,) = data.asset_events
    assert event.asset_key == names.asset_key("churn", names.REGISTERED_VERSION)
    assert "the alias champion was moved here by hand from version 1" in event.description
    assert [version_in(request) for request in data.run_requests] == [3]
    assert daemon.tick().asset_events == []


def test_a_refused_approval_is_told_on_the_tick_and_a_decision_is_deployed(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    waiting = Decision("waiting", "passed", THE_GATES, "2026-01-01T00:00:00+00:00", "r")
    card = {"mlops.author": "bob", **waiting.tags()}
    versions.tag_version("churn", 2, card)
    versions.tag_version("churn", 2, {"mlops.approved_by": "ann", "mlops.approve": "good"})
    data = daemon.tick()
    assert "lacks registry.card.intended_use, registry.card.limitations" in data.skip_message
    (event,) = data.asset_events
    assert event.asset_key == names.asset_key("churn", names.REGISTERED_VERSION)
    assert event.metadata["decided"].value.startswith("version 2: refused: ")
    approved = Decision("promoted", "good", "ann", "2026-01-01T00:00:00+00:00", "")
    versions.tag_version("churn", 2, approved.tags())
    champions.crown(versions, "churn", 2, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert daemon.asked() == [("churn__deploy", 2)]


def test_there_and_back_again_have_keys_of_their_own(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    keys = []
    for version in (1, 2, 1):
        versions.set_alias("churn", CHAMPION, version)
        keys += [request.run_key for request in daemon.tick().run_requests]
        daemon.live(version)
    assert len(set(keys)) == 3


def test_two_events_at_the_same_moment_are_two(daemon: Daemon, versions: ModelRegistry) -> None:
    versions.register("credit_scores", source="runs:/r/model", run_id="", tags=BUNDLE)
    versions.set_alias("churn", CHAMPION, 1)
    versions.set_alias("credit_scores", CHAMPION, 1)
    requests = daemon.tick().run_requests
    assert [request.job_name for request in requests] == ["churn__deploy", "credit__deploy"]
    assert len({request.run_key for request in requests}) == 2


def test_a_version_that_is_deleted_while_its_deployment_waits(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    """The run that waits finds no champion, and nothing is asked for until there is one."""
    versions.set_alias("churn", CHAMPION, 2)
    (waiting,) = daemon.tick().run_requests
    versions.client.delete_model_version("churn", "2")
    assert champions.current(versions, "churn", by_hand="report") is None
    assert daemon.asked() == []
    versions.set_alias("churn", CHAMPION, 1)
    (request,) = daemon.tick().run_requests
    assert request.run_key != waiting.run_key


def test_a_restarted_daemon_goes_on_where_it_was(daemon: Daemon, versions: ModelRegistry) -> None:
    versions.set_alias("churn", CHAMPION, 1)
    first = daemon.tick().run_requests[0].run_key
    registry = ModelRegistry(versions.tracking_uri, "", "")
    restarted = Daemon(registry, daemon.instance)
    restarted.cursor = daemon.cursor
    assert restarted.asked() == []
    versions.set_alias("churn", CHAMPION, 2)
    (request,) = restarted.tick().run_requests
    assert request.run_key != first


def test_a_lost_cursor_does_not_deploy_again_what_is_live(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    versions.set_alias("churn", CHAMPION, 2)
    daemon.tick()
    daemon.live(2)
    daemon.cursor = None
    assert daemon.asked() == []


def test_a_lost_cursor_repeats_no_key(daemon: Daemon, versions: ModelRegistry) -> None:
    keys = set()
    for version in (1, 3, 2):
        versions.set_alias("churn", CHAMPION, version)
        keys |= {request.run_key for request in daemon.tick().run_requests}
        daemon.live(version)
    daemon.cursor = None
    daemon.tick()
    versions.set_alias("churn", CHAMPION, 3)
    (request,) = daemon.tick().run_requests
    assert request.run_key not in keys


def test_what_a_run_under_way_may_change_is_not_trusted(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    """Back to the live version while the next one is still being deployed."""
    versions.set_alias("churn", CHAMPION, 1)
    daemon.tick()
    daemon.live(1)
    versions.set_alias("churn", CHAMPION, 2)
    (request,) = daemon.tick().run_requests
    job = daemon.definitions.resolve_job_def(request.job_name)
    daemon.instance.create_run_for_job(
        job, run_config=request.run_config, status=dg.DagsterRunStatus.STARTED
    )
    versions.set_alias("churn", CHAMPION, 1)
    assert daemon.asked() == [("churn__deploy", 1)]


@pytest.mark.parametrize(
    "said", [{"version": 2, "state": "stopped"}, {"version": 2, "state": "failed"}, {}]
)
def test_an_endpoint_that_does_not_serve_the_champion_gets_it(
    daemon: Daemon, versions: ModelRegistry, said: dict[str, Any]
) -> None:
    versions.set_alias("churn", CHAMPION, 2)
    daemon.report(endpoint_key(CHURN), said)
    assert daemon.asked() == [("churn__deploy", 2)]


def test_what_was_stopped_by_hand_stays_so_until_there_is_another_champion(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    versions.set_alias("churn", CHAMPION, 2)
    said = {"version": 2, "state": "stopped", names.STOPPED_BY: "ada"}
    daemon.report(endpoint_key(CHURN), said)
    assert daemon.asked() == []
    versions.set_alias("churn", CHAMPION, 1)
    assert daemon.asked() == [("churn__deploy", 1)]


def test_a_stop_of_another_version_than_the_champion_is_no_deployment_of_it(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    """The champion was refused by its endpoint, which went on with the version before."""
    daemon.live(1)
    versions.set_alias("churn", CHAMPION, 2)
    assert daemon.asked() == [("churn__deploy", 2)]
    said = {"version": 1, "state": "stopped", names.STOPPED_BY: "ada"}
    daemon.report(endpoint_key(CHURN), said)
    assert daemon.asked() == []


def test_what_is_deployed_while_nothing_else_happens_is_seen(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    versions.set_alias("churn", CHAMPION, 1)
    daemon.live(1)
    for settled in (False, True, True):
        assert daemon.asked() == []
        assert json.loads(daemon.cursor or "")["read"]["settled"] == settled
    daemon.live(2)
    assert daemon.asked() == [("churn__deploy", 1)]


def test_each_experiment_follows_its_own_registered_model(
    daemon: Daemon, versions: ModelRegistry
) -> None:
    for name in ("credit_scores", "credit", "somebody_elses"):
        versions.register(name, source="runs:/r/model", run_id="", tags=BUNDLE)
        versions.set_alias(name, CHAMPION, 1)
    assert daemon.asked() == [("credit__deploy", 1)]
    versions.set_alias("churn", CHAMPION, 3)
    assert daemon.asked() == [("churn__deploy", 3)]


def test_a_registry_that_does_not_answer_is_a_reason_to_skip(
    instance: dg.DagsterInstance,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    daemon = Daemon(ModelRegistry(f"http://127.0.0.1:{port}", "", ""), instance)
    cursor = '{"arrivals": {}, "champions": {"churn": {"changes": 4, "version": 1}}}'
    daemon.cursor = cursor
    data = daemon.tick()
    assert data.run_requests == []
    assert f"MLflow does not answer at http://127.0.0.1:{port}" in data.skip_message
    assert daemon.cursor == cursor


def test_without_experiments_there_is_no_sensor() -> None:
    assert sensors.build([], []).sensors is None
