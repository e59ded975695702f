"""Profiles every scored row in the background, and leaves one increment per flush on the store.

What can be lost: rows over the queue's bound (counted), and on kill -9 the rows since the last
flush. A stopped process loses nothing: what the store does not take is spooled on local disk.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.scorer import Columns, Scores

if TYPE_CHECKING:
    from mlops_assets.serving.schema import InputSchema

log = logging.getLogger(__name__)

STAMP = "%Y%m%dT%H%M%SZ"
BATCH_SECONDS = 0.5
CLOSE_ATTEMPTS = 3

Batch = tuple[Columns, Scores, datetime]
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


def window_start(when: datetime, seconds: int) -> datetime:
    """The start (UTC) of the window of that many seconds in which `when` lies; weeks begin on
    Mondays."""
    since = int((when - MONDAY).total_seconds())
    return MONDAY + timedelta(seconds=since - since % seconds)


class Profiler:
    """A thread that turns rows into one profile per window.

    Attributes:
        pending_rows: rows handed over and not yet profiled, at most `max_pending_rows`.
        dropped_rows: rows refused because the queue was full, or that whylogs could not take.
        flush_failures: increments the store did not take at the first try.
        last_flush: when the store last took an increment, seconds since the epoch.
    """

    def __init__(
        self,
        schema: "InputSchema",
        *,
        url: str,
        window_seconds: int,
        spool: Path,
        metadata: dict[str, str],
        flush_seconds: float = 10.0,
        max_pending_rows: int = 100_000,
        on_rows: Callable[[Columns, Scores], None] | None = None,
    ) -> None:
        self.logged_rows = 0
        self._on_rows = on_rows
        self.pending_rows = 0
        self.dropped_rows = 0
        self.flush_failures = 0
        self.last_flush: float | None = None
        self._schema = schema
        self._url = url
        self._window_seconds = window_seconds
        self._spool = spool
        self._metadata = metadata
        self._flush_seconds = flush_seconds
        self._max_pending_rows = max_pending_rows
        self._queue: deque[Batch] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._profiles: dict[datetime, Any] = {}
        self._unsent: dict[str, bytes] = {}
        self._store: Any = None
        self._thread = threading.Thread(target=self._run, name="profiler", daemon=True)

    def start(self) -> None:
        """Begin; whylogs is imported now, in the thread, so call this once requests are served."""
        self._thread.start()

    def submit(
        self,
        columns: Columns,
        scores: Scores,
        when: datetime | float,
        request_id: str = "",
        entities: list[Any] | None = None,
    ) -> None:
        """Hand over the rows of one request; returns at once."""
        if isinstance(when, float):
            when = datetime.fromtimestamp(when, UTC)
        rows = len(scores.predictions)
        with self._lock:
            if self.pending_rows + rows > self._max_pending_rows:
                self.dropped_rows += rows
                return
            self.pending_rows += rows
            self._queue.append((columns, scores, when))

    def close(self) -> None:
        """Profile what is queued and flush; returns when it is on the store or spooled."""
        self._closing.set()
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join()

    def _run(self) -> None:
        from mlops_assets.serving import profile

        if not self._closing.is_set():
            profile.prepare()
        due = time.monotonic() + self._flush_seconds
        while not self._closing.wait(BATCH_SECONDS):
            self._track()
            if time.monotonic() >= due:
                self._flush()
                due = time.monotonic() + self._flush_seconds
        self._track()
        for attempt in range(CLOSE_ATTEMPTS):
            if self._flush():
                return
            time.sleep(0.2 * 2**attempt)
        self._keep()

    def _track(self) -> None:
        with self._lock:
            batches = list(self._queue)
            self._queue.clear()
        windows: dict[datetime, list[Batch]] = {}
        for batch in batches:
            windows.setdefault(window_start(batch[2], self._window_seconds), []).append(batch)
        for start, group in windows.items():
            self._track_window(start, group)

    def _track_window(self, start: datetime, batches: list[Batch]) -> None:
        from mlops_assets.serving import profile

        columns: Columns = {
            name: [value for batch in batches for value in batch[0][name]]
            for name in self._schema.names
        }
        scores = Scores(
            [value for batch in batches for value in batch[1].predictions],
            [row for batch in batches for row in batch[1].probabilities],
        )
        rows = len(scores.predictions)
        if self._on_rows is not None:
            self._on_rows(columns, scores)
        try:
            if start not in self._profiles:
                self._profiles[start] = profile.new_profile(start, metadata=self._metadata)
            profile.track(self._profiles[start], self._schema, columns, scores)
        except Exception:  # whatever whylogs makes of a row, the endpoint goes on
            log.exception("%d rows could not be profiled", rows)
            self.dropped_rows += rows
        with self._lock:
            self.pending_rows -= rows

    def _flush(self) -> bool:
        """Bring everything to the store; False when it does not take it.

        An increment keeps its name until it is taken, so a write that failed only seemingly is
        repeated, not counted twice. Meanwhile new rows gather in the windows' profiles.
        """
        if not self._unsent:
            self._cut()
        try:
            for name, content in [*self._unsent.items()]:
                self._write(name, content)
                del self._unsent[name]
                self.last_flush = time.time()
            self._send_spooled()
        except Exception as error:  # noqa: BLE001 a store fails in as many ways as there are stores
            self.flush_failures += 1
            log.warning("the profile store %s did not take a profile: %r", self._url, error)
            return False
        return not self._profiles or self._flush()

    def _cut(self) -> None:
        from mlops_assets.serving import profile

        now = datetime.now(UTC)
        for start, one in self._profiles.items():
            owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"
            name = f"{start.strftime(STAMP)}/{now.strftime(STAMP)}-{owner}.bin"
            self._unsent[name] = profile.serialize(one)
        self._profiles = {}

    def _write(self, name: str, content: bytes) -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        if self._store is None:
            self._store = fsspec.core.url_to_fs(self._url)
        store, root = self._store
        if isinstance(store, LocalFileSystem):
            _write_local(Path(root) / name, content)
        else:
            store.pipe_file(f"{root.rstrip('/')}/{name}", content)

    def _keep(self) -> None:
        self._cut()
        for name, content in self._unsent.items():
            _write_local(self._spool / name, content)
        log.error("%d profiles wait in %s for the store", len(self._unsent), self._spool)

    def _send_spooled(self) -> None:
        for path in sorted(self._spool.glob("*/*.bin")):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # another process of this endpoint has sent it
            self._write(f"{path.parent.name}/{path.name}", content)
            path.unlink(missing_ok=True)


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
