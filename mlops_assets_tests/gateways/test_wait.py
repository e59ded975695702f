import pytest

from mlops_assets.gateways.wait import wait_until


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def wait(condition, clock, timeout=1.0):
    return wait_until(
        condition, timeout=timeout, interval=0.4, clock=lambda: clock.now, sleep=clock.sleep
    )


def test_the_first_truthy_value_is_returned():
    clock, values = Clock(), iter([None, 0, "there"])
    assert wait(lambda: next(values), clock) == "there"
    assert clock.slept == [0.4, 0.4]


def test_the_condition_is_asked_once_more_at_the_end():
    clock, asked = Clock(), []
    with pytest.raises(TimeoutError, match="1 s"):
        wait(lambda: asked.append(clock.now), clock)
    assert asked == pytest.approx([100.0, 100.4, 100.8, 101.0])
    assert clock.slept == pytest.approx([0.4, 0.4, 0.2])


def test_without_time_the_condition_is_still_asked():
    assert wait(lambda: "now", Clock(), timeout=0) == "now"
