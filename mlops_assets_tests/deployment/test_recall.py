"""Whether what is being deployed is still wanted, as the registry says it, or does not."""

import socket
import threading
import time
from datetime import UTC, datetime

import pytest

from mlops_assets.deployment import at_once
from mlops_assets.deployment.recall import Recall
from mlops_assets.gateways import champions
from mlops_assets.gateways.decisions import THE_GATES, Decision
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets_tests.builders import make_experiment

AT = "2026-05-03T00:00:00+00:00"
PROMOTED = Decision("promoted", "good", THE_GATES, AT, "r")
BACK = Decision.rolled_back("ann", "too many alarms", AT)


def crown(registry: ModelRegistry, version: int, decision: Decision) -> None:
    registry.tag_version("churn", version, decision.tags())
    champions.crown(registry, "churn", version, now=datetime.now(UTC))


def test_only_a_rollback_takes_it_back(model_registry: ModelRegistry) -> None:
    """Another champion is deployed by the next run."""
    warned: list[str] = []
    for _ in range(3):
        model_registry.register("churn", source="runs:/r/model", run_id="", tags={})
    recall = Recall(make_experiment(), model_registry, 2, warned.append)
    assert recall() == ""
    crown(model_registry, 2, PROMOTED)
    assert recall() == ""
    crown(model_registry, 3, PROMOTED)
    assert recall() == ""
    crown(model_registry, 1, BACK)
    assert recall() == "version 1 returns (rollback by ann: too many alarms)"
    assert warned == []


def test_a_registry_that_accepts_and_never_answers_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warned: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = ModelRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}", "", "")
        recall = Recall(make_experiment(), registry, 2, warned.append, patience=1.0)
        began = time.monotonic()
        assert [recall() for _ in range(3)] == ["", "", ""]
        assert time.monotonic() - began < 20
        asking = [thread for thread in threading.enumerate() if thread.name == at_once.THREAD]
    assert len(asking) == 1, "it was asked again before it had answered"
    assert len(warned) == 3
    assert warned[0].endswith("is not known for now: of MLflow, nothing was heard of it for 1 s")
    asking[0].join(60)
    assert not asking[0].is_alive()


def test_a_registry_that_is_away_is_warned_of() -> None:
    warned: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert Recall(make_experiment(), ModelRegistry(url, "", ""), 2, warned.append)() == ""
    (words,) = warned
    assert f"MLflow does not answer at {url}" in words
