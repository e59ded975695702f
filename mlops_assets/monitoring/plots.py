"""Distributions then and now, and how far apart they lay, as pictures for the Dagster UI. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.figures import BLUE, RED, new_figure
from mlops_assets.monitoring.distributions import Distributions
from mlops_assets.monitoring.drift import ColumnDrift

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def then_and_now(
    columns: Sequence[Distributions], ranked: Sequence[str], *, most: int = 6
) -> "Figure":
    """The first of the ranked columns; there is at least one."""
    by_name = {each.column: each for each in columns}
    shown = [by_name[name] for name in ranked[:most]]
    across = min(2, len(shown))
    figure = new_figure(-(-len(shown) // across), across, width=3.0, height=2.5)
    for axis, each in zip(figure.axes, shown, strict=False):
        _draw(axis, each, legend=axis is figure.axes[0])
    return figure


def by_window(
    starts: Sequence[str],
    verdicts: Sequence[Sequence[ColumnDrift]],
    ranked: Sequence[str],
    effect: float,
    *,
    most: int = 6,
) -> "Figure":
    """The Jensen-Shannon distance of the first of the ranked columns in each window.

    Args:
        starts: of the windows, ISO 8601, oldest first.
        verdicts: of the columns of each window.
        ranked: columns, of which the first are shown.
        effect: from which on a distance counts.
        most: columns shown.
    """
    figure = new_figure(1, 1, width=6.0, height=2.5)
    (axis,) = figure.axes
    places = range(len(starts))
    for name in ranked[:most]:
        distances = [
            next((v.jensen_shannon for v in window if v.column == name), float("nan"))
            for window in verdicts
        ]
        axis.plot(places, distances, marker="o", label=name)
    axis.axhline(effect, color=RED, linestyle="--", linewidth=0.8)
    axis.set_xticks(list(places), [start[:16] for start in starts], rotation=20, fontsize=6)
    axis.set(ylabel="Jensen-Shannon distance", ylim=(0, None))
    axis.legend(frameon=False, fontsize=6)
    return figure


def _draw(axis: Any, column: Distributions, *, legend: bool) -> None:
    before, now = sum(column.reference) or 1.0, sum(column.current) or 1.0
    places = range(len(column.bins))
    axis.bar(
        [p - 0.2 for p in places],
        [r / before for r in column.reference],
        width=0.4,
        color=BLUE,
        label="then",
    )
    axis.bar(
        [p + 0.2 for p in places],
        [c / now for c in column.current],
        width=0.4,
        color=RED,
        label="now",
    )
    axis.set_xticks(list(places), [b[:14] for b in column.bins], rotation=70, fontsize=6)
    axis.tick_params(axis="y", labelsize=6)
    axis.set_title(column.column, fontsize=8)
    if legend:
        axis.legend(frameon=False, fontsize=6)
