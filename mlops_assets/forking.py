"""A process that has imported what others will need, and forks them off within milliseconds.

`ForkServer` is the handle; run as a program, this file is the process. It reads a line of JSON for
each process that is wanted, and answers with its number. It ends when its handle's process does;
those that it forked go on.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TextIO


class ForkServerError(Exception):
    """No process was started; the message says why."""


class ForkServer:
    """Starts `python -m MODULE` in processes that need not import first.

    Args:
        preloaded: modules that are imported beforehand. What is not installed is left out. They
            must not start threads of Python, which a fork has none of.
        code: folder of modules that may change; then what is imported is imported anew.
    """

    def __init__(self, preloaded: Sequence[str], *, code: Path) -> None:
        self._preloaded = tuple(preloaded)
        self._code = code
        self._imported = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._line: TextIO | None = None
        self._lock = threading.Lock()

    def start(self, module: str, arguments: Sequence[str], folder: str | None = None) -> int:
        """The number of a new process that runs the module as a program, in the folder.

        The environment is that of the first call for all. Who asks early gets a process that has
        only imported what was preloaded so far.

        Raises:
            ForkServerError: there is no process.
        """
        asked = json.dumps({"module": module, "arguments": list(arguments), "folder": folder})
        with self._lock:
            line = self._connected()
            try:
                print(asked, file=line, flush=True)
                answer = line.readline()
            except OSError:
                answer = ""
            if not answer:
                raise ForkServerError(f"the process that forks ended with code {self._end()}")
        return int(answer)

    def stop(self) -> None:
        """End the process, when there is one; those that it forked go on."""
        with self._lock:
            self._end()

    def _connected(self) -> TextIO:
        ended = self._process is not None and self._process.poll() is not None
        # When a file got here, which its own date need not tell.
        changed = max(path.stat().st_ctime for path in self._code.rglob("*.py"))
        if ended or changed > self._imported:
            self._end()
        self._imported = changed
        if self._line is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno()), *self._preloaded],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
            with ours:
                self._line = ours.makefile("rw", encoding="utf-8")
        return self._line

    def _end(self) -> int | None:
        line, process, self._line, self._process = self._line, self._process, None, None
        if line is not None:
            with contextlib.suppress(OSError):  # what could not be sent is sent no more
                line.close()
        return None if process is None else process.wait()


def serve(asking: socket.socket, preloaded: Sequence[str]) -> None:
    """Import, and fork as is asked, until nobody can ask any more."""
    # Ctrl-C reaches the whole group: runs see to it themselves, and this process ends with its
    # handle's. Nobody waits for those that were forked.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    line = asking.makefile("rw", encoding="utf-8")
    for name in preloaded:
        # Who asks waits for the answer, so that nothing is ever left in the line's buffer.
        while select.select([asking], [], [], 0)[0]:
            _answer(asking, line)
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        _answer(asking, line)


def _answer(asking: socket.socket, line: TextIO) -> None:
    """Fork one process, or end this one when nobody is there to ask for it."""
    asked = line.readline()
    if not asked:
        sys.exit()
    number = os.fork()
    if number == 0:
        line.close()
        asking.close()
        _become(**json.loads(asked))
    print(number, file=line, flush=True)


def _become(module: str, arguments: Sequence[str], folder: str | None) -> NoReturn:
    """Be `python -m module arguments`, to the end of this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if "numpy" in sys.modules:  # Python's own generator reseeds itself after a fork
        sys.modules["numpy"].random.seed()
    code: object = 1
    try:
        if folder is not None:
            os.chdir(folder)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:  # noqa: BLE001 - as Python itself reports what nobody caught
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        # A forked process leaves without these.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
