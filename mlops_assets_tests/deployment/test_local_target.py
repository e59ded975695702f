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
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from mlops_assets.deployment.targets.base import Release, TargetContext, TargetError
from mlops_assets.deployment.targets.local import Local
from mlops_assets.gateways.wait import wait_until
from mlops_assets.monitoring import views
from mlops_assets.serving import bundle, endpoint
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.contracts.target import TargetContract


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle", seed=0)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("two") / "bundle", seed=1)


@pytest.fixture
def context(tmp_path):
    context = TargetContext(
        state=tmp_path / "state",
        profiles_url=str(tmp_path / "profiles"),
        window_seconds=3600,
        environment={"A_TOKEN": TargetContract.SECRET},
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
    )
    yield context
    for folder in context.state.glob("*"):
        stop(folder)


def stop(folder: Path):
    """End the supervisor of `folder` (its workers end with it), whatever a test left behind."""
    if not endpoint.alive(folder):
        return
    pid = endpoint.holder(folder)
    os.kill(pid, signal.SIGTERM)
    try:
        until(lambda: not endpoint.alive(folder), 20)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise


def until(condition, timeout=20.0):
    return wait_until(
        condition, timeout=timeout, interval=0.02, clock=time.monotonic, sleep=time.sleep
    )


def release(built: Built, version: int) -> Release:
    return Release("churn", version, built.folder, built.digest)


def deploy(built, version, context, **settings):
    target = Local(kind="local", **settings)
    return target.apply(target.render(release(built, version), context), context)


def ask(url: str, built: Built, rows: int = 5):
    records = built.records(rows)
    return httpx.post(f"{url}/invocations", json={"instances": records}, timeout=20)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class TestLocalContract(TargetContract):
    kind = "local"

    @pytest.fixture
    def target(self):
        return Local(kind="local")

    @pytest.fixture
    def context(self, context):
        return context

    @pytest.fixture
    def releases(self, one, two):
        return release(one, 1), release(two, 2)


def test_the_manifest_is_as_written_here(context, one):
    target = Local(kind="local", port=8123, max_body_mb=0.5)
    assert target.render(release(one, 4), context) == {
        "experiment": "churn",
        "version": 4,
        "bundle": str(one.folder),
        "bundle_digest": one.digest,
        "host": "127.0.0.1",
        "port": 8123,
        "profiles_url": context.profiles_url,
        "window_seconds": 3600,
        "max_rows": 10_000,
        "max_body_bytes": 500_000,
        "max_in_flight": 64,
        "startup_timeout_s": 60.0,
    }


def test_a_version_is_replaced_under_load_without_a_failed_request(context, one, two):
    live = deploy(one, 1, context)
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
        with httpx.Client(timeout=20) as kept:
            while not ends.is_set():
                try:
                    post = kept.post if kind == "kept" else httpx.post
                    check(kind, post(f"{live.url}/invocations", json={"instances": record}))
                except httpx.HTTPError as error:
                    failures.append((kind, repr(error)))
                time.sleep(0.005)

    threads = [threading.Thread(target=call, args=(kind,)) for kind in ("kept", "kept", "new")]
    for thread in threads:
        thread.start()
    try:
        until(lambda: min(map(len, seen.values())) > 20)
        assert deploy(two, 2, context).version == 2
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
    assert {path.name for path in (context.state / "churn/bundles").iterdir()} == {
        one.digest,
        two.digest,
    }


def test_bad_bundles_are_refused_and_the_old_version_keeps_serving(context, one, two, tmp_path):
    live = deploy(one, 1, context)
    pid = endpoint.read_state(context.state / "churn").worker_pid

    def damaged(name):
        return shutil.copytree(two.folder, tmp_path / name)

    tampered = damaged("tampered")
    (tampered / "golden.json").write_text("{}")
    newer = damaged("newer")
    content = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**content, "format": 2}))
    pickled = damaged("pickled")
    (pickled / "model.skops").write_bytes(pickle.dumps(two.estimator))
    bundle.seal(pickled, dataclasses.replace(two.manifest, files={}))
    swapped = damaged("swapped")
    shutil.copy(one.folder / "model.skops", swapped)
    bundle.seal(swapped, dataclasses.replace(two.manifest, files={}))
    for folder, word in (
        (tampered, "not the file its manifest describes"),
        (newer, "update mlops_assets"),
        (pickled, "not a skops archive"),
        (swapped, "golden request"),
    ):
        built = dataclasses.replace(two, folder=folder, digest=bundle.digest(folder))
        with pytest.raises(TargetError, match=f"(?s){word}.*Version 1 still serves at {live.url}"):
            deploy(built, 2, context)
        assert ask(live.url, one).json()["version"] == "1"
    state = endpoint.read_state(context.state / "churn")
    assert (state.worker_pid, state.state, state.version) == (pid, "live", 1)
    with pytest.raises(TargetError, match="another digest"):
        deploy(dataclasses.replace(two, digest="0" * 64), 2, context)
    with pytest.raises(TargetError, match="startup_timeout_s = 1 s"):
        deploy(two, 2, context, startup_timeout_s=1)
    assert ask(live.url, one).json()["version"] == "1"


def test_after_a_crash_what_was_refused_does_not_take_the_place_of_what_served(context, one, two):
    live = deploy(one, 1, context)
    folder = context.state / "churn"
    with pytest.raises(TargetError, match="startup_timeout_s = 1 s"):
        deploy(two, 2, context, startup_timeout_s=1)
    worker = endpoint.read_state(folder).worker_pid
    os.kill(endpoint.holder(folder), signal.SIGKILL)
    until(lambda: not running(worker))
    observed = Local(kind="local").observe("churn", context)
    assert (observed.state, observed.version) == ("failed", 1)
    command = [sys.executable, "-m", "mlops_assets.serving.supervisor", str(folder), "--detach"]
    with (folder / endpoint.LOG).open("ab") as log:
        subprocess.run(command, stdout=log, stderr=log, start_new_session=True, check=True)
    state = until(
        lambda: (s := endpoint.read_state(folder)).state == "live" and s.worker_pid != worker and s
    )
    assert (state.version, state.url, state.previous_version) == (1, live.url, None)
    assert "version 2: not ready within" in state.detail
    assert ask(live.url, one).json()["version"] == "1"


def test_a_killed_worker_is_replaced_and_waiting_callers_are_answered(context, one):
    live = deploy(one, 1, context)
    folder = context.state / "churn"
    pid = endpoint.read_state(folder).worker_pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: endpoint.read_state(folder).state != "live")
    assert ask(live.url, one).status_code == 200, "the socket did not keep a caller waiting"
    state = until(lambda: (s := endpoint.read_state(folder)).state == "live" and s)
    assert state.worker_pid != pid
    assert (state.restarts, state.version, state.since) == (1, 1, live.since)
    assert "ended with status -9" in (folder / endpoint.LOG).read_text()


def test_the_endpoint_survives_its_deployer_and_stops_on_demand(context, one, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from datetime import datetime, UTC\n"
        "from mlops_assets.deployment.targets.base import *\n"
        "from mlops_assets.deployment.targets.local import Local\n"
        "state, profiles, bundle, digest = sys.argv[1:]\n"
        "context = TargetContext(Path(state), profiles, 3600, {},"
        " lambda: datetime.now(UTC), time.sleep)\n"
        "target = Local(kind='local')\n"
        "release = Release('churn', 1, Path(bundle), digest)\n"
        "print(target.apply(target.render(release, context), context).url, flush=True)\n"
        "time.sleep(60)\n"
    )
    deployer = subprocess.Popen(
        [sys.executable, "-c", code, context.state, context.profiles_url, one.folder, one.digest],
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
    state = endpoint.read_state(context.state / "churn")
    assert os.getsid(state.pid) != os.getsid(0)
    stopped = Local(kind="local").retire("churn", context)
    assert (stopped.state, stopped.url) == ("stopped", url)
    assert not running(state.pid)
    assert not running(state.worker_pid)
    with pytest.raises(httpx.ConnectError):
        ask(url, one)
    assert deploy(one, 1, context).url == url, "the port was not kept"


def test_every_row_answered_is_in_a_profile_after_stopping(context, one, two):
    live = deploy(one, 1, context)
    rows = 0
    for count in (1, 7, 50, 3):
        assert ask(live.url, one, count).status_code == 200
        rows += count
    deploy(two, 2, context)
    assert ask(live.url, one, 11).status_code == 200
    Local(kind="local").retire("churn", context)
    paths = sorted(Path(context.profiles_url).glob("*/*.bin"))
    found = [views.deserialize(path.read_bytes()) for path in paths]
    by_version = {view.metadata["version"]: views.rows(view) for view in found}
    assert by_version == {"1": rows, "2": 11}
    whole = views.merge(found).get_column("prediction").to_summary_dict()
    assert whole["counts/n"] == rows + 11


def test_a_taken_port_is_named(context, one):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TargetError, match=f"port {port} on 127.0.0.1.*Nothing serves"):
            deploy(one, 1, context, port=port)
        assert Local(kind="local").observe("churn", context) is None
    assert deploy(one, 1, context, port=port).url == f"http://127.0.0.1:{port}"


def test_secrets_are_readable_by_their_owner_only(context, one):
    deploy(one, 1, context)
    folder = context.state / "churn"
    holding = [
        path
        for path in folder.iterdir()
        if path.is_file() and TargetContract.SECRET in path.read_text()
    ]
    assert holding, "the environment did not reach the endpoint"
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}
    worker = endpoint.read_state(folder).worker_pid
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert f"A_TOKEN={TargetContract.SECRET}".encode() in environment


def _table(records):
    from mlops_assets.serving.runtimes.sklearn import frame
    from mlops_assets_tests.builders import SCHEMA

    return frame(SCHEMA, {name: [r[name] for r in records] for name in SCHEMA.names})
