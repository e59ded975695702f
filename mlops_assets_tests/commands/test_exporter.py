"""The exporter on a real socket: who asks often, a storage that is away or hangs, a YAML that is
wrong."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_assets.commands.exporter import AT_LEAST_S, Exporter, LookError, Watch
from mlops_assets.commands.metrics import Project as Experiments
from mlops_assets.monitoring.exporter.facts import Facts
from mlops_assets_tests.commands.project import SMALL, Project
from mlops_assets_tests.monitoring.exporter.facts import FACTS


class Storage:
    """What can be looked at; it may be away, or hang."""

    def __init__(self) -> None:
        self.looks = 0
        self.trouble: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def look(self) -> Facts:
        self.looks += 1
        self.answers.wait(20)
        if self.trouble is not None:
            raise self.trouble
        return FACTS


class Asked:
    """An exporter over it, with a clock that stands until it is moved."""

    def __init__(self, *, most: int = 1000, patience: float = 5.0) -> None:
        self.storage, self.said, self.time = Storage(), [], 100.0
        self.watch = Watch(
            self.storage.look, most=most, tell=self.said.append, clock=lambda: self.time,
            now=lambda: 1_764_000_000.0, patience=patience,
        )  # fmt: skip

    def later(self) -> None:
        self.time += AT_LEAST_S + 1

    def told(self) -> dict[str, float]:
        """The samples without experiment, and how many there are of each experiment."""
        found: dict[str, float] = {}
        for name, labels, value in self.watch.told():
            key = (
                f"of {labels[0]}" if labels and labels[0] == "churn" else "/".join((name, *labels))
            )
            found[key] = found.get(key, 0) + 1 if key.startswith("of ") else value
        return found


def test_it_looks_once_however_often_it_is_asked() -> None:
    asked = Asked()
    for _ in range(5):
        asked.watch.told()
    assert asked.storage.looks == 1
    asked.later()
    asked.watch.told()
    assert asked.storage.looks == 2


def test_many_who_ask_at_once_wait_for_the_same_look() -> None:
    asked = Asked()
    asked.storage.answers.clear()
    threads = [threading.Thread(target=asked.watch.told) for _ in range(8)]
    for thread in threads:
        thread.start()
    asked.storage.answers.set()
    for thread in threads:
        thread.join()
    assert asked.storage.looks == 1


def test_a_storage_that_is_away_is_told_and_what_was_known_stays() -> None:
    asked = Asked()
    before = asked.told()
    asked.storage.trouble = LookError("storage", "no route to the database")
    asked.later()
    during = asked.told()
    assert (before["mlops_platform_up"], during["mlops_platform_up"]) == (1.0, 0.0)
    assert during["of churn"] == before["of churn"] > 0
    assert during["mlops_platform_look_errors_total/storage"] == 1
    assert asked.watch.trouble == "storage cannot be read: no route to the database"
    asked.storage.trouble = None
    asked.later()
    assert asked.told()["mlops_platform_up"] == 1.0
    assert asked.said == [
        "storage cannot be read: no route to the database", "the platform can be read again",
    ]  # fmt: skip


def test_one_that_was_never_reached_tells_of_itself_alone() -> None:
    asked = Asked()
    asked.storage.trouble = LookError("experiments", "churn.yaml:3: no")
    found = asked.told()
    assert found["mlops_platform_up"] == 0.0
    assert found["mlops_platform_look_errors_total/experiments"] == 1
    assert {name.partition("/")[0] for name in found} == {
        "mlops_platform_up", "mlops_platform_looked_timestamp_seconds",
        "mlops_platform_look_seconds", "mlops_platform_look_errors_total",
        "mlops_platform_experiments", "mlops_platform_experiments_left_out",
    }  # fmt: skip


def test_a_storage_that_hangs_is_not_waited_for_and_not_asked_twice() -> None:
    asked = Asked(patience=0.05)
    asked.storage.answers.clear()
    found = [asked.told()["mlops_platform_up"] for _ in range(3)]
    assert (found, asked.storage.looks) == ([0.0, 0.0, 0.0], 1)
    asked.storage.answers.set()
    deadline = time.monotonic() + 10
    while asked.watch.trouble and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asked.told()["mlops_platform_up"] == 1.0


def test_a_fault_of_ours_is_not_taken_for_health() -> None:
    asked = Asked()
    asked.storage.trouble = ZeroDivisionError("a fault")
    assert asked.told()["mlops_platform_up"] == 0.0
    assert asked.said == ["looking is broken: ZeroDivisionError('a fault')"]


def test_what_is_cut_is_said() -> None:
    found = Asked(most=3).told()
    assert found["mlops_platform_experiments_left_out"] == 1
    assert "of churn" not in found


@contextmanager
def serving(asked: Asked, discover: Callable[[], list[dict[str, Any]]]) -> Iterator[httpx.Client]:
    exporter = Exporter(("127.0.0.1", 0), asked.watch, discover)
    thread = threading.Thread(target=exporter.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{exporter.server_port}"
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client
    exporter.shutdown()
    exporter.server_close()
    thread.join()


def test_what_is_answered_over_http() -> None:
    asked = Asked()
    groups = [{"targets": ["127.0.0.1:8000"], "labels": {"experiment": "churn"}}]
    with serving(asked, lambda: groups) as client:
        text = client.get("/metrics")
        assert text.headers["content-type"].startswith("text/plain; version=")
        assert 'mlops_endpoint_version{experiment="churn",target="local"} 7.0' in text.text
        assert (client.get("/health").status_code, client.get("/sd").json()) == (200, groups)
        assert [client.get("/").status_code, client.post("/metrics").status_code] == [404, 405]
        asked.storage.trouble = LookError("storage", "away")
        asked.later()
        assert client.get("/health").status_code == 503
        assert "mlops_platform_up 0.0" in client.get("/metrics").text


def test_discovery_that_fails_is_no_empty_list() -> None:
    def discover() -> list[dict[str, Any]]:
        raise LookError("experiments", "churn.yaml:3: no")

    with serving(Asked(), discover) as client:
        assert (client.get("/sd").status_code, client.get("/sd").text) == (503, "churn.yaml:3: no")


class TestProject:
    """What is looked at, in a folder of YAMLs."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Project:
        found = Project(tmp_path)
        found.write(SMALL, "small.yaml")
        (tmp_path / "data.csv").write_text("a,left\n1,yes\n")
        return found

    def test_before_anything_ran_nothing_is_told_and_nothing_made(self, project: Project) -> None:
        assert Experiments(project.settings).look() == Facts(("small",))
        assert {path.name for path in project.root.iterdir()} == {"configs", "data.csv"}

    def test_a_yaml_that_changes_is_read_again(self, project: Project) -> None:
        experiments = Experiments(project.settings)
        path = project.write(SMALL.replace("name: small", "name: tiny"), "tiny.yaml")
        assert experiments.look().experiments == ("small", "tiny")
        path.write_text("name: tiny\n")
        with pytest.raises(LookError, match=r"tiny\.yaml"):
            experiments.look()
        path.unlink()
        assert experiments.look().experiments == ("small",)

    def test_a_storage_that_is_broken_is_said(self, project: Project) -> None:
        home = project.settings.dagster_home
        (home / "history").mkdir(parents=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        (home / "history" / "runs.db").write_text("no database, " * 500)
        with pytest.raises(LookError, match="database") as raised:
            Experiments(project.settings).look()
        assert raised.value.part == "storage"

    def test_endpoints_of_this_machine_are_discovered(self, project: Project) -> None:
        experiments, state = Experiments(project.settings), project.settings.home / "endpoints"
        assert experiments.discover() == []
        folder = state / "small"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps(STATE))
        assert experiments.discover() == [
            {
                "targets": ["127.0.0.1:8123"],
                "labels": {"experiment": "small", "target": "local", "__meta_mlops_version": "4"},
            }
        ]
        (folder / "state.json").write_text(json.dumps({**STATE, "state": "stopped"}))
        assert experiments.discover() == []
        (folder / "state.json").write_text("{")
        assert experiments.discover() == []
        shutil.rmtree(state)
        assert experiments.discover() == []


STATE = {
    "state": "live", "pid": 1, "worker_pids": [], "url": "http://127.0.0.1:8123", "port": 8123,
    "version": 4, "bundle_digest": "d", "since": "", "previous_version": None,
    "previous_digest": "", "generation": 1, "serving_generation": 1, "fingerprint": "",
    "detail": "",
}  # fmt: skip
