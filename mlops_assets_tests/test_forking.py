"""Processes that are forked off one which has imported before."""

import json
import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlops_assets.forking import ForkServer
from mlops_assets_tests.endpoints import until

PROGRAM = """
    import json, os, pathlib, signal, sys, time
    import numpy as np

    said = {
        "arguments": sys.argv[1:], "folder": os.getcwd(), "name": __name__, "pid": os.getpid(),
        "ctrl_c": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "chance": np.random.random(), "imported": "preloaded_here" in sys.modules,
    }
    try:
        path = pathlib.Path(sys.argv[1])
        path.with_suffix(".part").write_text(json.dumps(said))
        path.with_suffix(".part").rename(path)
        time.sleep(float(sys.argv[2]))
    except KeyboardInterrupt:
        pathlib.Path(sys.argv[1] + ".interrupted").touch()
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    (tmp_path / "preloaded_here.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}")
    server = ForkServer(["nowhere.to_be_found", "numpy", "preloaded_here"], code=tmp_path)
    yield server
    server.stop()


def said(path: Path) -> dict[str, object]:
    until(path.exists)
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def started(server: ForkServer, path: Path, seconds: float = 0.0) -> int:
    return server.start("program", [str(path), str(seconds)], folder=str(path.parent))


def test_each_is_a_program_of_its_own(server: ForkServer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.json" for number in range(4)]
    until(lambda: said_after(server, tmp_path / "early.json"))

    pids = [started(server, path) for path in paths]
    found = [said(path) for path in paths]

    assert [each["pid"] for each in found] == pids
    assert len(set(pids)) == len(pids)
    for path, each in zip(paths, found, strict=True):
        assert each["arguments"] == [str(path), "0.0"]
        assert (each["folder"], each["name"]) == (str(tmp_path), "__main__")
        assert each["ctrl_c"]
        assert each["imported"]
    assert len({each["chance"] for each in found}) == len(found)
    until(lambda: not any(map(psutil.pid_exists, pids)))


def said_after(server: ForkServer, path: Path) -> bool:
    """Whether one that is started now finds everything imported; the first ones may come early."""
    path.unlink(missing_ok=True)
    started(server, path)
    return bool(said(path)["imported"])


def test_they_outlive_who_started_them(server: ForkServer, tmp_path: Path) -> None:
    pid = started(server, tmp_path / "one.json", 60)
    said(tmp_path / "one.json")

    server.stop()

    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    os.kill(pid, signal.SIGINT)
    until((tmp_path / "one.json.interrupted").exists)


def test_a_killed_server_is_replaced(server: ForkServer, tmp_path: Path) -> None:
    first = started(server, tmp_path / "first.json", 60)
    parent = psutil.Process(first).parent()
    assert parent is not None
    parent.kill()
    until(lambda: parent.status() == psutil.STATUS_ZOMBIE)

    second = started(server, tmp_path / "second.json")

    assert said(tmp_path / "second.json")["pid"] == second
    os.kill(first, signal.SIGKILL)


def test_code_that_changed_is_imported_anew(server: ForkServer, tmp_path: Path) -> None:
    def parent(name: str) -> psutil.Process | None:
        return psutil.Process(started(server, tmp_path / name, 1)).parent()

    before = parent("before.json")
    assert parent("same.json") == before
    (tmp_path / "preloaded_here.py").write_text("changed = True")
    assert parent("after.json") != before
