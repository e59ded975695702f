"""What runs beside a project: Dagster's daemon, an MLflow server, the receiver of webhooks."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from mlops_assets_tests.commands.project import PROGRAM, Project
from mlops_assets_tests.endpoints import until

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120
SENDING = {
    # By default it sends over https to public addresses alone, and knows new ones after a minute.
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@contextmanager
def daemon(project: Project) -> Iterator[None]:
    """`dagster-daemon run` on the project, beside the one server that holds its definitions, as
    `make dev` and the cluster have it. Without one the daemon starts another every minute; without
    the name it would know nothing of what sensors remember from another port."""
    port = str(free_port())
    location = {"host": "127.0.0.1", "port": int(port), "location_name": "mlops_assets"}
    workspace = project.root / "workspace.yaml"
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": location}]}))
    server = (
        "-m", "dagster", "api", "grpc", "-m", "mlops_assets.definitions", "-h", "127.0.0.1",
        "-p", port,
    )  # fmt: skip
    ticking = ("-m", "dagster._daemon", "run", "-w", str(workspace))
    home = {"DAGSTER_HOME": str(project.settings.dagster_home)}
    with _running(project, server, home):
        until(lambda: _accepts(int(port)), PATIENCE)
        with _running(project, ticking, home):
            yield


@contextmanager
def mlflow_server(project: Project, *, keeps_artifacts: bool = False) -> Iterator[str]:
    """An MLflow server over the project's own store, which can send webhooks here; its URL.

    With `keeps_artifacts` nobody else reaches those, as in `deploy/k8s`.
    """
    port = free_port()
    settings = project.settings
    place = "--artifacts-destination" if keeps_artifacts else "--default-artifact-root"
    command = (
        "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", settings.tracking_uri, place, settings.artifacts_url,
    )  # fmt: skip
    key = {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode()}
    with _running(project, command, {**SENDING, **key}):
        url = f"http://127.0.0.1:{port}"
        _answers(f"{url}/health")
        yield url


@contextmanager
def receiver(project: Project) -> Iterator[str]:
    """`mlops webhooks` of the project; its URL."""
    port = free_port()
    with _running(project, ("-c", PROGRAM, "webhooks", "--port", str(port)), {}):
        url = f"http://127.0.0.1:{port}/"
        _answers(f"{url}health")
        yield url


@contextmanager
def webserver(project: Project) -> Iterator[str]:
    """Dagster's webserver on the project; its URL."""
    port = free_port()
    command = (
        "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port),
        "-m", "mlops_assets.definitions",
    )  # fmt: skip
    with _running(project, command, {"DAGSTER_HOME": str(project.settings.dagster_home)}):
        url = f"http://127.0.0.1:{port}"
        _answers(f"{url}/server_info")
        yield url


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> None:
    def healthy() -> bool:
        try:
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    until(healthy, PATIENCE)


@contextmanager
def _running(
    project: Project, command: tuple[str, ...], environment: dict[str, str]
) -> Iterator[None]:
    name = command[1].rpartition(".")[2] if command[0] == "-m" else command[2]
    with (project.root / f"{name.strip('_')}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=project.root,
            env={**project.environment, **environment, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
