"""Keeps one endpoint alive: owns its socket, replaces its worker, answers for its state.

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
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets.serving import endpoint
from mlops_assets.serving.endpoint import Desired
from mlops_assets.serving.listener import PortTakenError, listen
from mlops_assets.serving.process import Worker
from mlops_assets.serving.signals import Signals

log = logging.getLogger("supervisor")

DETACH = "--detach"
DRAIN_PATIENCE = 60.0
HANDOVER_PATIENCE = 2.0
HEALTHY_AFTER = 60.0
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 30.0


class Supervisor:
    """One endpoint's supervisor. Single-threaded: every event is handled in `run`."""

    def __init__(
        self, folder: Path, *, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._now = now
        self._selector = selectors.DefaultSelector()
        self._signals: Signals
        self._listener: socket.socket
        self._current: Worker | None = None
        self._candidate: Worker | None = None
        self._retiring: list[Worker] = []
        self._fallback: Desired | None = None
        """What is started when nothing serves: the last request that was fulfilled."""
        self._backoff = FIRST_BACKOFF
        self._restart_at: float | None = None
        self._serving_since = 0.0
        self._stopping = False
        self._state = endpoint.starting(folder, pid=os.getpid())

    def run(self) -> int:
        """Serve until SIGTERM; 1 when the endpoint could not be brought up at all."""
        self._signals = Signals(self._selector)
        try:
            desired = endpoint.read_desired(self._folder / endpoint.DESIRED)
            serving = self._folder / endpoint.SERVING
            self._fallback = endpoint.read_desired(serving) if serving.exists() else None
            self._listener = listen(
                desired.host,
                asked=desired.port,
                kept=self._state.port,
                clock=self._clock,
                sleep=time.sleep,
            )
        except (ValueError, PortTakenError) as error:
            return self._give_up(self._wanted_generation(), str(error))
        port = self._listener.getsockname()[1]
        self._write(port=port, url=f"http://{desired.host}:{port}")
        self._start(desired)
        while self._current or self._candidate or self._retiring or self._restart_at is not None:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._handle_signals()
            self._reap()
            self._meet_deadlines()
        if not self._stopping:
            return 1
        self._write(state="stopped", worker_pid=None, detail="")
        log.info("stopped")
        return 0

    def _start(self, desired: Desired) -> None:
        worker = Worker(
            desired,
            self._folder,
            listener=self._listener.fileno(),
            base=os.environ,
            now=self._clock(),
        )
        log.info("worker %d starts version %d", worker.pid, desired.version)
        self._candidate = worker
        self._selector.register(worker.ready_fd, selectors.EVENT_READ, lambda: self._hear(worker))

    def _hear(self, worker: Worker) -> None:
        for message in worker.messages():
            if message["state"] == "failed":
                worker.failure = message["detail"]
            elif message["state"] == "draining":
                worker.draining = True
            elif message["state"] == "ready" and worker is self._candidate:
                self._take_over(worker)
        if worker.silent:
            self._forget(worker)

    def _take_over(self, worker: Worker) -> None:
        """Give the traffic to a worker that is ready, then let the old one finish."""
        old, self._current, self._candidate = self._current, worker, None
        self._restart_at = None
        self._serving_since = self._clock()
        if old is not None:
            self._retire(old)
            self._await_handover(old)
        desired, state = worker.desired, self._state
        changed = desired.version != state.version or desired.bundle_digest != state.bundle_digest
        moved = {
            "since": self._now().isoformat(timespec="seconds"),
            "previous_version": state.version,
            "previous_digest": state.bundle_digest,
        }
        endpoint.write(self._folder / endpoint.SERVING, desired)
        self._fallback = desired
        answered = max(state.generation, desired.generation)
        self._write(
            state="live",
            worker_pid=worker.pid,
            version=desired.version,
            bundle_digest=desired.bundle_digest,
            generation=answered,
            serving_generation=desired.generation,
            fingerprint=desired.fingerprint(),
            detail=state.detail if answered > desired.generation else "",
            **(moved if changed else {}),
        )
        log.info("worker %d serves version %d", worker.pid, desired.version)

    def _await_handover(self, old: Worker) -> None:
        """Once the state names the new version, no new connection may reach the old one."""
        end = self._clock() + HANDOVER_PATIENCE
        while not old.draining and old.ended() is None and self._clock() < end:
            for key, _ in self._selector.select(0.05):
                key.data()

    def _retire(self, worker: Worker) -> None:
        self._retiring.append(worker)
        worker.drain(self._clock(), patience=DRAIN_PATIENCE)

    def _reap(self) -> None:
        for worker in [*self._retiring, self._candidate, self._current]:
            status = worker.ended() if worker is not None else None
            if worker is None or status is None:
                continue
            self._hear_last(worker)
            log.info("worker %d ended with status %d", worker.pid, status)
            if worker in self._retiring:
                self._retiring.remove(worker)
            elif worker is self._candidate:
                self._candidate = None
                self._refuse(worker, worker.failure or f"the worker ended with status {status}")
            else:
                self._current = None
                self._restart(f"worker {worker.pid} ended with status {status}; restarted")
            worker.release()

    def _hear_last(self, worker: Worker) -> None:
        for message in worker.messages():
            worker.failure = message.get("detail", worker.failure)
        self._forget(worker)

    def _forget(self, worker: Worker) -> None:
        if worker.ready_fd in self._selector.get_map():
            self._selector.unregister(worker.ready_fd)

    def _refuse(self, worker: Worker, reason: str) -> None:
        """A worker did not come up: say so, and keep or bring back what served before."""
        generation = max(self._state.generation, worker.desired.generation)
        detail = f"version {worker.desired.version}: {reason}"
        log.error("%s", detail)
        if self._current is not None:
            self._write(generation=generation, detail=detail)
        elif self._fallback is not None and not self._stopping:
            self._write(state="failed", worker_pid=None, generation=generation, detail=detail)
            self._schedule()
        else:
            self._give_up(generation, detail)

    def _restart(self, detail: str) -> None:
        if self._stopping:
            return
        if self._clock() - self._serving_since > HEALTHY_AFTER:
            self._backoff = FIRST_BACKOFF
        count = self._state.restarts + 1
        self._write(state="starting", worker_pid=None, detail=detail, restarts=count)
        if self._candidate is None:
            self._schedule()

    def _schedule(self) -> None:
        self._restart_at = self._clock() + self._backoff
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)

    def _meet_deadlines(self) -> None:
        now = self._clock()
        if self._candidate is not None and now > self._candidate.deadline:
            seconds = self._candidate.desired.startup_timeout_s
            self._candidate.failure = f"not ready within startup_timeout_s = {seconds:g} s"
            self._candidate.deadline = float("inf")
            self._candidate.send(signal.SIGKILL)
        for worker in self._retiring:
            if now > worker.deadline:
                worker.send(signal.SIGKILL)
        if self._restart_at is not None and now >= self._restart_at:
            self._restart_at = None
            if self._candidate is None and self._current is None and self._fallback is not None:
                self._start(self._fallback)

    def _timeout(self) -> float:
        # Bounded, because the end of a process is seen by asking.
        soon = 0.5 if self._restart_at is None else max(0.0, self._restart_at - self._clock())
        return min(soon, 0.5)

    def _handle_signals(self) -> None:
        met = self._signals.take()
        if signal.SIGTERM in met and not self._stopping:
            self._stop()
        if signal.SIGHUP in met and not self._stopping:
            self._reload()

    def _stop(self) -> None:
        self._stopping = True
        self._restart_at = None
        self._listener.close()
        for worker in (self._candidate, self._current):
            if worker is not None:
                self._retire(worker)
        self._candidate = self._current = None

    def _reload(self) -> None:
        try:
            desired = endpoint.read_desired(self._folder / endpoint.DESIRED)
        except ValueError as error:
            self._write(detail=str(error))
            return
        if desired.port not in (None, self._state.port):
            detail = f"port {desired.port} is asked for, {self._state.port} is in use: stop first"
            self._write(generation=desired.generation, detail=detail)
            return
        if self._candidate is not None:
            # A newer request supersedes the one that is being brought up.
            self._retire(self._candidate)
            self._candidate = None
        self._backoff = FIRST_BACKOFF
        self._restart_at = None
        self._start(desired)

    def _give_up(self, generation: int, detail: str) -> int:
        log.error("%s", detail)
        self._write(state="failed", worker_pid=None, generation=generation, detail=detail)
        return 1

    def _wanted_generation(self) -> int:
        try:
            return endpoint.read_desired(self._folder / endpoint.DESIRED).generation
        except ValueError:
            return self._state.generation

    def _write(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        endpoint.write(self._folder / endpoint.STATE, self._state)


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    # Until the request has been read, a SIGHUP says nothing new; unhandled, it would be the end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s[%(process)d] %(levelname)s %(message)s"
    )
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
