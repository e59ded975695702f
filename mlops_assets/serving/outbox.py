"""Files on their way to a store, on local disk until it has them. Knows bytes and names only.

A file is written once, whole, under a name that nobody else uses: whoever sends it again, this
process after a failure or the next one after a crash, changes nothing on the store.
"""

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlops_assets.serving.recording import Bounds

log = logging.getLogger(__name__)

_DESTINATION = "destination"
"""The file in a folder of the spool that holds the URL its other files are sent to."""
_HELD_BYTES = 16_000_000
"""What is kept in memory when local disk takes nothing."""
_S3_LIMITS = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 1}}

_File = tuple[str, str, bytes]
"""URL of a folder, name below it, content."""


class Outbox:
    """A thread that brings files to their stores, as often as it takes.

    Attributes:
        failures: attempts that a store, or local disk, refused.
        refused: the last attempt was one of them.
        last_sent: when a store last took a file, seconds since the epoch.
        waiting_bytes: size of what no store has taken yet.
    """

    def __init__(
        self,
        spool: Path,
        *,
        bounds: Bounds,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.failures = 0
        self.refused = False
        self.last_sent: float | None = None
        self.waiting_bytes = 0
        self._spool = spool
        self._bounds = bounds
        self._clock = clock
        self._held: deque[_File] = deque()
        self._stores: dict[str, Any] = {}
        self._wake = threading.Event()
        self._counting = threading.Lock()
        """Held while a file is added or all are counted, so that none is missed."""
        self._empty = threading.Event()
        self._empty.set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._thread.start()

    def put(self, url: str, name: str, content: bytes, *, droppable: bool) -> bool:
        """Take a file for the store; False when there is no room for it, and it is lost.

        Args:
            url: fsspec URL of a folder.
            name: path below it, `<folder>/<file>`.
            content: the whole file.
            droppable: it may take no more room than the bounds allow.
        """
        if droppable and self.waiting_bytes + len(content) > self._bounds.spool_bytes:
            return False
        with self._counting:
            if not self._keep(url, name, content):
                if self._held_bytes() + len(content) > _HELD_BYTES:
                    return False
                self._held.append((url, name, content))
            self.waiting_bytes += len(content)
            self._empty.clear()
        self._wake.set()
        return True

    def wait(self, seconds: float) -> bool:
        """Wait until stores have everything; False when that takes longer."""
        return self._empty.wait(max(0.0, seconds))

    def close(self) -> None:
        """Try once more; returns when all is on its store, or on disk for the next process."""
        self._closing.set()
        self._wake.set()
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join(self._bounds.patience_seconds)
        lost = [
            name for url, name, content in list(self._held) if not self._keep(url, name, content)
        ]
        if lost:
            log.error("neither store nor disk took %s: lost", ", ".join(lost))
        if waiting := sum(1 for _ in self._waiting()):
            log.error("%d files wait in %s for their store", waiting, self._spool)

    def _keep(self, url: str, name: str, content: bytes) -> bool:
        folder = self._spool / hashlib.sha256(url.encode()).hexdigest()[:16]
        try:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)  # rows may be personal
            if not (folder / _DESTINATION).exists():
                _write_local(folder / _DESTINATION, url.encode())
            _write_local(folder / name, content)
        except OSError as error:
            self.failures += 1
            log.warning("local disk did not take %s: %s", folder / name, error)
            return False
        return True

    def _run(self) -> None:
        first, most = self._bounds.retry_seconds
        pause = first
        while not self._closing.is_set():
            if self._send():
                pause = first
                self._wake.wait()
            else:
                self._closing.wait(pause)
                pause = min(2 * pause, most)
            self._wake.clear()
        for last in (*self._bounds.last_pauses, 0.0):
            if self._send():
                return
            time.sleep(last)

    def _send(self) -> bool:
        """One attempt at everything; False when a store refused something."""
        refusing = {url for url, files in self._by_store().items() if not self._send_to(url, files)}
        self.refused = bool(refusing)
        with self._counting:
            self.waiting_bytes = sum(size for _, size in self._waiting()) + self._held_bytes()
            if not self.waiting_bytes:
                self._empty.set()
        return not refusing

    def _by_store(self) -> dict[str, list[Path | _File]]:
        found: dict[str, list[Path | _File]] = {}
        for path, _ in self._waiting():
            with suppress(OSError):
                url = (path.parents[1] / _DESTINATION).read_text(encoding="utf-8")
                found.setdefault(url, []).append(path)
        for held in list(self._held):
            found.setdefault(held[0], []).append(held)
        return found

    def _send_to(self, url: str, files: list[Path | _File]) -> bool:
        try:
            for file in files:
                if isinstance(file, Path):
                    self._send_spooled(url, file)
                else:
                    self._write(url, file[1], file[2])
                    self._held.remove(file)
                self.last_sent = self._clock()
        except Exception as error:  # noqa: BLE001 a store fails in as many ways as there are stores
            self.failures += 1
            log.warning("the store %s did not take a file: %r", url, error)
            return False
        return True

    def _send_spooled(self, url: str, path: Path) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return  # another process of this endpoint has sent it
        self._write(url, f"{path.parent.name}/{path.name}", content)
        path.unlink(missing_ok=True)

    def _write(self, url: str, name: str, content: bytes) -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        if url not in self._stores:
            options: dict[str, Any] = {}
            if url.startswith("s3://"):
                options = {"config_kwargs": _S3_LIMITS}
            self._stores[url] = fsspec.core.url_to_fs(url, **options)
        store, root = self._stores[url]
        if isinstance(store, LocalFileSystem):
            _write_local(Path(root) / name, content)
        else:
            store.pipe_file(f"{root.rstrip('/')}/{name}", content)

    def _held_bytes(self) -> int:
        return sum(len(content) for _, _, content in list(self._held))

    def _waiting(self) -> Iterator[tuple[Path, int]]:
        """Files on local disk and their sizes, oldest window first."""
        for path in sorted(self._spool.glob("*/*/*")):
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    yield path, path.stat().st_size


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
