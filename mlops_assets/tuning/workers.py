"""The worker processes: started, fed, watched and ended. Knows no study and no storage.

Plain child interpreters rather than `multiprocessing` or loky: they never import the caller's
`__main__` again, may be started from any process, say which task died with them, and end when
their parent does.
"""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from mlops_assets.tuning.scoring import ObjectiveFactory, Outcome, Task

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mlops_assets.tuning.scoring import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


class WorkerError(Exception):
    """No worker can be started; the message says why."""


@dataclass(frozen=True)
class Lost:
    """A worker died while it had this task."""

    task: Task
    exit_code: int
    """Negative: the number of the signal that ended it."""
    ready: bool
    """It had built its objective before."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: "Connection[Any, Any]"
    ready: bool = False
    task: Task | None = None


@dataclass
class Pool:
    """Up to `size` workers, each started when there is a task for it."""

    factory: ObjectiveFactory
    size: int
    _workers: list[_Worker] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return len(self._workers) < self.size or any(w.task is None for w in self._workers)

    def submit(self, task: Task) -> None:
        """Give `task` to an idle worker.

        Raises:
            WorkerError: the factory cannot be pickled.
        """
        idle = next((w for w in self._workers if w.task is None), None) or self._start()
        idle.task = task
        # A worker that is dead already shows at the next collect().
        _send(idle.connection, task)

    def wait(self, timeout: float | None = None) -> None:
        """Return when a worker has something to say, or has died. An interruption here loses
        nothing."""
        wait([w.connection for w in self._workers], timeout)

    def collect(self) -> list[Outcome | Lost]:
        """What the workers said since.

        Raises:
            WorkerError: a worker could not build the objective.
        """
        ready = wait([w.connection for w in self._workers], 0)
        events = [self._read(w) for w in list(self._workers) if w.connection in ready]
        return [event for event in events if event is not None]

    def pids(self) -> tuple[int, ...]:
        return tuple(w.process.pid for w in self._workers)

    def close(self) -> None:
        """End the workers at once; they hold nothing worth saving."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            worker.connection.close()
        self._workers.clear()

    def _start(self) -> _Worker:
        try:
            factory = pickle.dumps(self.factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise WorkerError(
                f"the objective cannot be sent to a worker: {error}; make it a function or a "
                "dataclass at the top of a module"
            ) from error
        ours, theirs = Pipe()
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        arguments = [path, str(theirs.fileno()), str(os.getpid())]
        # A session of its own: Ctrl-C in the terminal is the coordinator's to answer.
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP, *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        _send(ours, factory)
        return worker

    def _read(self, worker: _Worker) -> Outcome | Lost | None:
        try:
            said = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(said, str):
            raise WorkerError(f"the objective cannot be built: {said}")
        if said is None:
            worker.ready = True
            return None
        worker.task = None
        return Outcome(**said)

    def _bury(self, worker: _Worker) -> Lost | None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        exit_code = worker.process.wait()
        if worker.task is None:
            return None
        return Lost(worker.task, exit_code, worker.ready)


def _send(connection: "Connection[Any, Any]", message: Any) -> None:
    try:
        connection.send(message)
    except OSError:
        return
