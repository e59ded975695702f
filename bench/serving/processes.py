"""A server as a group of processes: started on one core, weighed, and ended one by one.

Every server is started with a mark in its environment, which its processes inherit whatever session
or parent they give themselves: by it they are found again, and only they.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 20
MARK = "BENCH_SERVER"


def cores():
    """The core for servers and the one for the load; the same twice where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


def end_in_order():
    """A SIGTERM ends this process as Ctrl-C does, its servers first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@dataclass(frozen=True)
class Memory:
    """Megabytes."""

    serving: float
    """Resident memory of the largest process, which is the one that serves."""
    whole: float
    """All processes together; what they share counts once."""


class Server:
    """A started server. Its output goes to `log`."""

    def __init__(self, command, *, environment, folder, core):
        self.log = folder / "output.log"
        self._mark = uuid.uuid4().hex
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # what is started now inherits it
        try:
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    list(map(str, command)),
                    env={**os.environ, **environment, MARK: self._mark},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        finally:
            os.sched_setaffinity(0, before)

    def ended(self):
        return self._process.poll() is not None

    def last_words(self):
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-3:] if line.strip()) or "no output"

    def pids(self):
        """Every process of the server."""
        wanted, found = f"{MARK}={self._mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (path / "environ").read_bytes():
                    found.append(int(path.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def cpu_seconds(self):
        """User and system time of all processes, threads included."""
        total = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            after_name = fields.rpartition(")")[2].split()
            total += int(after_name[11]) + int(after_name[12])
        return total / TICKS

    def memory(self):
        resident, shared = [0.0], 0.0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue
            sizes = dict(line.split(":", 1) for line in text.splitlines()[1:])
            resident.append(_megabytes(sizes["Rss"]))
            shared += _megabytes(sizes["Pss"])
        return Memory(max(resident), shared)

    def end(self):
        """Ask it to end; what is still there after a while is killed."""
        if not self.ended():
            self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._send(number)
            end = time.monotonic() + 3
            while self.pids() and time.monotonic() < end:
                time.sleep(0.05)

    def _send(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _megabytes(size):
    return int(size.split()[0]) / 1000
