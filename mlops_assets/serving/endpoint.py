"""The files by which a deployer and a supervisor talk: what is wanted, and what is there.

Standard library only. One folder is one endpoint; `lock` is held while its supervisor lives.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from mlops_assets.serving.recording import Recording

DESIRED = "desired.json"
SERVING = "serving.json"
STATE = "state.json"
LOCK = "lock"
LOG = "endpoint.log"
SPOOL = "unsent"

T = TypeVar("T")


@dataclass(frozen=True)
class Desired:
    """What an endpoint is asked to serve, and how."""

    generation: int
    """Counts the requests made of this endpoint; the state names the one it answers."""
    experiment: str
    version: int
    bundle: str
    """Folder of the bundle."""
    bundle_digest: str
    host: str
    port: int | None
    """None: any free port at the first start, the same one ever after."""
    workers: int
    """Processes that answer on the one port."""
    recording: Recording | None
    """What is kept of the traffic; None keeps nothing."""
    key_env: str | None
    """Environment variable with the keys callers need, separated by commas; None asks for none."""
    max_rows: int
    max_body_bytes: int
    max_in_flight: int
    """Per worker."""
    startup_timeout_s: float
    environment_digest: str = ""
    """Of what the deployer hands over beside this file, so that another key is another request."""

    def fingerprint(self) -> str:
        """Changes when anything but the generation does."""
        content = {**asdict(self), "generation": 0}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Desired":
        recording = content["recording"]
        recorded = None if recording is None else Recording.from_json(recording)
        return cls(**{**_known(cls, content), "recording": recorded})


@dataclass(frozen=True)
class State:
    """What an endpoint does, as its supervisor last wrote it."""

    state: Literal["starting", "live", "failed", "stopped"]
    pid: int
    """The supervisor's; the endpoint is alive while the supervisor holds the lock."""
    worker_pids: tuple[int, ...]
    """Of the workers that answer."""
    url: str
    port: int
    version: int | None
    """The version that serves, or served last; None before the first."""
    bundle_digest: str
    since: str
    """ISO 8601, UTC: when this version took the traffic."""
    previous_version: int | None
    previous_digest: str
    generation: int
    """The last request answered, whether it was fulfilled or not."""
    serving_generation: int
    """The request whose worker serves; below `generation` when that one failed."""
    fingerprint: str
    """Of the request that is being served."""
    detail: str
    """The last error, or empty."""
    restarts: int = 0
    """How often a crashed worker was replaced since the supervisor started."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "State":
        pids = tuple(content.get("worker_pids", ()))
        return cls(**{**_known(cls, content), "worker_pids": pids})


def read_desired(path: Path) -> Desired:
    """The request in `path`.

    Raises:
        ValueError: the file is absent or is not a request.
    """
    return _read(path, Desired.from_json)


def read_serving(folder: Path) -> Desired | None:
    """The last request that was fulfilled; None when there is none that this program can read."""
    try:
        return read_desired(folder / SERVING)
    except ValueError:
        return None


def read_state(folder: Path) -> State | None:
    """The state of the endpoint in `folder`; None when none was ever started there.

    Raises:
        ValueError: the file is not a state.
    """
    return _read(folder / STATE, State.from_json) if (folder / STATE).exists() else None


def starting(folder: Path, *, pid: int) -> State:
    """The state of a supervisor that has just begun, with what is known from the one before.

    Raises:
        ValueError: the file of the one before is not a state.
    """
    before = read_state(folder)
    if before is None:
        return State("starting", pid, (), "", 0, None, "", "", None, "", 0, 0, "", "")
    return replace(before, state="starting", pid=pid, worker_pids=(), detail="", restarts=0)


def write(path: Path, content: Desired | State) -> None:
    """Replace the file as a whole; only its owner may read it. Each has one writer at a time, who
    goes over what one before left half written."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(content), file, indent=1, sort_keys=True)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def acquire(path: Path) -> int | None:
    """A descriptor that holds the lock until it is closed; None when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def acquire_soon(path: Path) -> int | None:
    """As `acquire`, for a second: whoever asks whether it is free holds it for an instant."""
    for _ in range(20):
        if (descriptor := acquire(path)) is not None:
            return descriptor
        time.sleep(0.05)
    return None


def alive(folder: Path) -> bool:
    """Whether a supervisor runs for the endpoint in `folder`."""
    if not (folder / LOCK).exists():
        return False
    descriptor = acquire(folder / LOCK)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def sign(descriptor: int) -> None:
    """Write into the lock who holds it, for whoever has a signal to send."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def holder(folder: Path) -> int | None:
    """The process that signed the lock; None in the instant before it did."""
    text = (folder / LOCK).read_text(encoding="utf-8")
    return int(text) if text.isdecimal() else None


def _read(path: Path, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not hold what it should: {error!r}") from error


def _known(kind: type[Any], content: dict[str, Any]) -> dict[str, Any]:
    """Without what another version of this program wrote."""
    names = {one.name for one in fields(kind)}
    return {key: value for key, value in content.items() if key in names}
