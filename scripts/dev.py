"""`make dev`: the MLflow server and Dagster (webserver and daemon) on this machine, until Ctrl-C.

Both work on the state that `mlops run` uses. When one of them dies, everything ends.
"""

import argparse
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mlops_assets import settings
from mlops_assets.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180
STOP_SECONDS = 20


class Stopped(Exception):  # noqa: N818
    """Somebody asked us to end."""


class DevError(Exception):
    """The servers cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Server:
    """One server: what to start, and how to see that it answers."""

    name: str
    port: int
    path: str
    """A page that answers 200 once the server is ready."""
    command: tuple[str, ...]
    option: str
    """The make variable that moves its port."""
    log: Path | None = None
    """Where its output goes; None for the terminal."""


def main() -> int:
    asked = _parse()
    # The default handlers would leave servers behind; and a shell that started us in the
    # background made us, and with us every child, ignore Ctrl-C, unless a handler is set.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    os.chdir(ROOT)
    chosen = settings.load({"MLOPS_ROOT": str(ROOT), **os.environ})
    try:
        return _run(chosen, asked)
    except Stopped:
        print("\nStopped. Endpoints go on serving: `mlops stop NAME` ends one.", flush=True)
        return 0
    except DevError as error:
        print(f"make dev: {error}", file=sys.stderr, flush=True)
        return 1


def _run(chosen: Settings, asked: argparse.Namespace) -> int:
    servers = [_dagster(asked.host, asked.dagster_port)]
    mlflow_url = chosen.tracking_uri
    if not chosen.tracking_uri.startswith(("http://", "https://")):
        servers.insert(0, _mlflow(chosen, asked.host, asked.mlflow_port))
        mlflow_url = f"http://{asked.host}:{asked.mlflow_port}"
    dagster_url = f"http://{asked.host}:{asked.dagster_port}"
    for server in servers:
        _check_port(asked.host, server)
    environment = {
        "MLOPS_DAGSTER_URL": dagster_url,
        "MLOPS_MLFLOW_URL": mlflow_url,
        **os.environ,
        "MLOPS_ROOT": str(chosen.root),
        "DAGSTER_HOME": str(_dagster_home(chosen)),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Nothing here queues MLflow jobs; without them it is 2 processes instead of 10.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    chosen.home.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        running = [(s, stack.enter_context(_started(s, environment))) for s in servers]
        print("Starting Dagster and MLflow, about 20 seconds ...", flush=True)
        deadline = time.monotonic() + START_SECONDS
        for server, _ in running:
            while not _answers(asked.host, server):
                _check_alive(running)
                if time.monotonic() > deadline:
                    raise DevError(f"{server.name} did not answer within {START_SECONDS} s")
                time.sleep(0.3)
        print(
            f"\n  Dagster  {dagster_url}\n  MLflow   {mlflow_url}\n\nCtrl-C stops both.\n",
            flush=True,
        )
        while True:
            _check_alive(running)
            time.sleep(0.5)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    return parser.parse_args()


def _mlflow(chosen: Settings, host: str, port: int) -> Server:
    command = (sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port))
    store = ("--backend-store-uri", chosen.tracking_uri)
    artifacts = ("--default-artifact-root", chosen.artifacts_url)
    log = chosen.home / "mlflow-server.log"
    return Server("MLflow", port, "/health", command + store + artifacts, "MLFLOW_PORT", log)


def _dagster(host: str, port: int) -> Server:
    command = (sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", host)
    return Server("Dagster", port, "/server_info", (*command, "-p", str(port)), "DAGSTER_PORT")


def _dagster_home(chosen: Settings) -> Path:
    """The folder of Dagster's state, with a link to the settings that stand at the top."""
    home = chosen.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.unlink(missing_ok=True)
        config.symlink_to(os.path.relpath(ROOT / "dagster.yaml", home))
    return home


def _check_port(host: str, server: Server) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, server.port))
        except OSError as error:
            raise DevError(
                f"{host}:{server.port} is not free for {server.name} ({error.strerror}). Stop what "
                f"listens there, or: make dev {server.option}={server.port + 1}"
            ) from error


@contextlib.contextmanager
def _started(server: Server, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The server in its own session, so that Ctrl-C reaches us alone and we end it in order."""
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(server.log.open("wb")) if server.log else None
        process = subprocess.Popen(
            server.command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # From here on another Ctrl-C must not leave a server behind; the wait below is bounded.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    # Whatever of its children is still there. Endpoints are not: they have their own sessions.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _check_alive(running: list[tuple[Server, subprocess.Popen[bytes]]]) -> None:
    for server, process in running:
        if (code := process.poll()) is not None:
            where = f"see {server.log}" if server.log else "its last words stand above"
            raise DevError(f"{server.name} ended with exit code {code}; {where}")


def _answers(host: str, server: Server) -> bool:
    # No urllib: a proxy set for the network must not be asked for our own machine.
    connection = http.client.HTTPConnection(host, server.port, timeout=5)
    try:
        connection.request("GET", server.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
