"""One environment of a Lambda function: AWS's own runtime interface emulator around its own runtime
client, with the function's variables, timeout and memory; of a zip here, of an image in
`emulator_image`."""

import base64
import contextlib
import http.client
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WHEEL = "aws-sam-cli"
"""The package that ships the emulator's binary."""
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
RUNTIME = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What a managed runtime brings along, so no part of a function's code."""
INVOKE = "/2015-03-31/functions/function/invocations"
START_SECONDS = 10
FETCH_SECONDS = 120
NOISE = re.compile(r"^(WARNING|\[notice\])")


class UnavailableError(Exception):
    """There is no emulator on this machine, and why."""


def fetched(cache: Path | None = None) -> Path:
    """The emulator's binary, from the package that ships it; kept for later.

    Raises:
        UnavailableError: it cannot be had.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or sys.platform != "linux":
        raise UnavailableError(f"no emulator for {sys.platform} on {platform.machine()}")
    root = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "mlops-assets-tests" / "emulator"
    binary = folder / f"aws-lambda-rie-{machine}"
    if binary.exists():
        return binary
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"fetching-{os.getpid()}"
    try:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", own, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
        wheels = [*own.glob("*.whl")]
        if done.returncode or not wheels:
            said = [line for line in done.stderr.splitlines() if not NOISE.match(line)]
            raise UnavailableError(f"{WHEEL} cannot be downloaded: {' '.join(said[-2:])}")
        with zipfile.ZipFile(wheels[0]) as archive:
            (own / "binary").write_bytes(archive.read(f"samcli/local/rapid/{binary.name}"))
        (own / "binary").chmod(0o755)
        (own / "binary").rename(binary)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{WHEEL} cannot be downloaded: {error}") from error
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return binary


def runtime(folder: Path) -> Path:
    """The runtime client alone, as the managed runtime has it, in `folder`.

    Raises:
        UnavailableError: it is not installed.
    """
    folder.mkdir(parents=True)
    for name in RUNTIME:
        try:
            files = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError as error:
            raise UnavailableError(f"{name} is not installed") from error
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            whole = Path(str(importlib.metadata.distribution(name).locate_file(top)))
            (folder / top).symlink_to(whole)
    return folder


@dataclass(frozen=True)
class Function:
    """What an environment runs."""

    name: str
    version: str
    environment: Mapping[str, str]
    timeout: int
    """Seconds."""
    memory: int
    """Megabytes."""
    handler: str = ""
    code: Path | None = None
    """The folder of a zip's content; None for an image."""
    image: str = ""
    """Its ID, where there is one."""
    command: tuple[str, ...] = ()
    """For the image's entry point, in place of its own; empty for that."""

    @property
    def variables(self) -> dict[str, str]:
        """What Lambda sets, and what the function's configuration says."""
        return {
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.version,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            **self.environment,
        }


@dataclass(frozen=True)
class Said:
    """How an invocation ended."""

    payload: bytes
    failed: bool
    log: str
    seconds: float


@dataclass(frozen=True)
class Start:
    """A process with the emulator in it."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path


class Environment(ABC):
    """A started environment; its first invocation is the cold start. One caller at a time: two
    would crash the emulator."""

    def __init__(self, function: Function, folder: Path) -> None:
        self.function = function
        self.invocations = 0
        self.killed = 0
        """Times that the function took more memory than it has."""
        folder.mkdir(parents=True)
        self._log = folder / "output.log"
        self._port, api = _free_ports()
        listen = ["--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"]
        listen += ["--runtime-api-address", f"127.0.0.1:{api}"]
        start = self._start(["--log-level", "error", *listen], folder)
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                start.command,
                env=start.environment,
                cwd=start.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self._await_listening()
        except BaseException:
            self.end()
            raise

    @abstractmethod
    def _start(self, arguments: list[str], folder: Path) -> Start:
        """How the emulator is started with these arguments; `folder` is its own."""

    def invoke(self, payload: bytes, client_context: str | None = None) -> Said:
        began, seen = time.monotonic(), self._log.stat().st_size
        headers = {"X-Amz-Client-Context": client_context} if client_context else {}
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watch.start()
        patience = self.function.timeout + START_SECONDS
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=patience)
        try:
            connection.request("POST", INVOKE, payload, headers)
            response = connection.getresponse()
            status, body = response.status, response.read()
        finally:
            connection.close()
            over.set()
            watch.join()
        self.invocations += 1
        with self._log.open("rb") as log:
            log.seek(seen)
            text = log.read().decode(errors="replace")
        body, failed = _judged(status, body, text)
        return Said(body, failed, text, time.monotonic() - began)

    def runs(self) -> bool:
        """Whether the emulator is still there."""
        return self._process.poll() is None

    def pids(self) -> list[int]:
        """The runtime's processes."""
        found = []
        for path in Path(f"/proc/{self._emulator()}/task").glob("*/children"):
            try:
                found += [int(pid) for pid in path.read_text().split()]
            except OSError:
                continue
        return found

    def end(self) -> None:
        pids = self.pids()
        for pid in (self._process.pid, *pids):
            _kill(pid)
        self._process.wait(10)

    def _emulator(self) -> int:
        """The emulator's own process."""
        return self._process.pid

    def _watch(self, over: threading.Event) -> None:
        """Ends the function at once when it takes more memory than it has, as Lambda does."""
        page, limit = os.sysconf("SC_PAGE_SIZE"), self.function.memory * 1024 * 1024
        ended: set[int] = set()
        while not over.wait(0.005):
            for pid in self.pids():
                try:
                    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
                except (OSError, IndexError):
                    continue
                # Until the system has taken it all back, an ended one still holds what it took.
                if resident > limit and pid not in ended:
                    ended.add(pid)
                    self.killed += 1
                    _kill(pid)

    def _await_listening(self) -> None:
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                time.sleep(0.005)
            else:
                return
        raise RuntimeError(f"the emulator does not listen: {self._log.read_text()[-2000:]}")


class Unpacked(Environment):
    """Of the content of a zip."""

    def __init__(self, binary: Path, runtime: Path, function: Function, folder: Path) -> None:
        self._binary = binary
        self._runtime = runtime
        super().__init__(function, folder)

    def _start(self, arguments: list[str], folder: Path) -> Start:
        code = self.function.code
        assert code is not None, f"{self.function.name} is no zip"
        (folder / "tmp").mkdir()
        # The interpreter without the packages of this project, as a managed runtime is.
        python = [sys._base_executable, "-S", "-m", "awslambdaric", self.function.handler]
        environment = {
            **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "SSL_CERT_FILE")},
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
            "TMPDIR": str(folder / "tmp"),  # no other environment's
            "LAMBDA_TASK_ROOT": str(code),
            "PYTHONPATH": f"{code}{os.pathsep}{self._runtime}",
            **self.function.variables,
        }
        return Start([str(self._binary), *arguments, *python], environment, code)


def _judged(status: int, body: bytes, log: str) -> tuple[bytes, bool]:
    """The payload as Lambda's own API gives it, and whether it is an error."""
    request = next(iter(re.findall(r"START RequestId: (\S+)", log)), "")
    if body.startswith(b"Task timed out after"):
        said = {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {request} Error: {body.decode()}",
        }
        return json.dumps(said).encode(), True
    if status != 200:
        return body, True
    try:
        content = json.loads(body)
    except ValueError:
        return body, False
    failed = isinstance(content, dict) and {"errorType", "errorMessage"} <= content.keys()
    return body, failed


def tail(log: str) -> str:
    """The last 4 KB, as `LogType=Tail` gives them."""
    return base64.b64encode(log.encode()[-4096:]).decode()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as b:
        return one.getsockname()[1], b.getsockname()[1]
