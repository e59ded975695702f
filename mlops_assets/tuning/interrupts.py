"""Ctrl-C and SIGTERM, held back while something is being written. Knows nothing of studies."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Between `guard()` and its end, signals arrive only inside `window()`, where they do what
    they did before: call the handler that was set (Dagster's, for instance), or raise
    KeyboardInterrupt. Outside the main thread, where no signal arrives, it does nothing."""

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}
        self._held: list[int] = []
        self._open = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        if threading.current_thread() is threading.main_thread():
            numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
            for number in numbers:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    self._previous[number] = handler
                    signal.signal(number, self._receive)
        try:
            yield
            with self.window():
                pass  # what arrived since the last window
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            self._previous.clear()

    @contextmanager
    def window(self) -> Iterator[None]:
        """Signals arrive here, the ones held back first."""
        self._open = True
        try:
            self._deliver_held()
            yield
        finally:
            self._open = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._held.append(number)
        if self._open:
            self._deliver_held()

    def _deliver_held(self) -> None:
        while self._held:
            # Held until delivered: an interrupt raised where Python ignores exceptions, as in a
            # finalizer, comes again at the next window.
            previous = self._previous[self._held[0]]
            if not callable(previous):
                raise KeyboardInterrupt
            previous(self._held[0], None)
            self._held = self._held[1:]
