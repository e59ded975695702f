"""Quality over the windows, measured and estimated, as a picture for the Dagster UI. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_assets.gateways.realised import QualityWindow
from mlops_assets.modeling.figures import BLUE, GREY, RED, new_figure
from mlops_assets.monitoring.performance.verdict import Standard

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def over_windows(windows: Sequence[QualityWindow], standard: Standard) -> "Figure":
    """One metric of one version: realised with its interval, the estimate dashed, the interval of
    the held-out rows as a band, and the floor."""
    figure = new_figure(1, 1, width=6.0, height=2.8)
    (axis,) = figure.axes
    name = standard.metric
    estimated = [(at, w.estimated[name]) for at, w in enumerate(windows) if name in w.estimated]
    realised = [(at, w.realised[name]) for at, w in enumerate(windows) if name in w.realised]
    if standard.held_out is not None:
        held_out = standard.held_out
        axis.axhspan(held_out.low, held_out.high, color=GREY, alpha=0.25, label="held-out rows")
    if standard.floor is not None:
        axis.axhline(standard.floor, color=RED, linestyle=":", linewidth=0.8, label="floor")
    if estimated:
        places, metrics = zip(*estimated, strict=True)
        values = [metric.value for metric in metrics]
        axis.plot(places, values, color=GREY, linestyle="--", label="estimated, without labels")
    if realised:
        places, metrics = zip(*realised, strict=True)
        values = [metric.value for metric in metrics]
        below = [max(0.0, metric.value - metric.low) for metric in metrics]
        above = [max(0.0, metric.high - metric.value) for metric in metrics]
        axis.errorbar(
            places, values, yerr=(below, above), color=BLUE, marker="o", capsize=2, label="realised"
        )
    step = max(1, -(-len(windows) // 8))
    shown = range(0, len(windows), step)
    starts = [windows[at].start[:16] for at in shown]
    axis.set_xticks(list(shown), starts, rotation=20, fontsize=6)
    axis.set_ylabel(name)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=6)
    return figure
