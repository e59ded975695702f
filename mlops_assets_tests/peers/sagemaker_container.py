"""A container of a SageMaker endpoint, as a process: the model's archive from S3 in a folder that
stands for /opt/ml/model, and the program that serves it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops_assets_tests.peers.aws import Aws

ROOT = Path(__file__).resolve().parents[2]
MODEL = "/opt/ml/model"
"""Where a container finds its model; stands for the folder it really has here."""
POLL_SECONDS = 0.02
END_SECONDS = 30
"""SageMaker's own patience after SIGTERM."""


@dataclass(frozen=True)
class Place:
    """What a container is started with."""

    model: Path
    port: int
    environment: Mapping[str, str]
    """Of the model, with the real folder instead of `/opt/ml/model`."""


Program = Callable[[Place], tuple[list[str], dict[str, str]]]
"""The command and the variables by which a container serves its model."""


def by_arguments(place: Place) -> tuple[list[str], dict[str, str]]:
    """Our serving program, told by its command line."""
    named = {"MLOPS_VERSION": "--version", "MLOPS_WORKERS": "--workers"}
    told = [f"{o}={place.environment[n]}" for n, o in named.items() if n in place.environment]
    folder = place.environment.get("MLOPS_BUNDLE", str(place.model))
    command = [sys.executable, "-m", "mlops_assets.serving.serve", folder]
    return [*command, f"--port={place.port}", *told], {}


def by_variables(place: Place) -> tuple[list[str], dict[str, str]]:
    """Our serving program, told by its environment alone, as the image starts it."""
    usual = {"MLOPS_BUNDLE": str(place.model), "MLOPS_PORT": str(place.port)}
    return [sys.executable, "-m", "mlops_assets.serving.serve"], usual


@dataclass
class Container:
    """One container, from its model's archive to its end."""

    aws: Aws
    model: Mapping[str, Any]
    """As `CreateModel` was told: a container's definition."""
    folder: Path
    program: Program
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    ending: threading.Event = field(default_factory=threading.Event)

    def start(self, patience: float) -> str | None:
        """Wait until it answers /ping; gives the reason when it does not."""
        (self.folder / "model").mkdir(parents=True)
        try:
            self._fetch()
        except Exception as error:  # noqa: BLE001 whatever it is, the endpoint says it
            return f"Failed to download model data: {error}"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        command, told = self.program(Place(self.folder / "model", self.port, self._environment()))
        kept = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "SSL_CERT_FILE")}
        (self.folder / "tmp").mkdir()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env={
                    **kept,
                    **self.aws.credentials,
                    "PYTHONPATH": str(ROOT),
                    "TMPDIR": str(self.folder / "tmp"),
                    **self._environment(),
                    **told,
                },
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.ping():
                return None
            if self.ending.wait(POLL_SECONDS):
                break
        return "did not pass the ping health check. Please check CloudWatch logs for this endpoint."

    @property
    def log(self) -> Path:
        return self.folder / "container.log"

    def ping(self) -> bool:
        try:
            return self.ask("GET", "/ping", b"", {}, timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str], *, timeout: float
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            said = {name.lower(): value for name, value in response.getheaders()}
            return response.status, said, response.read()
        finally:
            connection.close()

    def end(self) -> None:
        self.ending.set()
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def _environment(self) -> dict[str, str]:
        given = self.model.get("Environment") or {}
        folder = str(self.folder / "model")
        return {name: value.replace(MODEL, folder) for name, value in given.items()}

    def _fetch(self) -> None:
        s3, target = self.aws.client("s3"), self.folder / "model"
        source = (self.model.get("ModelDataSource") or {}).get("S3DataSource")
        url = source["S3Uri"] if source else self.model.get("ModelDataUrl")
        if url is None:
            return
        place = urlsplit(url)
        bucket, key = place.netloc, place.path.lstrip("/")
        if source and source["S3DataType"] == "S3Prefix" and source["CompressionType"] == "None":
            for one in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", []):
                path = target / one["Key"].removeprefix(key).lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, one["Key"], str(path))
            return
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=BytesIO(body)) as archive:
            # The Python 3.11.2 of Debian 12 has no filters yet.
            filters: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(target, **filters)
