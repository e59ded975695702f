"""The foreground program, as a person or a container runs it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mlops_assets.serving import bundle
from mlops_assets.serving.client import Client, EndpointError
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.peers.embedded_metrics import points

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle")


def command(*arguments: object, program: str = "mlops_assets.serving.serve") -> list[str]:
    return [sys.executable, "-m", program, *map(str, arguments)]


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), **more}


@contextmanager
def served(tmp_path: Path, *arguments: object, **variables: str) -> Iterator[tuple[str, str]]:
    """Yields the URL and the curl line; ended as Ctrl-C ends it."""
    process = subprocess.Popen(
        command(*arguments, "--port=0"),
        env=environment(tmp_path, **variables),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)
    reader.start()
    try:
        first = process.stdout.readline()
        assert " answers at http" in first, "".join(log)
        yield first.rsplit(" ", 1)[1].strip(), process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, "".join(log)
        reader.join(10)
        process.stdout.close()
        process.stderr.close()


def test_a_bundle_is_served_until_ctrl_c_and_leaves_nothing_behind(one, tmp_path):
    profiles = tmp_path / "profiles"
    options = (one.folder, "--workers=2", "--version=7", f"--profiles-url={profiles}")
    with served(tmp_path, *options) as (url, curl):
        with Client(url) as client:
            answer = client.predict(one.records(4))
            assert (answer.model, answer.version) == ("churn", "7")
            assert client.ready()
            assert client.metadata("churn")["version"] == "7"
        said = subprocess.run(["bash", "-c", curl], capture_output=True, check=True).stdout
        golden = bundle.read_golden(one.folder)
        assert json.loads(said)["predictions"] == list(golden.predictions[:1])
    assert {path.name for path in tmp_path.iterdir()} == {"profiles"}
    assert list(profiles.glob("*/*.bin"))


def test_keys_come_from_the_environment(one, tmp_path):
    with served(tmp_path, one.folder, "--key-env=KEYS", KEYS="old, new") as (url, curl):
        for key in ("old", "new"):
            with Client(url, key) as client:
                assert client.predict(one.records(1)).version == "0"
        with Client(url) as client, pytest.raises(EndpointError, match="401 unauthorized"):
            client.predict(one.records(1))
        assert "${KEYS%%,*}" in curl
        assert "old" not in curl


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "golden.json").write_text("{}"), "is not the file its manifest describes"),
        (lambda f: (f / "model.onnx").unlink(), "lacks ['model.onnx']"),
        (lambda f: (f / "extra.pkl").write_bytes(b"x"), "holds ['extra.pkl']"),
        (lambda f: (f / "manifest.json").unlink(), "is no bundle"),
    ],
)
def test_a_damaged_bundle_is_refused_with_the_reason(one, tmp_path, damage, said):
    folder = shutil.copytree(one.folder, tmp_path / "bundle")
    damage(folder)
    done = subprocess.run(
        command(folder, "--port=0"),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pickle_in_place_of_the_model_ends_the_program_before_it_serves(one, tmp_path):
    folder = shutil.copytree(one.folder, tmp_path / "bundle")
    (folder / "model.onnx").write_bytes(b"\x80\x04N.")
    bundle.seal(folder, one.manifest)
    done = subprocess.run(
        command(folder, "--port=0"),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "not a loadable ONNX graph" in done.stderr


def test_without_the_key_it_asks_for_nothing_is_served_open(one, tmp_path):
    done = subprocess.run(
        command(one.folder, "--port=0", "--key-env=KEYS"),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "variable KEYS holds no key" in done.stderr


def test_a_taken_port_is_named(one, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            command(one.folder, f"--port={port}"),
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be had" in done.stderr


def in_a_container(tmp_path: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """As an image starts it: everything by variables."""
    return subprocess.Popen(
        command(*words, program="mlops_assets.serving"),
        env=environment(tmp_path, **variables),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("words", [(), ("serve",)])
def test_variables_say_what_is_served(one, tmp_path, words):
    recording = {"profiles_url": str(tmp_path / "profiles"), "window_seconds": 60}
    process = in_a_container(
        tmp_path,
        *words,
        MLOPS_BUNDLE=str(one.folder),
        MLOPS_BUNDLE_DIGEST=one.digest,
        MLOPS_VERSION="7",
        MLOPS_PORT="0",
        MLOPS_KEYS="old,new",
        MLOPS_MAX_ROWS="2",
        MLOPS_RECORDING=json.dumps(recording),
    )
    url = process.stdout.readline().rsplit(" ", 1)[-1].strip()
    try:
        assert url.startswith("http://127.0.0.1:"), process.stderr.read()
        with Client(url, "new") as client:
            assert client.predict(one.records(2)).version == "7"
            with pytest.raises(EndpointError, match="at most 2"):
                client.predict(one.records(3))
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert list((tmp_path / "profiles").glob("*/*.bin"))


def test_what_workers_write_for_cloudwatch_adds_up_to_what_they_answered(one, tmp_path):
    """Two of them, on one pipe; the last of it when they end."""
    dimensions = {"Endpoint": "mlops-churn", "Version": "v7"}
    recording = {"profiles_url": str(tmp_path / "profiles"), "window_seconds": 60}
    process = in_a_container(
        tmp_path,
        MLOPS_BUNDLE=str(one.folder),
        MLOPS_PORT="0",
        MLOPS_WORKERS="2",
        MLOPS_RECORDING=json.dumps(recording),
        MLOPS_EMBEDDED_METRICS=json.dumps(dimensions),
    )
    written = []
    while not written or " answers at " not in written[-1]:
        written.append(process.stdout.readline())
        assert written[-1], process.stderr.read()
    url = written[-1].rsplit(" ", 1)[-1].strip()
    try:
        for _ in range(20):
            with Client(url) as client:
                client.predict(one.records(3))
                with pytest.raises(EndpointError, match="missing_field"):
                    client.predict([{}])
    finally:
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    found = Counter()
    for line in [*written, *out.splitlines()]:
        for point in points(line):
            assert dict(point.key[2]) == dimensions
            found[point.key[1]] += point.value
    assert (found["rows"], found["refused=missing_field"]) == (60, 20)
    assert sum(count for name, count in found.items() if name.startswith("label=")) == 60


@pytest.mark.parametrize(
    ("variables", "status", "said"),
    [
        ({"MLOPS_BUNDLE_DIGEST": "0" * 64}, 1, f"{'0' * 64} was to be served"),
        ({"MLOPS_RECORDING": "{"}, 1, "MLOPS_RECORDING does not say what is recorded"),
        ({"MLOPS_EMBEDDED_METRICS": "1"}, 1, "MLOPS_EMBEDDED_METRICS is '1'"),
        ({"MLOPS_PORT": "tcp://10.0.0.1:80"}, 2, "argument --port"),
        ({"MLOPS_KEYS": ""}, 1, "variable MLOPS_KEYS holds no key"),
        ({"MLOPS_BUNDLE": "file:///nowhere/churn.tar.gz"}, 1, "cannot be fetched"),
        ({"MLOPS_BUNDLE": ""}, 2, "required: bundle"),
    ],
)
def test_variables_that_cannot_be_are_refused(one, tmp_path, variables, status, said):
    process = in_a_container(
        tmp_path, **{"MLOPS_BUNDLE": str(one.folder), "MLOPS_PORT": "0", **variables}
    )
    out, log = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "")
    assert said in log
    assert "Traceback" not in log
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stuck(one, tmp_path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """An endpoint whose archive does not come: the process, its URL, and the pipe it reads from."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    pipe = tmp_path / "model.tar"
    os.mkfifo(pipe)
    process = in_a_container(tmp_path, MLOPS_BUNDLE=str(pipe), MLOPS_PORT=str(port))
    url = f"http://127.0.0.1:{port}"
    until(lambda: answered(f"{url}/ping"))
    yield process, url, pipe
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what fetches, too
    process.communicate()


def answered(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, timeout=5)
    except httpx.ConnectError:
        return None


def test_until_it_is_ready_it_says_so_and_is_alive(one, stuck):
    process, url, pipe = stuck
    for path in ("/ping", "/v2/health/ready"):
        answer = httpx.get(url + path)
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        assert answer.headers["retry-after"] == "1"
    assert httpx.get(f"{url}/v2/health/live").json() == {"live": True}
    assert httpx.head(f"{url}/v2/health/live").status_code == 200
    refused = httpx.post(f"{url}/invocations", json={"instances": one.records(300)})
    assert (refused.status_code, refused.json()["error"]) == (503, "not_ready")

    with pipe.open("wb") as end, tarfile.open(fileobj=end, mode="w|") as archive:
        archive.add(one.folder, "churn")
    assert " answers at http" in process.stdout.readline()
    for _ in range(50):
        assert httpx.get(f"{url}/ping").status_code == 200
    with Client(url) as client:
        assert client.predict(one.records(1)).version == "0"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_it_can_be_ended_while_the_bundle_is_on_its_way(stuck, tmp_path):
    process, _, pipe = stuck
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == [pipe]
