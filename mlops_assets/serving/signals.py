"""Signals as events of a selector, so that one loop handles everything. Standard library only."""

import os
import selectors
import signal
from typing import Any


class Signals:
    """Catches SIGTERM (and SIGINT, taken for it), SIGHUP and SIGCHLD from now on."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._met: set[int] = set()
        reading, writing = os.pipe()
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        selector.register(reading, selectors.EVENT_READ, lambda: os.read(reading, 4096))

    def take(self) -> set[int]:
        """The signals that arrived since the last call."""
        met, self._met = self._met, set()
        return met

    def _note(self, number: int, _: Any) -> None:
        self._met.add(signal.SIGTERM if number == signal.SIGINT else number)
