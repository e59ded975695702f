"""A coordinator that is killed or interrupted, as a real process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.tuning.study import finished_trials, run
from mlops_assets.tuning.trials import FinishedTrial
from mlops_assets_tests.tuning.objectives import Bowl, spec

TRIALS = 18


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [str(folder / "studies"), str(folder / "log"), str(TRIALS), str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-m", "mlops_assets_tests.tuning.program", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background shell makes its children ignore Ctrl-C; the tests need it heard.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def read_until(process: subprocess.Popen[str], finished: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == str(finished):
            return
    raise AssertionError("the program ended early")


def kept(folder: Path) -> dict[int, tuple[object, ...]]:
    with StudyStore(str(folder / "studies")).read("bowl") as study:
        recorded = [t for t in study.get_trials() if "slot" in t.user_attrs]
        trials = finished_trials(study)
    assert len(recorded) == len(trials), "a slot was recorded twice"
    return {t.slot: essence(t) for t in trials}


def essence(trial: FinishedTrial) -> tuple[object, ...]:
    return (trial.parameters, trial.state, trial.folds)


def workers(folder: Path) -> set[int]:
    return {int(line.split()[0]) for line in (folder / "log").read_text().splitlines()}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    store = StudyStore(str(tmp_path_factory.mktemp("uninterrupted")))
    options = {"study_name": "bowl", "direction": "minimize", "folds": 3}
    result = run(Bowl(), spec(n_trials=TRIALS, workers=2), store=store, **options)
    return {t.slot: essence(t) for t in result.trials}


@pytest.mark.parametrize("at", [1, 9])
def test_a_killed_coordinator_loses_and_repeats_nothing(tmp_path, uninterrupted, at):
    process = start(tmp_path, seconds=0.05)
    try:
        read_until(process, at)
    finally:
        process.kill()
        process.communicate(timeout=20)
    assert eventually(lambda: not any(map(is_alive, workers(tmp_path))), seconds=5)
    before = kept(tmp_path)
    assert at <= len(before) < TRIALS

    again = start(tmp_path, seconds=0)
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert [int(line) for line in out.split()] == list(range(len(before) + 1, TRIALS + 1))
    assert before.items() <= kept(tmp_path).items()
    assert kept(tmp_path) == uninterrupted


def test_a_torn_last_line_of_the_journal_is_cut_off(tmp_path, uninterrupted):
    process = start(tmp_path, seconds=0.01)
    read_until(process, 5)
    process.kill()
    process.communicate(timeout=20)
    journal = tmp_path / "studies" / "bowl.journal"
    journal.write_bytes(journal.read_bytes()[:-40])
    assert start(tmp_path, seconds=0).communicate(timeout=60)[0]
    assert kept(tmp_path) == uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_finished_and_leaves_no_process(tmp_path, number):
    process = start(tmp_path, seconds=3)
    try:
        assert eventually(lambda: (tmp_path / "log").exists(), seconds=30)
        process.kill()
        process.communicate(timeout=20)
        process = start(tmp_path, seconds=1.2)  # far from done, however slow we are to interrupt
        read_until(process, 2)
        sent = time.monotonic()
        os.kill(process.pid, number)
        out, _ = process.communicate(timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - sent < 5
    assert f"{len(kept(tmp_path))} of {TRIALS} trials are finished and kept" in out
    assert "Run it again to go on" in out
    assert not any(map(is_alive, workers(tmp_path)))


def test_a_second_process_is_refused_and_names_the_first(tmp_path):
    first = start(tmp_path, seconds=0.3)
    try:
        read_until(first, 1)
        command = [sys.executable, "-m", "mlops_assets_tests.tuning.program"]
        arguments = [str(tmp_path / "studies"), str(tmp_path / "log"), "3", "0"]
        second = subprocess.run(
            command + arguments, capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert f"study 'bowl' is being written by process {first.pid} on" in second.stderr
    finally:
        first.kill()
        first.communicate(timeout=20)
