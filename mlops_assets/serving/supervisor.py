"""Keeps one endpoint alive: owns its socket, replaces its workers, answers for its state.

Standard library only, so that it starts at once and stays small. What to serve it reads from
`desired.json`, at start and on SIGHUP; SIGTERM ends it. It survives the process that started it.
"""

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.serving import endpoint, shared
from mlops_assets.serving.crew import Crew
from mlops_assets.serving.endpoint import Desired, State
from mlops_assets.serving.handover import Inbox
from mlops_assets.serving.listener import PortTakenError, address, listen
from mlops_assets.serving.process import Worker
from mlops_assets.serving.signals import Signals
from mlops_assets.serving.standing import Standing

if TYPE_CHECKING:
    from mlops_assets.serving.waiting import Waiting

log = logging.getLogger("supervisor")

DETACH = "--detach"
DRAIN_PATIENCE = 60.0
HANDOVER_PATIENCE = 2.0
LOG_FORMAT = "%(asctime)s %(name)s[%(process)d] %(levelname)s %(message)s"


class Supervisor:
    """One endpoint's supervisor. Single-threaded: every event is handled in `run`."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        on_live: Callable[[State], None] = lambda _: None,
        waiting: "Waiting | None" = None,
    ) -> None:
        """Prepare to serve.

        Args:
            folder: of the endpoint, whose lock is held.
            clock: seconds, monotonic.
            now: the time, UTC.
            on_live: told the state whenever a version has taken the traffic.
            waiting: has the socket, and answers on it until a worker does.
        """
        self._folder = folder
        self._clock = clock
        self._on_live = on_live
        self._waiting = waiting
        self._selector = selectors.DefaultSelector()
        self._signals: Signals
        self._inbox: Inbox
        self._environment = dict(os.environ)
        self._current: Crew | None = None
        """Serves, or is being brought back."""
        self._candidate: Crew | None = None
        """Is brought up beside it."""
        self._retiring: list[Worker] = []
        self._stopping = False
        self._standing = Standing(folder, now=now)

    def run(self) -> int:
        """Serve until SIGTERM; 1 when the endpoint could not be brought up at all."""
        self._signals = Signals(self._selector)
        self._inbox = Inbox(self._folder)
        shared.clear(self._folder)
        try:
            desired = endpoint.read_desired(self._folder / endpoint.DESIRED)
            self._listener = self._listen(desired)
        except (ValueError, PortTakenError) as error:
            return self._give_up(self._standing.asked(), str(error))
        self._standing.change(**address(self._listener, desired.host))
        self._bring_up(desired)
        while self._current or self._candidate or self._retiring:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._handle_signals()
            self._reap()
            self._meet_deadlines()
        shared.clear(self._folder)
        if not self._stopping:
            return 1
        self._standing.change(state="stopped", worker_pids=(), detail="")
        log.info("stopped")
        return 0

    def _listen(self, desired: Desired) -> socket.socket:
        if self._waiting is not None:
            return self._waiting.listener
        kept, clock = self._standing.state.port, self._clock
        return listen(desired.host, asked=desired.port, kept=kept, clock=clock, sleep=time.sleep)

    @property
    def _crews(self) -> list[Crew]:
        return [crew for crew in (self._candidate, self._current) if crew is not None]

    def _bring_up(self, desired: Desired) -> None:
        self._candidate = self._crew(desired)
        self._candidate.fill()

    def _crew(self, desired: Desired) -> Crew:
        counters = shared.make(self._folder) if desired.workers > 1 else None

        def start() -> Worker:
            worker = Worker(
                desired,
                self._folder,
                listener=self._listener.fileno(),
                environment=self._environment,
                shared=counters,
                now=self._clock(),
            )
            log.info("worker %d starts version %d", worker.pid, desired.version)
            self._selector.register(
                worker.ready_fd, selectors.EVENT_READ, lambda: self._hear(worker)
            )
            return worker

        return Crew(desired, start=start, shared=counters, clock=self._clock)

    def _hear(self, worker: Worker) -> None:
        for message in worker.messages():
            worker.failure = message.get("detail", worker.failure)
            worker.draining = worker.draining or message["state"] == "draining"
            if message["state"] == "ready":
                worker.ready = True
                self._welcome(worker)
        if worker.silent:
            self._forget(worker)

    def _welcome(self, worker: Worker) -> None:
        """A worker answers: with the last of its crew the version goes live."""
        if self._waiting is not None:
            self._waiting.close()
        if self._candidate is not None and self._candidate.complete:
            old, self._current, self._candidate = self._current, self._candidate, None
            if old is not None:
                self._retire(old)
                self._await_handover(old)
            self._tell_live(self._current)
            self._on_live(self._standing.state)
        elif self._current is not None and worker in self._current.workers:
            self._tell_live(self._current)

    def _tell_live(self, crew: Crew) -> None:
        self._standing.live(crew)
        log.info("version %d is served by %s", crew.desired.version, crew.pids)

    def _await_handover(self, old: Crew) -> None:
        """Once the state names the new version, no new connection may reach the old one."""
        end = self._clock() + HANDOVER_PATIENCE
        while self._clock() < end and not all(
            worker.draining or worker.ended() is not None for worker in old.workers
        ):
            for key, _ in self._selector.select(0.05):
                key.data()

    def _retire(self, crew: Crew) -> None:
        self._retiring += crew.workers
        for worker in crew.workers:
            worker.drain(self._clock(), patience=DRAIN_PATIENCE)

    def _reap(self) -> None:
        staff = [worker for crew in self._crews for worker in crew.workers]
        for worker in [*self._retiring, *staff]:
            status = worker.ended()
            if status is None:
                continue
            self._hear(worker)
            self._forget(worker)
            log.info("worker %d ended with status %d", worker.pid, status)
            if worker in self._retiring:
                self._retiring.remove(worker)
            else:
                self._lose(worker, worker.failure or f"a worker ended with status {status}")
            shared.bury(self._folder, worker.pid)
            worker.release()
        if not self._retiring:
            shared.keep(self._folder, [crew.shared for crew in self._crews])

    def _lose(self, worker: Worker, reason: str) -> None:
        if self._candidate is not None and worker in self._candidate.workers:
            refused, self._candidate = self._candidate, None
            refused.workers.remove(worker)
            self._retire(refused)
            self._refuse(refused.desired, reason)
        elif self._current is not None and worker in self._current.workers:
            self._current.lose(worker)
            down = "starting" if worker.ready else "failed"
            self._standing.change(
                state="live" if self._current.pids else down,
                worker_pids=self._current.pids,
                detail=f"version {self._current.desired.version}: {reason}; restarted",
                restarts=self._standing.state.restarts + worker.ready,
            )

    def _forget(self, worker: Worker) -> None:
        if worker.ready_fd in self._selector.get_map():
            self._selector.unregister(worker.ready_fd)

    def _refuse(self, desired: Desired, reason: str) -> None:
        """A version did not come up: say so, and keep or bring back what served before."""
        generation = max(self._standing.state.generation, desired.generation)
        detail = f"version {desired.version}: {reason}"
        log.error("%s", detail)
        fallback = self._standing.fallback()
        if self._current is not None:
            self._standing.change(generation=generation, detail=detail)
        elif fallback is not None:
            self._standing.change(
                state="failed", worker_pids=(), generation=generation, detail=detail
            )
            self._current = self._crew(fallback)
            self._current.pause()
        else:
            self._give_up(generation, detail)

    def _meet_deadlines(self) -> None:
        for crew in self._crews:
            crew.meet_deadlines()
        for worker in self._retiring:
            if self._clock() > worker.deadline:
                worker.send(signal.SIGKILL)
        if self._standing.unsaved:
            self._standing.save()

    def _timeout(self) -> float:
        # Bounded, because the end of a process is seen by asking.
        due = [crew.due - self._clock() for crew in self._crews if crew.due is not None]
        return max(0.0, min([0.5, *due]))

    def _handle_signals(self) -> None:
        met = self._signals.take()
        if signal.SIGTERM in met and not self._stopping:
            self._stop()
        if signal.SIGHUP in met and not self._stopping:
            self._reload()

    def _stop(self) -> None:
        self._stopping = True
        self._listener.close()
        for crew in self._crews:
            self._retire(crew)
        self._candidate = self._current = None

    def _reload(self) -> None:
        self._environment |= self._inbox.take()
        try:
            desired = endpoint.read_desired(self._folder / endpoint.DESIRED)
        except ValueError as error:
            self._standing.change(detail=str(error))
            return
        port = self._standing.state.port
        if desired.port not in (None, port):
            detail = f"port {desired.port} is asked for, {port} is in use: stop first"
            self._standing.change(generation=desired.generation, detail=detail)
            return
        if self._candidate is not None:
            # A newer request supersedes the one that is being brought up.
            self._retire(self._candidate)
        self._bring_up(desired)

    def _give_up(self, generation: int, detail: str) -> int:
        log.error("%s", detail)
        self._standing.change(state="failed", worker_pids=(), generation=generation, detail=detail)
        return 1


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    # Until the request has been read, a SIGHUP says nothing new; unhandled, it would be the end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    lock = endpoint.acquire_soon(folder / endpoint.LOCK)
    if lock is None:
        log.error("%s has a supervisor already", folder)
        return 1
    if DETACH in arguments and os.fork():
        # The child holds the lock as well, and belongs to nobody: no deployer has to reap it.
        os._exit(0)
    endpoint.sign(lock)
    return Supervisor(folder, clock=time.monotonic, now=lambda: datetime.now(UTC)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
