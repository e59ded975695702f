"""The workers of one request, kept at the number it asks for. Standard library only.

Knows when a worker is missing and when the next may be tried; what that means for the endpoint is
its supervisor's business.
"""

import logging
import signal
from collections.abc import Callable
from pathlib import Path

from mlops_assets.serving.endpoint import Desired
from mlops_assets.serving.process import Worker

log = logging.getLogger("supervisor")

HEALTHY_AFTER = 60.0
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 30.0


class Crew:
    """One that crashes is replaced alone, after a pause that grows while they keep crashing."""

    def __init__(
        self,
        desired: Desired,
        *,
        start: Callable[[], Worker],
        shared: Path | None,
        clock: Callable[[], float],
    ) -> None:
        self.desired = desired
        self.shared = shared
        """Folder of the counters its workers share."""
        self.workers: list[Worker] = []
        self.due: float | None = None
        """When the missing workers are started; None while none is missing."""
        self._start = start
        self._clock = clock
        self._backoff = FIRST_BACKOFF
        self._changed = clock()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the workers that answer."""
        return tuple(worker.pid for worker in self.workers if worker.ready)

    @property
    def complete(self) -> bool:
        """As many workers answer as were asked for."""
        return len(self.pids) == self.desired.workers

    def fill(self) -> None:
        """Start the workers that are missing."""
        self.due = None
        try:
            while len(self.workers) < self.desired.workers:
                self.workers.append(self._start())
        except OSError as error:
            log.error("a worker cannot be started: %s", error)  # noqa: TRY400 the reason is complete
            self.pause()

    def lose(self, worker: Worker) -> None:
        """A worker has ended; another one will be due."""
        self.workers.remove(worker)
        now = self._clock()
        if worker.ready and now - self._changed > HEALTHY_AFTER:
            self._backoff = FIRST_BACKOFF
        self._changed = now
        self.pause()

    def pause(self) -> None:
        """Start the missing workers later, and the next time later still."""
        if self.due is None:
            self.due = self._clock() + self._backoff
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)

    def meet_deadlines(self) -> None:
        """Start what is due, and end what takes too long to start."""
        now = self._clock()
        if self.due is not None and now >= self.due:
            self.fill()
        for worker in self.workers:
            if not worker.ready and now > worker.deadline:
                seconds = self.desired.startup_timeout_s
                worker.failure = f"not ready within startup_timeout_s = {seconds:g} s"
                worker.deadline = float("inf")
                worker.send(signal.SIGKILL)
