"""The foreground program, as a person or a container runs it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlops_assets.serving import bundle
from mlops_assets.serving.client import Client, EndpointError
from mlops_assets_tests.builders import Built, make_bundle

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("one") / "bundle")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mlops_assets.serving.serve", *map(str, arguments)]


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
