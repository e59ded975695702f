"""How the pictures of monitoring look: colours, type, axes, and how they reach Dagster and HTML.

A picture is SVG of a few kB, so that a year of checks stays small. Every shape carries its colour
and the name of a class: alone it is drawn on white; in a page, the page's style says how it looks
in light and in dark.
"""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape

from mlops_assets.modeling.figures import BLUE, GREY, RED

WIDTH, HEIGHT = 340, 190
"""Of a picture that stands beside another one."""
WIDE = 700
"""The width of one that stands alone."""
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 26, 34
"""Around the area that is drawn on."""
TEXT = "#3d434b"
FAINT = "#d8dbe0"
SERIES = (BLUE, "#b3752a", "#3f7d4a", "#7a4fa3", "#2a8a94", "#9c5a72")
"""Of lines that are told apart."""
COLOURS: Mapping[str, str] = {
    "then": "#9db4d0",
    "now": BLUE,
    "limit": RED,
    "guess": GREY,
    "band": "#e4e8ee",
    "axis": FAINT,
    "text": TEXT,
    **{f"series{number}": colour for number, colour in enumerate(SERIES)},
}
"""By class."""
DARK: Mapping[str, str] = {
    "then": "#4b6685",
    "now": "#7db1ee",
    "limit": "#ee8a74",
    "guess": "#a3a9b3",
    "band": "#2b313a",
    "axis": "#3a4049",
    "text": "#c3c9d2",
    "series0": "#7db1ee",
    "series1": "#e0ab62",
    "series2": "#86c793",
    "series3": "#bd9ae0",
    "series4": "#6cc7d1",
    "series5": "#dd9ab3",
}
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"

CHARACTER = 5.9
"""Width of a letter, in pixels, about."""


@dataclass(frozen=True)
class Picture:
    """A finished drawing."""

    title: str
    width: int
    height: int
    shapes: str
    """What stands inside the SVG."""

    def inline(self) -> str:
        """For HTML, whose own style colours it."""
        return self._svg(f'role="img" aria-label="{escape(self.title)}"', self.shapes)

    def alone(self) -> str:
        """A file of its own, on white."""
        page = f'<rect width="{self.width}" height="{self.height}" fill="#fff"/>'
        return self._svg('xmlns="http://www.w3.org/2000/svg"', page + self.shapes)

    def _svg(self, attributes: str, shapes: str) -> str:
        return (
            f'<svg {attributes} width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" style="{_FONT}" font-size="10" '
            f'class="f-text" fill="{TEXT}">'
            f"{shapes}</svg>"
        )


def as_markdown(pictures: Iterable[Picture]) -> str:
    """Pictures as Dagster's UI shows them, side by side where there is room."""
    parts = []
    for each in pictures:
        encoded = base64.b64encode(each.alone().encode()).decode()
        # Brackets would end the words that stand for the image.
        title = "".join(c for c in each.title if c not in "[]\\`\n<>")
        parts.append(f"![{title}](data:image/svg+xml;base64,{encoded})")
    return "\n".join(parts)


def style() -> str:
    """The colours of pictures in a page, in light and in dark."""
    dark = "".join(_rules(DARK))
    return "".join(_rules(COLOURS)) + f"@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _rules(colours: Mapping[str, str]) -> Iterable[str]:
    for name, colour in colours.items():
        yield f".f-{name}{{fill:{colour}}}.s-{name}{{stroke:{colour}}}"


def short(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float) -> str:
    """As people read it beside an axis."""
    if value and (abs(value) >= 10_000 or abs(value) < 0.001):
        for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:g}{unit}"
        return f"{value:.0e}"
    return f"{value:.6g}"


@dataclass
class Canvas:
    """Shapes of one picture, in the order they are drawn.

    Attributes:
        title: in words; drawn at the top.
        low, high: of the values, from the bottom to the top of the area.
    """

    title: str
    low: float
    high: float
    width: int = WIDTH
    height: int = HEIGHT
    bottom: int = BOTTOM
    beside: int = RIGHT
    """Room to the right of the area."""
    shapes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.text(2, 13, short(self.title, self.width // 7), size=12, weight=600)

    @property
    def right(self) -> int:
        return self.width - self.beside

    @property
    def floor(self) -> int:
        """Where the area ends below."""
        return self.height - self.bottom

    def x(self, share: float) -> float:
        """Of a place from 0, left, to 1, right."""
        return LEFT + share * (self.right - LEFT)

    def y(self, value: float) -> float:
        """Of a value; what is beyond the area is drawn at its edge."""
        span = (self.high - self.low) or 1.0
        share = min(1.0, max(0.0, (value - self.low) / span))
        return self.floor - share * (self.floor - TOP)

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", size: int = 10,
        weight: int = 400, turn: int = 0, name: str = "text",
    ) -> None:  # fmt: skip
        more = f' text-anchor="{anchor}"' if anchor != "start" else ""
        more += f' font-size="{size}"' if size != 10 else ""
        more += f' font-weight="{weight}"' if weight != 400 else ""
        more += f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        # The picture's own colour is that of text.
        more += f' class="f-{name}" fill="{COLOURS[name]}"' if name != "text" else ""
        self.shapes.append(f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>')

    def line(
        self, points: Sequence[tuple[float, float]], name: str, *, dash: str = "", width: float = 1
    ) -> None:
        if not points:
            return
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        more = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(
            f'<path d="{path}" class="s-{name}" fill="none" stroke="{COLOURS[name]}" '
            f'stroke-width="{width:g}"{more}/>'
        )

    def boxes(self, corners: Iterable[tuple[float, float, float, float]], name: str) -> None:
        """Rectangles of left, top, width and height, in pixels."""
        path = "".join(f"M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h{-w:.1f}z" for x, y, w, h in corners)
        if path:
            self.shapes.append(f'<path d="{path}" class="f-{name}" fill="{COLOURS[name]}"/>')

    def dots(
        self, points: Iterable[tuple[float, float]], name: str, *, radius: float = 2.6
    ) -> None:
        # A line of no length with round ends: a few bytes each.
        if path := "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points):
            self.shapes.append(
                f'<path d="{path}" class="s-{name}" stroke="{COLOURS[name]}" '
                f'stroke-width="{2 * radius:g}" stroke-linecap="round"/>'
            )

    def values(self, *, percent: bool = False) -> None:
        """The axis of values: at most five round ones, each with a line across."""
        for value in ticks(self.low, self.high):
            y = self.y(value)
            self.line([(LEFT, y), (self.right, y)], "axis", width=0.7)
            words = f"{value * 100:.3g}%" if percent else number(value)
            self.text(LEFT - 5, y + 3.5, words, anchor="end")

    def limits(self, lines: Iterable[tuple[float, str]]) -> None:
        """Dashed lines across, that values are held to; their words stand beside the area."""
        free = float("-inf")
        for value, words in sorted(lines, key=lambda line: -line[0]):
            y = self.y(value)
            self.line([(LEFT, y), (self.right, y)], "limit", dash="4 3")
            free = max(y + 3, free + 11)
            self.text(self.right + 5, free, words, size=9, name="limit")

    def legend(self, entries: Iterable[tuple[str, str]]) -> None:
        """Classes and words, in a row at the lower edge."""
        listed, x = [*entries], float(LEFT)
        room = (self.width - LEFT - 23 * len(listed)) / CHARACTER
        most = max((len(words) for _, words in listed), default=0)
        while most > 6 and sum(min(len(words), most) for _, words in listed) > room:
            most -= 1
        for name, words in listed:
            shown = short(words, most)
            self.boxes([(x, self.height - 11, 8, 8)], name)
            self.text(x + 11, self.height - 4, shown)
            x += 11 + CHARACTER * len(shown) + 12

    def done(self) -> Picture:
        return Picture(self.title, self.width, self.height, "".join(self.shapes))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, at most so many: steps of 1, 2 or 5."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(most - 1, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


class Days:
    """The axis of time below some canvases: from the first start to the end of the last window."""

    def __init__(self, starts: Sequence[str]) -> None:
        self._starts = [datetime.fromisoformat(start) for start in starts]
        first, last = min(self._starts), max(self._starts)
        gaps = [b - a for a, b in zip(sorted(self._starts), sorted(self._starts)[1:], strict=False)]
        self.step = min((gap for gap in gaps if gap), default=timedelta(hours=1))
        self._first, self._span = first, (last - first) + self.step

    def share(self, at: int) -> float:
        """Where the middle of a window lies, by its number: 0 to 1."""
        return (self._starts[at] - self._first + self.step / 2) / self._span

    @property
    def width(self) -> float:
        """Of a window, as a share of the axis."""
        return self.step / self._span

    def draw(self, canvas: Canvas) -> None:
        most = max(2, (canvas.right - LEFT) // 84)
        every = max(1, -(-len(self._starts) // most))
        daily = self.step >= timedelta(days=1)
        free = float("-inf")
        for at in range(0, len(self._starts), every):
            start, x = self._starts[at], canvas.x(self.share(at))
            words = f"{start.day} {start:%b}" if daily else f"{start.day} {start:%b %H:%M}"
            if x - free >= CHARACTER * len(words):
                canvas.text(x, canvas.floor + 13, words, anchor="middle", size=9)
                free = x
        canvas.line([(LEFT, canvas.floor), (canvas.right, canvas.floor)], "axis", width=1)
