"""A real PostgreSQL server on a free port of 127.0.0.1, in a folder that is gone afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops_assets_tests.peers.missing import MissingError

USER = "tester"
PASSWORD = "s3cret-of-the-peer"
START_SECONDS = 20
PROGRAMS = ("initdb", "postgres", "pg_isready", "createdb")


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    binaries: Path
    port: int

    def create(self, database: str) -> str:
        """The SQLAlchemy URL (bare `postgresql://`, with password) of a new, empty database."""
        arguments = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(
            [self.binaries / "createdb", *arguments], check=True, env=environment, timeout=20
        )
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"


def _binaries() -> Path:
    """The folder of the server's programs: on the path, or the newest Debian keeps off it."""
    found = shutil.which("initdb")
    on_path = [Path(found).resolve().parent] if found else []
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    complete = (
        folder for folder in (*on_path, *kept) if all((folder / name).exists() for name in PROGRAMS)
    )
    found = next(complete, None)
    if found is None:
        raise MissingError("PostgreSQL's server programs are not installed")
    return found


@contextmanager
def running() -> Iterator[Postgres]:
    """A server that asks for the password, as production does.

    Raises:
        MissingError: its programs are not on this machine.
    """
    binaries = _binaries()
    # Not pytest's tmp_path: the server's user could not enter it.
    folder = Path(tempfile.mkdtemp(prefix="mlops-postgres-"))
    port = _free_port()
    try:
        _initialise(binaries, folder)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *(binaries / "postgres", "-F", "-D", folder / "data", "-p", str(port)),
                    *("-k", folder, "-c", "listen_addresses=127.0.0.1"),
                    *("-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
                **_unprivileged(),
            )
        try:
            _wait(binaries, server, port, folder / "log")
            yield Postgres(binaries, port)
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=20)
    finally:
        shutil.rmtree(folder)


def _version(path: Path) -> float:
    return float(path.parts[-2])


def _unprivileged() -> dict[str, object]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _initialise(binaries: Path, folder: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (folder, password):
            shutil.chown(path, "postgres", "postgres")
    subprocess.run(
        [
            *(binaries / "initdb", "-D", folder / "data", "-U", USER, f"--pwfile={password}"),
            *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"),
            *("--no-sync", "--no-instructions"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        timeout=60,
        **_unprivileged(),
    )


def _wait(binaries: Path, server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False, timeout=10).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
