"""Versions that others register: each is evaluated once, whatever happens between two looks."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.gateways.decisions import BY_HAND, THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.registry import looking
from mlops_assets.registry.arrivals import ATTEMPTS
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.registry.daemon import BUNDLE, Daemon, version_in

Status = dg.DagsterRunStatus
PROMOTED = Decision("promoted", "good", THE_GATES, "2026-01-01T00:00:00+00:00", "r")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def daemon(model_registry: ModelRegistry, instance: dg.DagsterInstance) -> Daemon:
    made = Daemon(model_registry, instance)
    made.report(names.asset_key("churn", names.TRAINING_SET), {})
    return made


def theirs(registry: ModelRegistry, model: str = "churn") -> int:
    return registry.register(model, source="runs:/r/model", run_id="", tags={})


def ours(registry: ModelRegistry) -> int:
    return registry.register("churn", source="runs:/r/model", run_id="", tags=BUNDLE)


def decision(daemon: Daemon, version: int) -> Decision | None:
    return Decision.of(daemon.registry.version("churn", version).tags)


def test_a_version_of_others_is_evaluated_once(daemon: Daemon) -> None:
    theirs(daemon.registry)
    data = daemon.tick()
    (request,), (event,) = data.run_requests, data.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.asset_key == names.asset_key("churn", names.REGISTERED_ELSEWHERE)
    assert event.metadata["version"].value == 1
    assert event.metadata["registry"].value.endswith("/models/churn/versions/1")
    assert (request.job_name, version_in(request)) == ("churn__retrain", 1)
    made = {key.path[-1] for key in request.asset_selection}
    assert made == {"trained_model", "evaluation", "registered_version", "reference_profile"}
    daemon.launch(request, Status.STARTED)
    data = daemon.tick()
    assert (data.run_requests, data.asset_events) == ([], [])
    assert "churn 1 is being evaluated" in data.skip_message


def test_the_run_it_asks_for_is_valid(daemon: Daemon) -> None:
    theirs(daemon.registry)
    (request,) = daemon.tick().run_requests
    job = daemon.definitions.resolve_job_def(request.job_name)
    assert dg.validate_run_config(job, request.run_config)


def test_our_own_versions_are_no_arrivals(daemon: Daemon) -> None:
    ours(daemon.registry)
    assert daemon.asked() == []


def test_of_a_registry_that_was_there_before_only_the_latest_is_evaluated(daemon: Daemon) -> None:
    for _ in range(5):
        theirs(daemon.registry)
    assert daemon.asked() == [("churn__retrain", 5)]


def test_none_is_missed_when_many_come_between_two_looks(daemon: Daemon) -> None:
    theirs(daemon.registry)
    daemon.tick()
    wanted = [("churn__retrain", theirs(daemon.registry)) for _ in range(3)]
    ours(daemon.registry)
    wanted.append(("churn__retrain", theirs(daemon.registry)))
    # The first one's run was asked for and is not there: it is asked for again, under its name.
    assert daemon.asked() == [("churn__retrain", 1), *wanted]


def test_a_look_is_bounded_and_the_next_one_goes_on(daemon: Daemon) -> None:
    theirs(daemon.registry)
    daemon.launch(daemon.tick().run_requests[0], Status.STARTED)
    last = 1 + looking.MOST_LOOKS + 5
    while theirs(daemon.registry) < last:
        pass
    asked: set[int] = set()
    for _ in range(4):
        for request in daemon.tick().run_requests:
            asked.add(version_in(request))
            daemon.launch(request, Status.STARTED)
    assert asked == set(range(2, last + 1))


def test_champions_that_all_change_at_once_are_looked_at_bit_by_bit(
    model_registry: ModelRegistry,
) -> None:
    """As after a lost cursor, or a restored database."""
    at_once = looking.MOST_LOOKS // 2  # each is asked for, and written down
    many = at_once + 10
    experiments = [make_experiment(name=f"e{n:03}") for n in range(many)]
    for one in experiments:
        for _ in range(2):
            model_registry.register(one.name, source="runs:/r/model", run_id="", tags=BUNDLE)
        model_registry.set_alias(one.name, CHAMPION, 1)
    decided: dict[str, int] = {}
    for found in (at_once, many):
        look = looking.Look(
            model_registry, decided=decided, watched={}, attempt=lambda *_: None,
            has_rows=lambda _: True, now=datetime.now(UTC), dagster_url="",
        )  # fmt: skip
        look.take(experiments)
        decided |= look.champions
        assert len(decided) == found


def test_a_version_that_was_deleted_is_forgotten(daemon: Daemon) -> None:
    theirs(daemon.registry)
    daemon.launch(daemon.tick().run_requests[0], Status.FAILURE)
    daemon.registry.client.delete_model_version("churn", "1")
    assert daemon.asked() == []
    theirs(daemon.registry)
    theirs(daemon.registry)
    daemon.registry.client.delete_model_version("churn", "2")
    assert daemon.asked() == [("churn__retrain", 3)]


def test_another_model_of_the_same_name_begins_anew(daemon: Daemon) -> None:
    for _ in range(3):
        theirs(daemon.registry)
    first = daemon.tick().run_requests[0].run_key
    daemon.registry.client.delete_registered_model("churn")
    assert daemon.asked() == []
    theirs(daemon.registry)
    (request,) = daemon.tick().run_requests
    assert version_in(request) == 1
    assert request.run_key != first


def test_what_fails_for_its_own_reasons_is_tried_again_and_then_refused(daemon: Daemon) -> None:
    theirs(daemon.registry)
    keys = set()
    for _ in range(ATTEMPTS):
        (request,) = daemon.tick().run_requests
        keys.add(request.run_key)
        run_id = daemon.launch(request, Status.FAILURE)
    assert len(keys) == ATTEMPTS
    assert daemon.asked() == []
    found = decision(daemon, 1)
    assert found is not None
    assert (found.outcome, found.by, found.run_id) == ("refused", THE_GATES, run_id)
    assert found.reason == "it could not be evaluated: 3 runs failed"
    assert daemon.asked() == []


def test_without_rows_to_evaluate_on_it_waits_and_says_so(
    model_registry: ModelRegistry, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(model_registry, instance)
    theirs(model_registry)
    data = daemon.tick()
    assert data.run_requests == []
    assert "churn 1 is to be evaluated, and there is no training set" in data.skip_message
    daemon.report(names.asset_key("churn", names.TRAINING_SET), {})
    assert daemon.asked() == [("churn__retrain", 1)]


def test_a_champion_that_was_never_evaluated_is_deployed_after_it_was(daemon: Daemon) -> None:
    theirs(daemon.registry)
    daemon.registry.set_alias("churn", CHAMPION, 1)
    (request,) = daemon.tick().run_requests
    assert request.job_name == "churn__retrain"
    daemon.launch(request, Status.SUCCESS)
    daemon.registry.tag_version("churn", 1, {**BUNDLE, **PROMOTED.tags()})
    assert daemon.asked() == [("churn__deploy", 1)]


def test_a_champion_that_was_refused_is_not_deployed(daemon: Daemon) -> None:
    theirs(daemon.registry)
    refused = Decision("refused", "it is bad", THE_GATES, "2026-01-01T00:00:00+00:00", "r")
    daemon.registry.tag_version("churn", 1, refused.tags())
    daemon.registry.set_alias("churn", CHAMPION, 1)
    data = daemon.tick()
    assert data.run_requests == []
    assert "churn 1 is the champion, and was refused" in data.skip_message


def test_an_alias_set_by_hand_is_written_down(daemon: Daemon) -> None:
    waiting = Decision("waiting", "the gates passed", THE_GATES, "2026-01-01T00:00:00+00:00", "r")
    ours(daemon.registry)
    daemon.registry.tag_version("churn", 1, waiting.tags())
    daemon.registry.set_alias("churn", CHAMPION, 1)
    assert daemon.asked() == [("churn__deploy", 1)]
    found = decision(daemon, 1)
    assert found is not None
    assert (found.outcome, found.by) == ("promoted", BY_HAND)
    assert found.reason == "the alias champion was set although it was waiting"
