"""The local target, over real supervisors and workers. Everything started is stopped by pid."""

import dataclasses
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from mlops_assets.deployment import releases
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.deployment.targets.local import Local
from mlops_assets.serving import bundle, endpoint
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract
from mlops_assets_tests.endpoints import Place, ask, running, until


@pytest.fixture(scope="module")
def slow(tmp_path_factory) -> Built:
    """Not ready within a second: importing scikit-learn alone takes longer."""
    return make_bundle(tmp_path_factory.mktemp("slow") / "bundle", executed_by="sklearn")


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path, environment={"A_TOKEN": TargetContract.SECRET})
    yield place
    place.clear()


@pytest.fixture
def context(place):
    return place.context


class TestLocalContract(TargetContract):
    kind = "local"

    @pytest.fixture
    def site(self, place):
        return place

    @pytest.fixture
    def target(self):
        return Local(kind="local")


def test_the_manifest_is_as_written_here(place, context, one):
    target = Local(kind="local", port=8123, max_body_mb=0.5)
    assert target.render(place.release(one, 4), context) == {
        "experiment": "churn",
        "version": 4,
        "bundle_digest": one.digest,
        "host": "127.0.0.1",
        "port": 8123,
        "workers": 1,
        "recording": {
            "profiles_url": str(context.state.parent / "profiles"),
            "window_seconds": 3600,
            "flush_seconds": 10.0,
            "log_url": None,
            "log_sample": 1.0,
            "log_columns": None,
        },
        "key_env": None,
        "max_rows": 10_000,
        "max_body_bytes": 500_000,
        "max_in_flight": 64,
        "startup_timeout_s": 60.0,
    }


def test_a_version_is_replaced_under_load_without_a_failed_request(place, one, two):
    live = place.deploy(one, 1)
    answer = ask(live.url, one, 50)
    np.testing.assert_allclose(answer.json()["probabilities"], one.expected(50), rtol=0, atol=1e-12)
    record = one.records(1)
    expected = {"1": one.expected(1), "2": two.estimator.predict_proba(_table(record))}
    failures, seen, ends = [], {"kept": [], "new": []}, threading.Event()

    def check(kind, response):
        content = response.json()
        seen[kind].append(content.get("version"))
        if response.status_code != 200 or not np.allclose(
            content["probabilities"], expected[content["version"]], rtol=0, atol=1e-12
        ):
            failures.append((kind, response.status_code, response.text))

    def call(kind):
        address, body = f"{live.url}/invocations", {"instances": record}
        with httpx.Client(timeout=20, verify=False) as kept:
            while not ends.is_set():
                try:
                    if kind == "kept":
                        check(kind, kept.post(address, json=body))
                    else:
                        check(kind, httpx.post(address, json=body, timeout=20, verify=False))
                except httpx.HTTPError as error:
                    failures.append((kind, repr(error)))
                time.sleep(0.005)

    threads = [threading.Thread(target=call, args=(kind,)) for kind in ("kept", "kept", "new")]
    for thread in threads:
        thread.start()
    try:
        until(lambda: min(map(len, seen.values())) > 20)
        assert place.deploy(two, 2).version == 2
        after = ask(live.url, one, 1).json()["version"]
        counts = {kind: len(versions) for kind, versions in seen.items()}
        until(lambda: all(len(seen[kind]) > counts[kind] + 50 for kind in seen))
    finally:
        ends.set()
        for thread in threads:
            thread.join(30)
    assert failures == []
    assert after == "2", "a new connection reached the old version after the deployment returned"
    assert sum(map(len, seen.values())) >= 300
    for kind in seen:
        assert set(seen[kind]) == {"1", "2"}
    assert {path.name for path in (place.folder / "bundles").iterdir()} == {
        one.digest,
        two.digest,
    }


def test_bad_bundles_are_refused_and_the_old_version_keeps_serving(place, one, two, slow, tmp_path):
    live = place.deploy(one, 1)
    pid = place.state.worker_pids[0]

    def damaged(name):
        return shutil.copytree(two.folder, tmp_path / name)

    tampered = damaged("tampered")
    (tampered / "golden.json").write_text("{}")
    newer = damaged("newer")
    content = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**content, "format": bundle.FORMAT + 1}))
    pickled = damaged("pickled")
    (pickled / "model.onnx").write_bytes(pickle.dumps(two.estimator))
    bundle.seal(pickled, dataclasses.replace(two.manifest, files={}))
    swapped = damaged("swapped")
    shutil.copy(one.folder / "model.onnx", swapped)
    bundle.seal(swapped, dataclasses.replace(two.manifest, files={}))
    for folder, word in (
        (tampered, "not the file its manifest describes"),
        (newer, "update mlops_assets"),
        (pickled, "not a loadable ONNX graph"),
        (swapped, "golden request"),
    ):
        built = dataclasses.replace(two, folder=folder, digest=bundle.digest(folder))
        with pytest.raises(TargetError, match=f"(?s){word}.*Version 1 still serves at {live.url}"):
            place.deploy(built, 2)
        assert ask(live.url, one).json()["version"] == "1"
    state = place.state
    assert (state.worker_pids[0], state.state, state.version) == (pid, "live", 1)
    with pytest.raises(TargetError, match="another digest"):
        place.deploy(dataclasses.replace(two, digest="0" * 64), 2)
    with pytest.raises(TargetError, match="startup_timeout_s = 1 s"):
        place.deploy(slow, 2, startup_timeout_s=1)
    assert ask(live.url, one).json()["version"] == "1"


def test_after_a_crash_what_was_refused_does_not_take_the_place_of_what_served(place, one, slow):
    live = place.deploy(one, 1)
    folder = place.folder
    target = Local(kind="local", startup_timeout_s=1)
    with pytest.raises(TargetError, match="startup_timeout_s = 1 s"):
        place.deploy(slow, 2, startup_timeout_s=1)
    releases.keep(slow.folder, slow.digest, folder)  # it went with the rollback
    with pytest.raises(TargetError, match="startup_timeout_s = 1 s"):
        target.shift(target.render(place.release(slow, 2), place.context), 1.0, place.context)
    worker = endpoint.read_state(folder).worker_pids[0]
    os.kill(endpoint.holder(folder), signal.SIGKILL)
    until(lambda: not running(worker))
    observed = Local(kind="local").observe("churn", place.context)
    assert (observed.state, observed.version) == ("failed", 1)
    command = [sys.executable, "-m", "mlops_assets.serving.supervisor", str(folder), "--detach"]
    with (folder / endpoint.LOG).open("ab") as log:
        subprocess.run(command, stdout=log, stderr=log, start_new_session=True, check=True)
    state = until(
        lambda: (
            (s := endpoint.read_state(folder)).state == "live" and worker not in s.worker_pids and s
        )
    )
    assert (state.version, state.url, state.previous_version) == (1, live.url, None)
    assert "version 2: not ready within" in state.detail
    assert ask(live.url, one).json()["version"] == "1"


def test_a_killed_worker_is_replaced_and_waiting_callers_are_answered(place, one):
    live = place.deploy(one, 1)
    folder = place.folder
    pid = endpoint.read_state(folder).worker_pids[0]
    os.kill(pid, signal.SIGKILL)
    until(lambda: endpoint.read_state(folder).state != "live")
    assert ask(live.url, one).status_code == 200, "the socket did not keep a caller waiting"
    state = until(lambda: (s := endpoint.read_state(folder)).state == "live" and s)
    assert state.worker_pids[0] != pid
    assert (state.restarts, state.version, state.since) == (1, 1, live.since)
    assert "ended with status -9" in (folder / endpoint.LOG).read_text()


def test_the_endpoint_survives_its_deployer_and_stops_on_demand(place, one):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from mlops_assets_tests.builders import Built\n"
        "from mlops_assets_tests.endpoints import Place\n"
        "root, bundle, digest = sys.argv[1:]\n"
        "built = Built(Path(bundle), digest, None, None, {})\n"
        "print(Place(Path(root)).deploy(built, 1).url, flush=True)\n"
        "time.sleep(60)\n"
    )
    deployer = subprocess.Popen(
        [sys.executable, "-c", code, place.root, one.folder, one.digest],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        url = deployer.stdout.readline().strip()
    finally:
        os.killpg(deployer.pid, signal.SIGKILL)
        deployer.wait(10)
        deployer.stdout.close()
    assert ask(url, one).status_code == 200
    state = place.state
    assert os.getsid(state.pid) != os.getsid(0)
    stopped = place.retire()
    assert (stopped.state, stopped.url) == ("stopped", url)
    assert not running(state.pid)
    assert not running(state.worker_pids[0])
    with pytest.raises(httpx.ConnectError):
        ask(url, one)
    assert place.deploy(one, 1).url == url, "the port was not kept"


def test_every_row_answered_is_in_a_profile_after_stopping(place, one, two):
    live = place.deploy(one, 1)
    rows = 0
    for count in (1, 7, 50, 3):
        assert ask(live.url, one, count).status_code == 200
        rows += count
    place.deploy(two, 2)
    assert ask(live.url, one, 11).status_code == 200
    place.retire()
    assert place.profiled() == {"1": rows, "2": 11}


def test_a_taken_port_is_named(place, one):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TargetError, match=f"port {port} on 127.0.0.1.*Nothing serves"):
            place.deploy(one, 1, port=port)
        assert Local(kind="local").observe("churn", place.context) is None
    assert place.deploy(one, 1, port=port).url == f"http://127.0.0.1:{port}"


def test_secrets_reach_the_endpoint_and_no_file(place, one):
    place.deploy(one, 1)
    (worker,) = place.state.worker_pids
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert f"A_TOKEN={TargetContract.SECRET}".encode() in environment
    place.environment["A_TOKEN"] = "another-secret"
    place.deploy(one, 1)
    (after,) = place.state.worker_pids
    assert after != worker
    assert b"A_TOKEN=another-secret" in Path(f"/proc/{after}/environ").read_bytes()
    files = [path for path in place.root.rglob("*") if path.is_file()]
    secrets = (TargetContract.SECRET.encode(), b"another-secret")
    assert not [path for path in files if any(s in path.read_bytes() for s in secrets)]
    assert (place.folder / endpoint.DESIRED).stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_asked_for_and_not_there_is_an_error_before_anything_starts(place, one):
    with pytest.raises(TargetError, match="variable CHURN_KEYS holds no key"):
        place.deploy(one, 1, key_env="CHURN_KEYS")
    assert not (place.folder / endpoint.DESIRED).exists()


def _table(records):
    from mlops_assets.serving.runtimes.sklearn import frame
    from mlops_assets_tests.builders import SCHEMA

    return frame(SCHEMA, {name: [r[name] for r in records] for name in SCHEMA.names})
