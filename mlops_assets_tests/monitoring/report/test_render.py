"""The page of a report: whole, alone, harmless whatever the data holds, and small."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.monitoring import charts
from mlops_assets.monitoring.distributions import MISSING, Distributions
from mlops_assets.monitoring.report.record import Report, Section, Table, worst
from mlops_assets.monitoring.report.render import STATES, render

HOSTILE = """<img src=x onerror=alert(1)></td><script>alert("1")</script>&amp;'{{ 7 * 7 }}"""
ALONE = {"meta", "br", "rect", "path"}
"""Elements of HTML without an end, and of SVG that end themselves."""
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}
"""Attributes that would load something, or lead away."""


class Page(HTMLParser):
    """Reads a page, and refuses one whose elements do not close as they opened.

    Attributes:
        tags: every element.
        attributes: every attribute's name.
        text: all that people read.
    """

    def __init__(self, html):
        super().__init__()
        self.opened, self.tags, self.attributes, self.text = [], [], set(), []
        self.feed(html)
        self.close()
        assert self.opened == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ALONE:
            self.opened.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        assert tag in ALONE, f"<{tag}/> is no end in HTML"

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag

    def handle_data(self, data):
        if self.opened[-1:] != ["style"]:
            self.text.append(data)


def report(words="fine", *, state="good", columns=4):
    bins = tuple(f"{words} {k}" for k in range(20))
    counts = tuple(float(k) for k in range(20))
    beside = [
        Distributions(f"{words} {k}", (*bins, MISSING), (*counts, 0.0), (*counts[::-1], 2.0))
        for k in range(columns)
    ]
    names = [each.column for each in beside]
    when = [f"2026-01-{day:02d}T00:00:00+00:00" for day in range(1, 20)]
    distances = {name: [0.1] * len(when) for name in names}
    pictures = (
        charts.over_windows(words, when, distances, limit=0.15, words=words),
        *charts.then_and_now(beside, names),
    )
    table = Table((words, "value"), ((words, words), ("a", "b")), words)
    section = Section(words, state, words, (words,), pictures, (table,), (table,))
    return Report(
        experiment=words,
        description=words,
        owner=words,
        at=words,
        state=state,
        headline=words,
        facts=((words, words),),
        sections=(section, Section(words, "unknown", "", (words,))),
        places=((words, words),),
    )


@pytest.mark.parametrize("words", ["fine", HOSTILE])
def test_the_page_is_whole_and_loads_nothing(words):
    html = render(report(words))
    page = Page(html)
    assert not page.attributes & LOADING
    assert not any(name.startswith("on") for name in page.attributes)
    assert not {"script", "img", "iframe", "link", "object", "embed", "form", "base"} & {*page.tags}
    assert not re.search(r"url\(|@import|https?://", html)
    assert page.tags.count("svg") == 5


def test_what_comes_from_data_is_read_as_it_is():
    text = "".join(Page(render(report(HOSTILE))).text)
    # Headline, description, tables, sections, and the alternative of nothing else.
    assert text.count(HOSTILE) > 10


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=40))
def test_no_text_breaks_the_page(words):
    found = Page(render(report(words, columns=1)))
    assert found.tags == Page(render(report("fine", columns=1))).tags or not words


def test_equal_reports_are_equal_pages():
    assert render(report()) == render(report())


def test_a_page_fits_into_a_mail():
    assert len(render(report("a column with a long name", columns=6)).encode()) < 100_000


@pytest.mark.parametrize("state", [*STATES])
def test_every_state_has_its_look(state):
    html = render(report(state=state))
    assert f'class="top {state}"' in html
    assert f".{state}{{" in html


def test_the_worst_counts():
    assert worst(("good", "warning", "unknown")) == "warning"
    assert worst(("good", "bad")) == "bad"
    assert worst(()) == "unknown"
