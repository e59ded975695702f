"""Webhooks wake the registry sensor, and lose nothing when they are lost."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.commands.webhooks import leave
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.gateways.registered import RegisteredModel
from mlops_assets.registry import sensors
from mlops_assets.registry.waking import Looked, is_due
from mlops_assets_tests.registry.daemon import BUNDLE, Daemon

NOW = datetime(2026, 5, 4, tzinfo=UTC)
WAITS = "no webhook came, and the last look was a moment ago"


class Registry(ModelRegistry):
    """A real store that counts the looks, while which something else may happen."""

    def __init__(self, like: ModelRegistry) -> None:
        super().__init__(like.tracking_uri, "", "")
        self.looks = 0
        self.meanwhile = lambda: None

    def models(self) -> dict[str, RegisteredModel]:
        self.looks += 1
        found = super().models()
        self.meanwhile()
        return found


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def registry(model_registry: ModelRegistry) -> Registry:
    for _ in range(2):
        model_registry.register("churn", source="runs:/r/model", run_id="", tags=BUNDLE)
    return Registry(model_registry)


@pytest.fixture
def daemon(registry: Registry, instance: dg.DagsterInstance) -> Daemon:
    """One whose first look is done."""
    found = Daemon(registry, instance, webhooks=True)
    found.tick()
    assert registry.looks == 1
    return found


def age(daemon: Daemon, seconds: int) -> None:
    """As if the last look were that long ago."""
    cursor = json.loads(daemon.cursor or "{}")
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    daemon.cursor = json.dumps({**cursor, "looked": {**cursor["looked"], "at": at.isoformat()}})


def test_between_looks_mlflow_is_not_asked(daemon: Daemon, registry: Registry) -> None:
    before = daemon.cursor
    data = daemon.tick()
    assert (data.skip_message, daemon.cursor, registry.looks) == (WAITS, before, 1)


def test_a_webhook_wakes_it_once(daemon: Daemon, registry: Registry) -> None:
    registry.set_alias("churn", CHAMPION, 2)
    assert daemon.asked() == []
    leave(daemon.instance, "one")
    assert daemon.asked() == [("churn__deploy", 2)]
    assert daemon.asked() == []
    assert registry.looks == 2


def test_a_lost_webhook_costs_only_the_usual_time(daemon: Daemon, registry: Registry) -> None:
    registry.set_alias("churn", CHAMPION, 2)
    age(daemon, sensors.PAUSE_SECONDS - 2)
    assert daemon.asked() == []
    age(daemon, sensors.PAUSE_SECONDS)
    assert daemon.asked() == [("churn__deploy", 2)]


def test_a_webhook_during_a_look_is_seen_by_the_next(daemon: Daemon, registry: Registry) -> None:
    """The alias moves after the registry answered, and its webhook comes before the look ends."""

    def move() -> None:
        registry.meanwhile = lambda: None
        registry.set_alias("churn", CHAMPION, 2)
        leave(daemon.instance, "second")

    registry.meanwhile = move
    leave(daemon.instance, "first")
    assert daemon.asked() == []
    assert daemon.asked() == [("churn__deploy", 2)]


def test_a_repeated_or_pointless_webhook_changes_nothing(
    daemon: Daemon, registry: Registry
) -> None:
    registry.set_alias("churn", CHAMPION, 2)
    asked = []
    for mark in ("one", "one", "two", "one", "three"):
        leave(daemon.instance, mark)
        asked += daemon.asked()
    assert asked == [("churn__deploy", 2)]
    assert registry.looks == 1 + 4


def test_a_look_that_failed_is_made_again_at_once(
    daemon: Daemon, registry: Registry, instance: dg.DagsterInstance
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    down = Daemon(ModelRegistry(f"http://127.0.0.1:{port}", "", ""), instance, webhooks=True)
    registry.set_alias("churn", CHAMPION, 2)
    leave(instance, "one")
    down.cursor = daemon.cursor
    assert "MLflow does not answer" in down.tick().skip_message
    daemon.cursor = down.cursor
    assert daemon.asked() == [("churn__deploy", 2)]


def test_it_can_be_switched_on_and_off(registry: Registry, instance: dg.DagsterInstance) -> None:
    registry.set_alias("churn", CHAMPION, 1)
    without = Daemon(registry, instance)
    assert without.asked() == [("churn__deploy", 1)]
    assert "looked" not in json.loads(without.cursor or "")
    woken = Daemon(registry, instance, webhooks=True)
    woken.cursor = without.cursor
    assert woken.asked() == []
    assert registry.looks == 2
    without.cursor = woken.cursor
    assert without.asked() == []
    assert registry.looks == 3
    intervals = [d.definitions.sensors[0].minimum_interval_seconds for d in (without, woken)]
    assert intervals == [sensors.PAUSE_SECONDS, 1]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
def test_no_mark_and_no_interval_is_ever_missed(steps: list[tuple[int, bool]]) -> None:
    """Ticks at any distance, marks before some of them: each mark is followed by a look at the next
    tick, and without marks two looks are never further apart than an interval and a tick."""
    now, last, mark = NOW, None, ""
    for number, (seconds, marked) in enumerate(steps):
        now += timedelta(seconds=seconds)
        mark = str(number) if marked else mark
        due = is_due(last, mark, now=now, interval=15)
        since = None if last is None else (now - datetime.fromisoformat(last.at)).total_seconds()
        assert due is (since is None or marked or since >= 15)
        last = Looked(mark, now.isoformat()) if due else last


def test_a_clock_that_was_set_back_does_not_hold_it() -> None:
    ahead = Looked("", (NOW + timedelta(days=1)).isoformat())
    assert is_due(ahead, "", now=NOW, interval=15)
