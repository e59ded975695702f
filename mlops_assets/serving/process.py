"""A worker as its supervisor holds it: the process, its pipes and its deadlines. Standard library.

Knows how to start and end a worker; which one should serve is not its business.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_assets.serving.endpoint import SPOOL, Desired


class Worker:
    """A started worker. `ready_fd` delivers JSON lines: ready, failed (with detail), draining."""

    def __init__(
        self,
        desired: Desired,
        folder: Path,
        *,
        listener: int,
        environment: Mapping[str, str],
        shared: Path | None,
        now: float,
    ) -> None:
        """Start it.

        Args:
            desired: what it serves.
            folder: of the endpoint.
            listener: descriptor of the socket it accepts from.
            environment: of the process.
            shared: folder of the counters it shares with its fellows; None when it has none.
            now: on the supervisor's clock.
        """
        self.deadline = now + desired.startup_timeout_s
        self.failure = ""
        self.ready = False
        self.draining = False
        self.silent = False
        """The worker has closed its end: it is ending."""
        self._buffer = b""
        self.ready_fd, ready_end = os.pipe()
        life_end, self._life_fd = os.pipe()
        os.set_blocking(self.ready_fd, False)
        options = {
            "fd": listener,
            "ready-fd": ready_end,
            "life-fd": life_end,
            "spool": folder / SPOOL,
            **({"shared": shared} if shared else {}),
        }
        try:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "mlops_assets.serving.worker"),
                    *(f"--{name}={value}" for name, value in options.items()),
                    json.dumps(desired.to_json()),
                ],
                pass_fds=(listener, ready_end, life_end),
                stdin=subprocess.DEVNULL,
                env=_environment(environment),
                cwd=folder,
                process_group=0,  # Ctrl-C in a terminal is the supervisor's to pass on
            )
        except OSError:
            self.release()
            raise
        finally:
            os.close(ready_end)
            os.close(life_end)

    @property
    def pid(self) -> int:
        return self.process.pid

    def messages(self) -> list[dict[str, Any]]:
        """The complete messages that have arrived since the last call."""
        try:
            arrived = os.read(self.ready_fd, 65_536)
        except BlockingIOError:
            return []
        self.silent = not arrived
        self._buffer += arrived
        *lines, self._buffer = self._buffer.split(b"\n")
        return [json.loads(line) for line in lines]

    def drain(self, now: float, *, patience: float) -> None:
        """Ask it to finish what it has and to end; it is killed when it takes longer."""
        self.deadline = now + patience
        self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def ended(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    def release(self) -> None:
        """Close the pipes of a worker that has ended."""
        os.close(self.ready_fd)
        os.close(self._life_fd)


def _environment(base: Mapping[str, str]) -> dict[str, str]:
    # Requests are scored by several threads; libraries that start their own slow each other down.
    return {"OMP_NUM_THREADS": "1", "WHYLOGS_NO_ANALYTICS": "1", **base}
