"""How figures look, and how they reach the Dagster UI. Knows no asset."""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREY, RED = "#1f5fa8", "#8a8f98", "#b3402a"


def new_figure(rows: int = 1, columns: int = 1, *, width: float = 5.2, height: float = 3.8) -> "Figure":
    """A figure of rows x columns axes without clutter; width and height are one axis's, inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.subplots(rows, columns)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def as_markdown(figure: "Figure", title: str) -> str:
    """The figure as an inline PNG, small enough for Dagster's event log."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=72)
    return f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
