"""What supervisors and workers do when things end otherwise than planned, under load."""

import os
import resource
import shutil
import signal
import time

import httpx
import pytest

from mlops_assets.serving import endpoint
from mlops_assets.serving.supervisor import DRAIN_PATIENCE
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.endpoints import Place, ask, load, running, until


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle", seed=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("two") / "bundle", seed=1)


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.clear()


@pytest.mark.parametrize("workers", [1, 2])
def test_versions_replace_each_other_under_load_and_no_request_fails(place, one, two, workers):
    live = place.deploy(one, 1, workers=workers)
    assert len(place.state.worker_pids) == workers
    with load(live.url, one) as callers:
        for version, built in ((2, two), (3, one), (4, two)):
            assert place.deploy(built, version, workers=workers).url == live.url
            until(lambda v=str(version): callers.answered[v] > 100)
    assert callers.failures == []
    assert callers.refused == 0
    place.retire()
    assert place.profiled() == callers.answered, "rows were lost, or counted twice"


def test_sigterm_under_load_leaves_nothing_unanswered_and_no_row_unprofiled(place, one):
    live = place.deploy(one, 1, workers=2)
    with load(live.url, one, kept=2, new=4, pause=0.0) as callers:
        started = time.monotonic()
        os.kill(endpoint.holder(place.folder), signal.SIGTERM)
        until(lambda: not endpoint.alive(place.folder))
        seconds = time.monotonic() - started
    assert callers.failures == []
    assert callers.refused > 0
    assert place.profiled() == callers.answered
    assert place.state.state == "stopped"
    assert seconds < DRAIN_PATIENCE


def test_a_killed_worker_is_replaced_alone_while_the_other_serves(place, one):
    live = place.deploy(one, 1, workers=2)
    killed, other = place.state.worker_pids
    with load(live.url, one, kept=2, new=2) as callers:
        os.kill(killed, signal.SIGKILL)
        until(lambda: place.state.worker_pids == (other,))
        state = until(lambda: len((s := place.state).worker_pids) == 2 and s)
        before = callers.total
        until(lambda: callers.total > before + 100)
    assert other in state.worker_pids
    assert (state.state, state.restarts, state.since) == ("live", 1, live.since)
    assert callers.refused == 0
    # At most one request per caller was with the worker that died.
    assert len(callers.failures) <= 4
    assert "ended with status -9" in place.log


def test_workers_end_with_a_killed_supervisor_and_a_deployment_heals(place, one):
    live = place.deploy(one, 1, workers=2)
    workers = place.state.worker_pids
    os.kill(endpoint.holder(place.folder), signal.SIGKILL)
    until(lambda: not any(map(running, workers)))
    assert place.deploy(one, 1, workers=2).url == live.url
    assert ask(live.url, one).status_code == 200
    assert not set(workers) & set(place.state.worker_pids)


def test_a_bundle_damaged_on_disk_is_refused_by_the_replacement_and_mended_by_a_deployment(
    place, one
):
    live = place.deploy(one, 1, workers=2)
    killed, other = place.state.worker_pids
    stored = place.folder / "bundles" / one.digest / "golden.json"
    stored.write_text("{}")
    os.kill(killed, signal.SIGKILL)
    until(lambda: "not the file its manifest describes" in place.state.detail)
    assert (place.state.state, place.state.worker_pids) == ("live", (other,))
    assert ask(live.url, one).json()["version"] == "1"
    place.deploy(one, 1, workers=2)
    state = until(lambda: len((s := place.state).worker_pids) == 2 and s)
    assert (other in state.worker_pids, state.detail) == (True, "")


def test_a_disk_without_room_ends_nothing_and_the_state_is_made_up_for(place, one):
    live = place.deploy(one, 1)
    supervisor = endpoint.holder(place.folder)
    (killed,) = place.state.worker_pids
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    os.kill(killed, signal.SIGKILL)
    assert ask(live.url, one, 5).status_code == 200
    assert place.state.worker_pids == (killed,), "the state was written to a full disk"
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, unlimited)
    state = until(lambda: (s := place.state).state == "live" and killed not in s.worker_pids and s)
    assert (state.restarts, state.since) == (1, live.since)
    resource.prlimit(state.worker_pids[0], resource.RLIMIT_FSIZE, unlimited)
    place.retire()
    assert place.profiled() == {"1": 5}


def test_a_change_of_the_number_of_workers_is_a_swap_of_its_own(place, one):
    live = place.deploy(one, 1)
    with load(live.url, one) as callers:
        again = place.deploy(one, 1, workers=3)
        assert len(place.state.worker_pids) == 3
    assert (again.url, again.since, again.version) == (live.url, live.since, 1)
    assert callers.failures == []


def test_keys_reach_the_workers_by_environment_alone_and_are_rotated_under_load(place, one):
    place.variables["CHURN_KEYS"] = "first-key-0"
    live = place.deploy(one, 1, key_env="CHURN_KEYS")

    def status(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = {"instances": one.records(1)}
        return httpx.post(f"{live.url}/invocations", json=body, headers=headers).status_code

    assert (status("first-key-0"), status("second-key-0"), status("")) == (200, 401, 401)
    supervisor = endpoint.holder(place.folder)
    place.variables["CHURN_KEYS"] = "first-key-0, second-key-0"
    place.deploy(one, 1, key_env="CHURN_KEYS")
    assert (status("first-key-0"), status("second-key-0"), status("")) == (200, 200, 401)
    place.variables["CHURN_KEYS"] = "second-key-0"
    place.deploy(one, 1, key_env="CHURN_KEYS")
    assert (status("first-key-0"), status("second-key-0")) == (401, 200)
    assert endpoint.holder(place.folder) == supervisor
    files = [path for path in place.root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"key-0" in path.read_bytes()]


def test_the_folders_that_workers_share_are_removed_with_them(place, one, two):
    place.deploy(one, 1, workers=2)
    link = place.folder / "shared"
    root = link.resolve()
    (first,) = root.iterdir()
    place.deploy(two, 2, workers=2)
    until(lambda: not first.exists())
    assert len(list(root.iterdir())) == 1
    place.retire()
    assert not root.exists()
    assert not link.is_symlink()
    shutil.rmtree(root, ignore_errors=True)
