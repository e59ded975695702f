"""The local target when the machine refuses a step, and when its process or those it starts die:
callers are answered all the while. Over real processes."""

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.deployment import supervision
from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.deployment.targets.local import CANDIDATE, STABLE
from mlops_assets.serving import endpoint
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.deployment import faulty_deployer
from mlops_assets_tests.endpoints import Place, load, until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.clear()
    assert not processes(place)


def processes(place: Place) -> set[int]:
    """Supervisors and workers of the endpoint and its candidates."""
    found, named = set(), str(place.folder).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if named in command and b"mlops_assets.serving" in command:
            found.add(int(path.parent.name))
    return found


def assert_alone(place: Place, version: int) -> None:
    """This version serves, and of no other is anything left but what it could go back to."""
    state = place.state
    assert (state.state, state.version) == ("live", version)
    until(lambda: processes(place) == {state.pid, *place.state.worker_pids}, 20)
    assert not endpoint.alive(place.folder / CANDIDATE)
    assert endpoint.read_desired(place.folder / STABLE).version == version
    kept = {path.name for path in (place.folder / "bundles").iterdir()}
    assert kept <= {state.bundle_digest, state.previous_digest}
    half = [path for path in place.folder.rglob(".*") if path.name.endswith(".new")]
    assert not half


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("three") / "bundle", seed=2)


def test_callers_are_answered_whatever_step_fails(
    place: Place, one: Built, two: Built, three: Built
) -> None:
    """Each step of a deployment is its last once, or fails; the next deployment converges."""
    live = place.deploy(one, 1)
    place.deploy(two, 2)
    # Three in turn: the bundle of the next is not there any more.
    turn = deque([(two, 2), (three, 3), (one, 1)])
    with load(live.url, one, kept=1, new=1) as callers:
        turn.rotate(-1)
        rehearsed = faulty_deployer.deploy(place.root, *turn[0])
        assert rehearsed.how == "went on", rehearsed.said
        assert len(rehearsed.steps) >= 10, rehearsed.steps
        ended: Counter[str] = Counter()
        for number, step in enumerate(rehearsed.steps, 1):
            for how in filter(None, ("killed", _refusal(step))):
                (_, stable), pids = turn[0], place.state.worker_pids
                turn.rotate(-1)
                built, version = turn[0]
                found = faulty_deployer.deploy(place.root, built, version, fails_at=number, how=how)
                ended[found.how] += 1
                assert (found.how == "killed") == (how == "killed")
                if found.how == "rolled back":
                    assert f"Version {stable} still serves" in found.said
                    assert_alone(place, stable)
                    assert place.state.worker_pids == pids
                assert place.deploy(built, version).version == version
                assert_alone(place, version)
    assert callers.failures == []
    assert callers.refused == 0
    assert {*ended} >= {"killed", "rolled back", "unknown"}


def _refusal(step: str) -> str:
    """What the machine says of a step; nothing of those that belong to one before."""
    by_first_word = {"open": "ENOSPC", "start": "EAGAIN", "send": "EACCES"}
    return by_first_word.get(step.split()[0], "")


DIES = """
import os, signal, sys, time
command = " ".join(sys.orig_argv)
if {when}:
    {what}
"""


@pytest.mark.parametrize(
    ("when", "what", "words"),
    [
        ('"supervisor" in command', "sys.exit(1)", "the supervisor did not start"),
        ('"supervisor" in command', "time.sleep(60)", "the supervisor did not start"),
        (
            '"candidate" in command and "worker" in command',
            "os.kill(os.getpid(), signal.SIGKILL)",
            "a worker ended with status -9",
        ),
        (
            '"candidate" not in command and "worker" in command',
            "os.kill(os.getpid(), signal.SIGKILL)",
            "a worker ended with status -9",
        ),
        (
            '"candidate" in command and "worker" in command',
            "os.kill(os.getppid(), signal.SIGKILL)",
            "ended without an answer",
        ),
    ],
    ids=[
        "the supervisor ends",
        "the supervisor hangs",
        "the candidate's worker dies",
        "the worker that takes over dies",
        "the candidate's supervisor dies",
    ],
)
def test_what_does_not_come_up_leaves_nothing_and_the_old_version_answers(
    place: Place, one: Built, two: Built, when: str, what: str, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    live = place.deploy(one, 1)
    pids = place.state.worker_pids
    faulty = place.root / "faulty"
    faulty.mkdir()
    (faulty / "sitecustomize.py").write_text(DIES.format(when=when, what=what))
    monkeypatch.setattr(supervision, "SUPERVISOR_PATIENCE", 5.0)
    with load(live.url, one, kept=1, new=1) as callers:
        place.environment["PYTHONPATH"] = str(faulty)
        with pytest.raises(RolloutError, match=rf"(?s){words}.*Version 1 still serves"):
            place.deploy(two, 2)
        assert_alone(place, 1)
        assert place.state.worker_pids == pids
        (faulty / "sitecustomize.py").unlink()
        assert place.deploy(two, 2).version == 2
        assert_alone(place, 2)
    assert callers.failures == []
    assert callers.refused == 0


@pytest.mark.parametrize("where", ["", CANDIDATE])
def test_a_file_in_the_place_of_a_folder_is_named(place: Place, one: Built, where: str) -> None:
    path = place.folder / where
    path.parent.mkdir(parents=True)
    path.write_text("")
    with pytest.raises(TargetError, match=f"{place.folder} cannot be used: .*{path.name}"):
        place.deploy(one, 1)
    path.unlink()
    assert place.deploy(one, 1).version == 1
    assert_alone(place, 1)
