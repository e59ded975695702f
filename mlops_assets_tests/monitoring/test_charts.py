"""Pictures of monitoring: they are SVG, they hold what they were given, and they stay small."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.gateways.realised import QualityWindow
from mlops_assets.gateways.records import Metric
from mlops_assets.monitoring import charts
from mlops_assets.monitoring.distributions import MISSING, Distributions
from mlops_assets.monitoring.drawing import COLOURS, DARK, Days, as_markdown, style, ticks
from mlops_assets.monitoring.performance import rows
from mlops_assets.monitoring.performance.verdict import Standard

HOSTILE = "<script>alert(1)</script>\"&'`]("
LARGEST = 60_000
"""Characters of the pictures of one check in Dagster's event log."""
STANDARD = Standard("roc_auc", greater_is_better=True, held_out=Metric(0.86, 0.84, 0.88), floor=0.8)


def starts(count, hours=24):
    first = np.datetime64("2026-01-01T00:00:00")
    step = np.timedelta64(hours, "h")
    return [f"{first + k * step}+00:00" for k in range(count)]


def quality_window(start, value=0.85):
    found = {"roc_auc": Metric(value, value - 0.03, value + 0.03)}
    return QualityWindow(
        start, 1, 1000, 400, 0, 60.0, 90.0, found, found, 1, {}, "", "", "", ""
    )  # fmt: skip


def drawn(picture):
    """The picture as XML, which it has to be, alone and in a page."""
    ElementTree.fromstring(picture.inline())
    return ElementTree.fromstring(picture.alone())


def words(picture):
    return [each.text for each in drawn(picture).iter() if each.tag.endswith("text")]


def test_both_sides_of_a_distribution_are_drawn_as_shares():
    column = Distributions("plan", ("basic", "plus", MISSING), (75.0, 25.0, 0.0), (1.0, 3.0, 0.0))
    (picture,) = charts.then_and_now([column], ["plan", "gone"])
    paths = re.findall(r'<path d="([^"]+)" class="f-(?:then|now)"', picture.shapes)
    # Two sides, and two squares of the legend.
    then, now = ([float(h) for h in re.findall(r"v([\d.]+)", path)] for path in paths[:2])
    assert then[0] / then[1] == pytest.approx(3, rel=0.02)
    assert now[1] / now[0] == pytest.approx(3, rel=0.02)
    assert MISSING not in words(picture)


def test_what_comes_from_data_is_text_and_never_markup():
    column = Distributions(HOSTILE, (HOSTILE, MISSING), (3.0, 1.0), (1.0, 1.0))
    series = {HOSTILE: [0.1, 0.2]}
    pictures = [
        *charts.then_and_now([column], [HOSTILE]),
        charts.over_windows(HOSTILE, starts(2), series, limit=0.1, words=HOSTILE),
        charts.ranking(HOSTILE, [(HOSTILE, 0.2)]),
    ]
    for picture in pictures:
        tags = {each.tag.rpartition("}")[2] for each in drawn(picture).iter()}
        assert tags <= {"svg", "rect", "text", "path"}
    markdown = as_markdown(pictures)
    assert "<" not in markdown
    assert markdown.count("](") == len(pictures)


@pytest.mark.parametrize("windows", [1, 12, 400])
def test_the_pictures_of_a_check_stay_small(windows):
    bins = tuple(f"a category of many letters {k}" for k in range(22))
    counts = tuple(float(k) for k in range(22))
    columns = [
        Distributions(f"a column with a long name {k}", bins, counts, counts) for k in range(9)
    ]
    names = [column.column for column in columns]
    series = {name: [0.123456] * windows for name in names}
    when = starts(windows)
    checks = [
        [
            charts.over_windows("distance", when, series, limit=0.15, words="from 0.15 on"),
            *charts.then_and_now(columns, names),
        ],
        [charts.quality([quality_window(each) for each in when], STANDARD, worst=0.86)],
        [charts.traffic("rows", when, [1_234_567] * windows)],
    ]
    assert max(len(as_markdown(pictures)) for pictures in checks) < LARGEST


def test_gaps_are_gaps_and_limits_are_named():
    picture = charts.over_windows(
        "x", starts(5), {"a": [0.1, None, 0.2, float("nan"), 0.3]}, limit=0.15, words="alarm"
    )
    assert "alarm" in words(picture)
    lines = re.findall(r'<path d="([^"]+)" class="s-series0" fill="none"', picture.shapes)
    assert len(lines) == 3


def test_what_is_estimated_is_drawn_apart_from_what_is_realised():
    picture = charts.quality([quality_window(each) for each in starts(4)], STANDARD, worst=0.86)
    assert len(re.findall(r'class="s-guess"[^>]*stroke-dasharray', picture.shapes)) == 1
    assert not re.search(r'class="s-now"[^>]*stroke-dasharray', picture.shapes)
    assert {"limit 0.86", "floor of the gates 0.8", "estimated", "labelled"} <= {*words(picture)}


def test_every_colour_has_one_for_the_dark():
    assert set(COLOURS) == set(DARK)
    assert "prefers-color-scheme:dark" in style()


def test_markdown_holds_the_files_themselves():
    picture = charts.ranking("what tells", [("a", 0.2), ("b", -0.1)])
    (encoded,) = re.findall(r"base64,([^)]+)\)", as_markdown([picture]))
    assert base64.b64decode(encoded).decode() == picture.alone()


@given(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.floats(1e-6, 1e6, allow_nan=False),
)
def test_ticks_are_few_and_within(low, span):
    found = ticks(low, low + span)
    assert 0 < len(found) <= 6 or span < abs(low) * 1e-9
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)


def test_windows_lie_where_their_time_is():
    days = Days([*starts(2), starts(8)[-1]])
    assert days.share(0) < days.share(1) < days.share(2)
    assert days.share(2) - days.share(1) == pytest.approx(6 * (days.share(1) - days.share(0)))


def test_rows_are_counted_as_profiles_are():
    then = pd.DataFrame({"n": np.arange(100.0), "two": [0.0, 1.0] * 50, "w": ["a", "b"] * 50})
    now = pd.DataFrame(
        {"n": [-5.0, 99.0, np.nan, 200.0], "two": [1.0] * 4, "w": ["a", "c", None, "a"]}
    )
    number, two, word = rows.compare(then, now, ["n", "two", "w"])
    assert (number.current[0], number.current[-2], number.current[-1]) == (1, 1, 1)
    assert sum(number.reference) == 100
    assert sum(number.current) == 4
    assert dict(zip(two.bins, two.current, strict=True))["1"] == 4
    assert dict(zip(word.bins, word.current, strict=True)) == {
        "a": 2, "b": 0, "(other)": 1, MISSING: 1,
    }  # fmt: skip
