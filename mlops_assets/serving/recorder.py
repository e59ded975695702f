"""Profiles every scored row in the background, logs it when asked, and leaves both on the store.

What can be lost: rows over the queue's bound, rows of the log over the disk's bound (both counted),
and on kill -9 the rows since the last flush. A stopped process loses nothing: what the store does
not take waits on local disk for the next process.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.contents import Contents, Counting
from mlops_assets.serving.encoding import InputEncoding
from mlops_assets.serving.outbox import Outbox
from mlops_assets.serving.prediction_log import PredictionLog
from mlops_assets.serving.recording import (
    STAMP,
    Answered,
    Bounds,
    Recording,
    window_start,
)
from mlops_assets.serving.scorer import Columns, Scores

if TYPE_CHECKING:
    from mlops_assets.serving.profile import Profile

log = logging.getLogger(__name__)

TURN_SECONDS = 0.0003
PAUSE_SECONDS = 0.00005


class Recorder:
    """A thread that turns rows into one profile per window, and into the prediction log.

    Attributes:
        pending_rows: handed over and not yet profiled.
        dropped_rows: refused because too many were pending, or because of their values.
        logged_rows: written to the prediction log.
        dropped_log_rows: meant for the log, and lost: no room, or values it cannot hold.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        recording: Recording,
        version: str,
        spool: Path,
        encoding: InputEncoding | None = None,
        on_rows: Callable[[Contents], None] | None = None,
        bounds: Bounds = Bounds(),  # noqa: B008 frozen
    ) -> None:
        """
        Args:
            manifest: of the bundle that is served.
            recording: what is kept, and where.
            version: of the model.
            spool: folder on local disk for what the store has not taken; processes may share it.
            encoding: of the matrix that the model is asked with, where there is one.
            on_rows: told of every batch of rows, in the recorder's thread.
            bounds: of memory, disk and patience.

        Raises:
            ValueError: the log is to hold a column that the model does not have.
        """
        self.pending_rows = 0
        self.dropped_rows = 0
        self.logged_rows = 0
        self.dropped_log_rows = 0
        self._schema = manifest.schema
        self._recording = recording
        self._bounds = bounds
        self._metadata = {"model": manifest.model, "version": version}
        self._on_rows = on_rows
        self._counting = Counting(manifest.schema, encoding)
        self._most_pending = bounds.pending_cells // len(manifest.schema.columns)
        self._most_logged = bounds.log_cells // len(manifest.schema.columns)
        self._queue: deque[Answered] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._asked: deque[threading.Event] = deque()
        self._closing = False
        self._profiles: dict[datetime, Profile] = {}
        self._outbox = Outbox(spool, bounds=bounds)
        self._rows = PredictionLog(
            manifest, version=version, sample=recording.log_sample, columns=recording.log_columns
        )
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def flush_failures(self) -> int:
        """Attempts at bringing a file to the store, or to local disk, that failed."""
        return self._outbox.failures

    @property
    def last_flush(self) -> float | None:
        """When the store last took a file, seconds since the epoch."""
        return self._outbox.last_sent

    @property
    def waiting_bytes(self) -> int:
        """Size of the files that the store has not taken yet."""
        return self._outbox.waiting_bytes

    def start(self) -> None:
        """Begin, and send what an earlier process of this endpoint left."""
        # Here, because importing in a thread holds up the requests that are answered meanwhile.
        import whylogs_sketching  # noqa: F401

        from mlops_assets.serving import profile  # noqa: F401

        self._outbox.start()
        self._thread.start()

    def submit(
        self,
        columns: Columns,
        scores: Scores,
        *,
        when: float,
        request_id: str,
        entities: list[Any] | None = None,
    ) -> None:
        """Hand over the rows of one request, answered at `when` (seconds since the epoch); returns
        at once. The lists are not copied: leave them as they are."""
        # Lists that nobody needs end here, where they still are in the processor's cache.
        kept = self._recording.log_url is not None or self._counting.needs_lists(scores)
        answered = Answered(columns if kept else None, scores, when, request_id, entities)
        with self._lock:
            pending = self.pending_rows + answered.rows
            if self._closing or (self.pending_rows and pending > self._most_pending):
                self.dropped_rows += answered.rows
                return
            self.pending_rows = pending
            self._queue.append(answered)
        if 2 * pending > self._most_pending:
            self._wake.set()

    def flush(self, patience: float) -> bool:
        """Bring everything to the store now, for a process that may be frozen at any moment;
        whether it has it within `patience` seconds."""
        end = time.monotonic() + patience
        done = threading.Event()
        self._asked.append(done)
        self._wake.set()
        return done.wait(patience) and self._outbox.wait(end - time.monotonic())

    def close(self) -> None:
        """Record what was handed over; returns when it is on the store or on local disk."""
        with self._lock:
            self._closing = True
        self._wake.set()
        if self._thread.ident is None:
            self.start()
        self._thread.join()
        self._outbox.close()

    def _run(self) -> None:
        flushed = time.monotonic()
        while not self._closing:
            self._wake.wait(self._bounds.batch_seconds)
            self._wake.clear()
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            self._record()
            now = time.monotonic()
            if asked or now - flushed >= self._flush_seconds():
                self._flush()
                flushed = now
            for done in asked:
                done.set()
        self._record()
        self._flush()

    def _flush_seconds(self) -> float:
        """While the store takes nothing, profiles grow instead of becoming more files."""
        if self._outbox.refused:
            return max(self._recording.flush_seconds, self._bounds.outage_seconds)
        return self._recording.flush_seconds

    def _record(self) -> None:
        with self._lock:
            batches = list(self._queue)
            self._queue.clear()
        windows: dict[datetime, list[Answered]] = {}
        for batch in batches:
            start = window_start(batch.when, self._recording.window_seconds)
            windows.setdefault(start, []).append(batch)
        for start, group in windows.items():
            self._profile(start, group)
            for answered in group if self._recording.log_url else ():
                self._rows.add(start, answered)
                if self._rows.rows >= self._most_logged:
                    self._flush_log()
        with self._lock:
            self.pending_rows -= sum(batch.rows for batch in batches)

    def _profile(self, start: datetime, batches: list[Answered]) -> None:
        from mlops_assets.serving.profile import Profile

        turn = _Turn()
        try:
            contents = self._counting.of(batches, between=turn.give_way)
            if start not in self._profiles:
                self._profiles[start] = Profile(self._schema, when=start, metadata=self._metadata)
            self._profiles[start].add(contents, between=turn.give_way)
        except Exception:  # one request must not cost the others their rows
            if len(batches) > 1:
                for batch in batches:
                    self._profile(start, [batch])
            else:
                log.exception("%d rows could not be profiled", batches[0].rows)
                self.dropped_rows += batches[0].rows
            return
        if self._on_rows is not None:
            try:
                self._on_rows(contents)
            except Exception:  # metrics must not cost profiles
                log.exception("%d rows could not be counted", contents.rows)

    def _flush(self) -> None:
        """Hand everything to the outbox. Rows of a window that come later are another increment."""
        profiles, self._profiles = self._profiles, {}
        for start, one in profiles.items():
            name = _name(start, "bin")
            content = one.serialize()
            if not self._outbox.put(self._recording.profiles_url, name, content, droppable=False):
                log.error("no room for the profile of %d rows: lost", one.rows)
                self.dropped_rows += one.rows
        self._flush_log()

    def _flush_log(self) -> None:
        for start, requests in self._rows.take().items():
            rows = sum(request.rows for request in requests)
            try:
                content = self._rows.encode(requests)
            except Exception:  # whatever Arrow makes of a value, the endpoint goes on
                log.exception("%d rows could not be logged", rows)
                self.dropped_log_rows += rows
                continue
            url = str(self._recording.log_url)
            if self._outbox.put(url, _name(start, "parquet"), content, droppable=True):
                self.logged_rows += rows
            else:
                log.error("no room for %d rows of the prediction log: lost", rows)
                self.dropped_log_rows += rows


class _Turn:
    """Lets whoever answers requests go first, once this thread has worked for a while. NumPy and
    the sketches hold the interpreter while they work, and to yield without a pause would win it
    back before anybody has woken up."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def give_way(self) -> None:
        if time.perf_counter() - self._began > TURN_SECONDS:
            time.sleep(PAUSE_SECONDS)
            self._began = time.perf_counter()


def _name(window: datetime, ending: str) -> str:
    """A name that no other file has, below the window's folder."""
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"
    return f"{window.strftime(STAMP)}/{datetime.now(UTC).strftime(STAMP)}-{owner}.{ending}"
