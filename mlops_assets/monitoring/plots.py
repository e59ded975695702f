"""Distributions then and now, as a picture for the Dagster UI. Pure."""

from typing import TYPE_CHECKING, Any

from mlops_assets.modeling.figures import BLUE, RED, new_figure
from mlops_assets.monitoring.distributions import Histogram
from mlops_assets.monitoring.drift import ColumnDrift

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def then_and_now(
    histograms: tuple[Histogram, ...], verdicts: tuple[ColumnDrift, ...], *, most: int = 6
) -> "Figure":
    """The most drifted columns; there is at least one."""
    by_name = {histogram.column: histogram for histogram in histograms}
    shown = [by_name[verdict.column] for verdict in verdicts[:most]]
    columns = min(2, len(shown))
    figure = new_figure(-(-len(shown) // columns), columns, width=3.0, height=2.5)
    for axis, histogram in zip(figure.axes, shown, strict=False):
        _draw(axis, histogram, legend=axis is figure.axes[0])
    return figure


def _draw(axis: Any, histogram: Histogram, *, legend: bool) -> None:
    before, now = sum(histogram.reference) or 1.0, sum(histogram.current) or 1.0
    places = range(len(histogram.bins))
    axis.bar(
        [p - 0.2 for p in places],
        [r / before for r in histogram.reference],
        width=0.4,
        color=BLUE,
        label="training",
    )
    axis.bar(
        [p + 0.2 for p in places],
        [c / now for c in histogram.current],
        width=0.4,
        color=RED,
        label="serving",
    )
    axis.set_xticks(list(places), [b[:14] for b in histogram.bins], rotation=70, fontsize=6)
    axis.tick_params(axis="y", labelsize=6)
    axis.set_title(histogram.column, fontsize=8)
    if legend:
        axis.legend(frameon=False, fontsize=6)
