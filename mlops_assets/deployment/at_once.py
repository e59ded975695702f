"""Asks many at the same time, and waits for all of them together no longer than it may."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

Key = TypeVar("Key")
T = TypeVar("T")

THREAD = "asking"


def answers(asks: Mapping[Key, Callable[[], T]], *, patience: float) -> dict[Key, T]:
    """What each says, without those that have not answered after so many seconds. What one raises
    is raised."""
    end = time.monotonic() + patience
    begun = {key: _begin(ask) for key, ask in asks.items()}
    found = {}
    for key, future in begun.items():
        try:
            found[key] = future.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            if future.done():  # this moment; or it is what was raised
                found[key] = future.result()
    return found


class Asker(Generic[Key]):
    """Asks again and again, but nobody who has not answered the time before."""

    def __init__(self) -> None:
        self._waiting: set[Key] = set()

    def answers(self, asks: Mapping[Key, Callable[[], T]], *, patience: float) -> dict[Key, T]:
        """As `answers`; those that are not asked anew are lacking too."""
        idle = {
            key: partial(self._ask, key, ask)
            for key, ask in asks.items()
            if key not in self._waiting
        }
        return answers(idle, patience=patience)

    def _ask(self, key: Key, ask: Callable[[], T]) -> T:
        self._waiting.add(key)
        try:
            return ask()
        finally:
            self._waiting.discard(key)


def late(patience: float) -> str:
    """What is to be said of one that has not answered."""
    return f"nothing was heard of it for {patience:g} s"


def _begin(ask: Callable[[], T]) -> Future[T]:
    """Ask in a thread that nobody has to wait for: a pool would be waited for at exit."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001 whoever waits for the answer gets it
            future.set_exception(error)

    threading.Thread(target=work, name=THREAD, daemon=True).start()
    return future
