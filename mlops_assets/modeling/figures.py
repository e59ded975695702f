"""How figures and tables look, and how they reach the Dagster UI. Knows no asset."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREY, RED = "#1f5fa8", "#8a8f98", "#b3402a"


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 3.7, height: float = 2.8
) -> "Figure":
    """A figure of rows x columns axes without clutter; width and height are one axis's, inches.
    The default width is what an asset's page in the Dagster UI shows without scrolling."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.subplots(rows, columns)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def as_markdown(figures: Mapping[str, "Figure"]) -> str:
    """Figures by title as inline PNGs, small enough for Dagster's event log. The Dagster UI shows
    Markdown of this length on a click, all of it at once."""
    parts = []
    for title, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=72)
        png = base64.b64encode(buffer.getvalue()).decode()
        parts.append(f"![{title}](data:image/png;base64,{png})")
    return "\n\n".join(parts)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; vertical bars in cells are escaped."""
    escaped = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
