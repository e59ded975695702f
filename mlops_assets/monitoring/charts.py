"""The pictures of monitoring: distributions then and now, what moved over the windows, traffic,
quality with its interval. Pure."""

import math
from collections.abc import Mapping, Sequence

from mlops_assets.gateways.realised import QualityWindow
from mlops_assets.monitoring.distributions import Distributions
from mlops_assets.monitoring.drawing import (
    HEIGHT,
    LEFT,
    RIGHT,
    SERIES,
    TOP,
    WIDE,
    Canvas,
    Days,
    Picture,
)
from mlops_assets.monitoring.drawing import short as shortened
from mlops_assets.monitoring.performance.verdict import Standard

MOST = 6
"""Columns that are drawn, of however many."""
BESIDE = 112
"""Room for the words of a limit."""
NEWEST = 50
"""Windows that are drawn, of however many; of bars four times as many: a picture stays small."""


def then_and_now(
    columns: Sequence[Distributions], ranked: Sequence[str], *, most: int = MOST
) -> list[Picture]:
    """The shares of both sides per bin, of the first of the ranked columns."""
    by_name = {each.column: each for each in columns}
    return [_distribution(by_name[name]) for name in ranked if name in by_name][:most]


def _distribution(column: Distributions) -> Picture:
    before, now = sum(column.reference) or 1.0, sum(column.current) or 1.0
    # Missing values are a bin always; drawn where there are any.
    used = [
        at
        for at, bin_ in enumerate(column.bins)
        if column.reference[at] or column.current[at] or bin_ not in column.bins[-1:]
    ]
    shares = [(column.reference[at] / before, column.current[at] / now) for at in used]
    top = max((max(pair) for pair in shares), default=0.0) or 1.0
    canvas = Canvas(column.column, 0.0, top * 1.05, bottom=72)
    canvas.values(percent=True)
    # Its first bin is what lies below the reference.
    numbers = column.bins[0].startswith("< ")
    step = 1 / max(len(used), 1)
    width = (canvas.x(step) - LEFT) * 0.4
    for side, name in enumerate(("then", "now")):
        left = 0.1 * step
        tops = [(canvas.x(left + step * at), canvas.y(s[side])) for at, s in enumerate(shares)]
        canvas.boxes([(x + side * width, y, width, canvas.floor - y) for x, y in tops], name)
    for at, bin_ in enumerate(used):
        x = canvas.x(step * (at + 0.5))
        words = column.bins[bin_].replace(" to ", "..") if numbers else column.bins[bin_]
        words = shortened(words, 14)
        canvas.text(x + 3, canvas.floor + 8, words, anchor="end", size=8, turn=-40)
    canvas.legend((("then", "then"), ("now", "now")))
    return canvas.done()


def over_windows(
    title: str,
    starts: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    limit: float | None,
    words: str,
    percent: bool = False,
    most: int = MOST,
) -> Picture:
    """Lines over windows, of the first series; None where a window has no value.

    Args:
        title: of the picture.
        starts: of the windows, ISO 8601, oldest first; at least one.
        series: by name, a value for each window.
        limit: what the values are held to.
        words: that stand at this line.
        percent: whether the values are shares.
        most: series drawn.
    """
    starts = starts[-NEWEST:]
    first = list(series.items())[: min(most, len(SERIES))]
    shown = [(name, values[-NEWEST:]) for name, values in first]
    known = [value for _, values in shown for value in values if value is not None]
    top = max([*known, limit or 0.0]) or 1.0
    beside = RIGHT if limit is None else BESIDE
    canvas = Canvas(title, 0.0, top * 1.12, width=WIDE, bottom=48, beside=beside)
    canvas.values(percent=percent)
    days = Days(starts)
    days.draw(canvas)
    for place, (_, values) in enumerate(shown):
        for run in _runs(values):
            points = [(canvas.x(days.share(at)), canvas.y(value)) for at, value in run]
            canvas.line(points, f"series{place}", width=1.6)
            canvas.dots(points, f"series{place}")
    if limit is not None:
        canvas.limits([(limit, words)])
    canvas.legend((f"series{place}", name) for place, (name, _) in enumerate(shown))
    return canvas.done()


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Values without a gap between them, with their places."""
    found: list[list[tuple[int, float]]] = [[]]
    for at, value in enumerate(values):
        if value is None or not math.isfinite(value):
            found.append([])
        else:
            found[-1].append((at, value))
    return [run for run in found if run]


def traffic(title: str, starts: Sequence[str], rows: Sequence[int]) -> Picture:
    """Rows per window as bars; there is at least one window."""
    starts, rows = starts[-4 * NEWEST :], rows[-4 * NEWEST :]
    canvas = Canvas(title, 0.0, max(rows) * 1.08 or 1.0, width=WIDE, height=150)
    canvas.values()
    days = Days(starts)
    days.draw(canvas)
    width = max(1.0, (canvas.right - LEFT) * days.width * 0.8)
    tops = [(canvas.x(days.share(at)) - width / 2, canvas.y(n)) for at, n in enumerate(rows)]
    canvas.boxes([(x, y, width, canvas.floor - y) for x, y in tops], "now")
    return canvas.done()


def ranking(
    title: str, values: Sequence[tuple[str, float]], *, most: int = 10, left: int = 150
) -> Picture:
    """Named values as bars from left to right, in the order given; there is at least one."""
    shown = list(values)[:most]
    top = max(max(value for _, value in shown), 0.0) or 1.0
    canvas = Canvas(title, 0.0, top, width=WIDE, height=TOP + 18 * len(shown) + 8, bottom=8)
    length = canvas.right - left - 60
    for place, (name, value) in enumerate(shown):
        y = TOP + 18 * place
        width = max(0.0, value) / top * length
        canvas.text(left - 6, y + 11, shortened(name, 24), anchor="end")
        canvas.boxes([(left, y + 2, width, 12)], "now")
        canvas.text(left + width + 5, y + 11, f"{value:.3g}")
    return canvas.done()


def quality(
    windows: Sequence[QualityWindow], standard: Standard, *, worst: float | None
) -> Picture:
    """One metric of one version: realised with its interval, the estimate dashed and apart, the
    interval of the held-out rows as a band, and below how many of the predictions have a label.

    Args:
        windows: oldest first; at least one.
        standard: what the metric is held to.
        worst: the value from which on it counts as fallen; None without one.
    """
    windows, name = windows[-NEWEST:], standard.metric
    found = [metrics for w in windows for metrics in (w.realised, w.estimated) if name in metrics]
    ends = [end for metrics in found for end in (metrics[name].low, metrics[name].high)]
    ends += [standard.held_out.low, standard.held_out.high] if standard.held_out else []
    named = [(worst, "limit"), (standard.floor, "floor of the gates")]
    limits = [(value, f"{words} {value:.3g}") for value, words in named if value is not None]
    ends += [value for value, _ in limits]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    pad = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    title = f"{name} by window"
    canvas = Canvas(
        title, low - pad, high + pad, width=WIDE, height=HEIGHT + 60, bottom=92, beside=BESIDE
    )
    if standard.held_out is not None:
        top = canvas.y(standard.held_out.high)
        tall = max(1.0, canvas.y(standard.held_out.low) - top)
        canvas.boxes([(LEFT, top, canvas.right - LEFT, tall)], "band")
    canvas.values()
    days = Days([window.start for window in windows])
    days.draw(canvas)
    canvas.limits(limits)
    _estimates(canvas, days, [window.estimated.get(name) for window in windows])
    for at, window in enumerate(windows):
        if name in window.realised:
            metric, x = window.realised[name], canvas.x(days.share(at))
            canvas.line([(x, canvas.y(metric.low)), (x, canvas.y(metric.high))], "now", width=1.6)
            canvas.dots([(x, canvas.y(metric.value))], "now", radius=3.4)
    _coverage(canvas, days, [window.coverage for window in windows])
    entries = [("now", "realised, 95%"), ("guess", "estimated")]
    canvas.legend([*entries, *([("band", "held-out rows")] if standard.held_out else [])])
    return canvas.done()


def _estimates(canvas: Canvas, days: Days, metrics: Sequence[object]) -> None:
    values = [getattr(metric, "value", None) for metric in metrics]
    for run in _runs(values):
        points = [(canvas.x(days.share(at)), canvas.y(value)) for at, value in run]
        canvas.line(points, "guess", dash="5 3", width=1.4)


def _coverage(canvas: Canvas, days: Days, shares: Sequence[float]) -> None:
    """Below the axis of time."""
    base, tall = canvas.height - 22, 30
    canvas.text(LEFT - 5, base - tall + 8, "labelled", anchor="end", size=9)
    width = max(1.0, (canvas.right - LEFT) * days.width * 0.8)
    lefts = [canvas.x(days.share(at)) - width / 2 for at in range(len(shares))]
    canvas.boxes([(x, base - tall, width, tall) for x in lefts], "band")
    canvas.boxes(
        [(x, base - tall * s, width, tall * s) for x, s in zip(lefts, shares, strict=True)], "now"
    )
