"""A report as one HTML file that needs nothing else: no script, no network, no other file. Pure."""

import functools
from importlib.resources import files
from typing import TYPE_CHECKING

from mlops_assets.monitoring.drawing import Picture, style
from mlops_assets.monitoring.report.record import Report

if TYPE_CHECKING:
    from jinja2 import Template

STATES = {"good": "well", "unknown": "", "warning": "look at it", "bad": "not well"}
"""As people read them."""


def render(report: Report) -> str:
    """The whole page. Whatever comes from data is text in it, never markup."""
    return _template().render(report=report, states=STATES, draw=_draw, palette=_palette())


@functools.cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    text = files("mlops_assets.monitoring.report").joinpath("report.html").read_text("utf-8")
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return made.from_string(text)


def _draw(picture: Picture) -> str:
    """SVG escapes its own words."""
    from markupsafe import Markup

    return Markup(picture.inline())  # noqa: S704


def _palette() -> str:
    from markupsafe import Markup

    return Markup(style())  # noqa: S704
