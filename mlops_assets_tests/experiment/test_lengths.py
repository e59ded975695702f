"""Lengths of time in words."""

from datetime import timedelta

import pytest

from mlops_assets.experiment.lengths import about, lasting


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (5, "5 s"), (60, "1 min"), (90, "1 min 30 s"), (3661, "1 h 1 min"),
        (7200, "2 h"), (93_600, "1 d 2 h"), (86_450, "1 d"),
    ],
)  # fmt: skip
def test_two_units_say_how_long_something_lasted(seconds: int, words: str) -> None:
    assert lasting(seconds) == words


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=-3), "0 s"), (timedelta(seconds=59.6), "60 s"),
        (timedelta(minutes=90), "1.5 h"), (timedelta(days=1), "1.0 d"),
    ],
)  # fmt: skip
def test_one_unit_says_about_how_long_it_is(length: timedelta, words: str) -> None:
    assert about(length) == words
