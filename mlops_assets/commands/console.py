"""What people see while a command works: lines, one live line, tables. Knows no experiment."""

import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

QUIET_SECONDS = 5.0
"""Least time between two live lines when nobody watches a terminal."""
LABEL = 11


class Console:
    """Lines with a label. The live line is rewritten on a terminal, and repeated now and then
    elsewhere. A reader that goes away never stops the work."""

    def __init__(
        self, stream: TextIO, *, terminal: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._terminal = terminal
        self._clock = clock
        self._shown = ""
        self._last = float("-inf")

    def line(self, text: str = "") -> None:
        self._write(f"{self._wiped()}{text}\n")

    def field(self, label: str, text: str) -> None:
        """`label  text`; further lines of the text stand below its first."""
        first, *rest = text.split("\n")
        self.line(f"  {label:<{LABEL}}{first}".rstrip())
        for more in rest:
            self.line(f"  {'':<{LABEL}}{more}".rstrip())

    def live(self, label: str, text: str) -> None:
        shown = f"  {label:<{LABEL}}{text}"
        if self._terminal:
            self._write(f"{self._wiped()}{shown}")
            self._shown = shown
        elif self._clock() - self._last >= QUIET_SECONDS:
            self._last = self._clock()
            self._write(f"{shown}\n")

    def passing(self, label: str, text: str) -> None:
        """What is being done, for who watches; nothing where it would stay."""
        if self._terminal:
            self.live(label, text)

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown:
            self._write(self._wiped())

    def _wiped(self) -> str:
        wipe = f"\r{' ' * len(self._shown)}\r" if self._shown else ""
        self._shown = ""
        return wipe

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            return


@contextmanager
def opened(*, to_stderr: bool, log: Path | None) -> Iterator[Console]:
    """A console on the terminal, while everything else that is printed goes to `log`.

    Dagster puts files in the place of both streams while a step runs, and libraries print what
    they like; so the console keeps a copy of the real one.

    Args:
        to_stderr: write to standard error, as when standard output is for JSON.
        log: where everything else is appended; None leaves it on the terminal.
    """
    real = sys.stderr if to_stderr else sys.stdout
    try:
        copy = os.dup(real.fileno())
    except (OSError, ValueError, AttributeError):
        yield Console(real, terminal=False)
        return
    with os.fdopen(copy, "w", encoding=real.encoding, errors="replace") as stream:
        console = Console(stream, terminal=stream.isatty())
        if log is None:
            yield console
        else:
            with _elsewhere(log):
                yield console
        console.clear()


@contextmanager
def _elsewhere(log: Path) -> Iterator[None]:
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    try:
        for number, _ in kept:
            os.dup2(target, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(target)


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Rows as aligned columns, two spaces apart."""
    cells = [list(row) for row in rows]
    if not cells:
        return ""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        indent + "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def wrapped(items: Iterable[str], *, width: int = 84) -> str:
    """Items with commas between them, on as many lines as they need."""
    lines, line = [], ""
    for item in items:
        if line and len(line) + 2 + len(item) > width:
            lines.append(f"{line},")
            line = item
        else:
            line = f"{line}, {item}" if line else item
    return "\n".join([*lines, line])


def folded(text: str, *, width: int = 84) -> str:
    """Prose on lines of that width."""
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def shown(value: object) -> str:
    """A parameter or cell as people write it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
