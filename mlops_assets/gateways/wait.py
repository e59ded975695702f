"""The one polling loop of the platform. Knows neither what it waits for nor the real clock."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    *,
    timeout: float,
    interval: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> T:
    """The first truthy value of `condition`, asked every `interval` seconds, at least once.

    Args:
        timeout: seconds after which waiting ends; the condition is asked once more at the end.
        clock: seconds, monotonic.

    Raises:
        TimeoutError: the condition was not met in time; the caller knows what was awaited.
    """
    end = clock() + timeout
    while True:
        last = clock() >= end
        if value := condition():
            return value
        if last:
            raise TimeoutError(f"not within {timeout:g} s")
        sleep(min(interval, max(end - clock(), 0.0)))
