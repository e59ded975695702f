"""What is muted, for how long, and by whom."""

import pytest

from mlops_assets.monitoring.tickets.muting import Mute, Mutes, duration, is_meant, muted
from mlops_assets.monitoring.tickets.spec import MuteWindow
from mlops_assets_tests.monitoring.tickets.world import DRIFT, PROBE, START

PROBING = Mute("answers_probe", START + 60, "upgrade", "ann", "")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("", True),
        ("answers_probe", True),
        ("endpoints/local", True),
        ("endpoints", True),
        (PROBE, True),
        ("probe", False),
        ("endpoints/loc", False),
        ("has_not_drifted", False),
    ],
)
def test_a_person_names_a_check_an_asset_or_all(asked: str, *, meant: bool) -> None:
    assert is_meant(asked, PROBE) == meant


def test_a_mute_ends_by_itself_and_the_newest_of_a_cause_counts() -> None:
    mutes = Mutes().adding(PROBING, START)
    assert "by ann (upgrade)" in muted(PROBE, (), mutes, START)
    assert muted(DRIFT, (), mutes, START) == ""
    assert muted(PROBE, (), mutes, START + 60) == ""
    longer = Mute("answers_probe", START + 600, "longer", "bob", "")
    assert mutes.adding(longer, START) == Mutes((longer,))
    assert Mutes.from_json(mutes.to_json()) == mutes


def test_unmuting_one_leaves_the_others() -> None:
    drift = Mute("has_not_drifted", START + 60, "known", "ann", "")
    mutes = Mutes((PROBING, drift))
    assert mutes.removing("answers_probe", START) == Mutes((drift,))
    assert mutes.removing("", START) == Mutes()


def test_a_window_mutes_the_causes_it_names() -> None:
    window = MuteWindow(
        start="Sat 00:00", end="Tue 00:00", reason="quiet", causes=("has_not_drifted",)
    )
    assert "(quiet)" in muted(DRIFT, (window,), Mutes(), START)
    assert muted(PROBE, (window,), Mutes(), START) == ""


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("2h", 7200), ("30d", 2592000)])
def test_durations(text: str, seconds: int) -> None:
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-1h", "1.5h", "0m", "31d", "99999999999999d", "2w"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration|more than 30 days"):
        duration(text)
