"""What charts are made of: marks as SVG text, about how wide a text is, axes and the grid behind a plot."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby, pairwise
from typing import Final

from safemt.report.text import visible
from safemt.stats.intervals import Estimate

SLOTS: Final = 8
"""Colours there are; further series begin again, with dashed lines."""
TEXT: Final = 13.0
SMALL: Final = 12.0
LINE: Final = 18.0
"""Sizes of type and the height of a line, in pixels at the width that a chart is drawn for."""
DROP: Final = 4.5
"""How far below the middle of a text its baseline is."""

_STEPS: Final = {0.1: 0.025, 0.2: 0.05, 0.4: 0.1, 0.6: 0.2, 0.8: 0.2, 1.0: 0.25}
"""Where an axis of shares may end → how far apart its ticks are."""
QUARTERS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
FLOOR: Final = 46.0
"""Pixels below a plot: a row of tick labels, and the title of the axis."""
_LOWEST: Final = 0.001
"""Where a logarithmic axis of shares begins."""
_TIGHT: Final = 18.0
"""Pixels between two ticks below which their labels might touch."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def slot_class(slot: int) -> str:
    """The class that gives a series its colour."""
    return f"s{slot % SLOTS}" + (" again" if slot >= SLOTS else "")


def text_width(label: str, size: float = TEXT, *, bold: bool = False) -> float:
    """About how wide `label` is, on the wide side."""
    ems = sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.58 for letter in visible(label))
    return size * ems * (1.12 if bold else 1.0)


def clip(label: str, room: float, *, size: float = TEXT, bold: bool = False) -> str:
    """`label` as it will be shown, cut where it is wider than `room`."""
    label = visible(label)
    if text_width(label, size, bold=bold) <= room:
        return label
    while label and text_width(f"{label}…", size, bold=bold) > room:
        label = label[:-1]
    return f"{label}…"


def number(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line class="{css}" x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"/>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """A line through the points; those that fall on the same pixel are drawn once."""
    placed = [at for at, _ in groupby(f"{number(x)} {number(y)}" for x, y in points)]
    commands = " ".join(f"{'L' if i else 'M'}{at}" for i, at in enumerate(placed))
    return f'<path class="{css}" d="{commands}"/>'


def polygon(points: Sequence[tuple[float, float]], css: str) -> str:
    """A filled shape."""
    corners = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return f'<polygon class="{css}" points="{corners}"/>'


def rect(x: float, y: float, width: float, height: float, css: str, tip: str) -> str:
    """A filled box with words to show beside the pointer."""
    return (
        f'<rect class="{css}" x="{number(x)}" y="{number(y)}" width="{number(width)}" '
        f'height="{number(height)}"><title>{escape(visible(tip))}</title></rect>'
    )


def circle(x: float, y: float, radius: float, css: str) -> str:
    """A filled circle."""
    return f'<circle class="{css}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'


def text(x: float, y: float, label: str, css: str) -> str:
    """A text at its baseline; whatever is in `label`, it is text."""
    return f'<text class="{css}" x="{number(x)}" y="{number(y)}">{escape(visible(label))}</text>'


def svg(width: float, height: float, parts: Sequence[str], *, title: str, description: str, uid: str) -> str:
    """The whole picture, with a name and a description in words; `uid` is unlike any other on the page."""
    return (
        f'<svg viewBox="0 0 {number(width)} {number(height)}" role="img" aria-labelledby="{uid}-t {uid}-d">'
        f'<title id="{uid}-t">{escape(visible(title))}</title>'
        f'<desc id="{uid}-d">{escape(visible(description))}</desc>{"".join(parts)}</svg>'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, with ticks."""

    ticks: tuple[float, ...]
    title: str
    low: float = 0.0
    high: float = 1.0
    label: Callable[[float], str] = lambda tick: f"{100 * tick:g} %"
    scale: Callable[[float], float] = float
    """What makes the axis straight: the logarithm, for a logarithmic one."""
    strong: float = 0.0
    """The tick that is drawn as the base."""

    def share(self, value: float) -> float:
        """How far along the axis `value` is, in [0, 1]; values beyond an end are put there."""
        low, high = self.scale(self.low), self.scale(self.high)
        return (self.scale(min(max(value, self.low), self.high)) - low) / ((high - low) or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The rectangle of a plot, in pixels, between two axes."""

    x: Axis
    y: Axis
    left: float
    top: float
    right: float
    bottom: float
    inset: float = 0.0
    """How far the ends of the x axis are from the sides."""

    def x_of(self, value: float) -> float:
        """Where a value of the x axis is."""
        return self.left + self.inset + (self.right - self.left - 2 * self.inset) * self.x.share(value)

    def y_of(self, value: float) -> float:
        """Where a value of the y axis is."""
        return self.bottom - (self.bottom - self.top) * self.y.share(value)

    def grid(self, *, upright: bool = True) -> list[str]:
        """Lines, tick labels and titles of both axes; `upright` draws lines for the x axis too."""
        above, beside = 16.0, 8.0  # of the y axis: its title above the plot, its labels left of it
        parts = [text(0.0, self.top - above, self.y.title, "axis-title")] if self.y.title else []
        for tick in self.y.ticks:
            y = self.y_of(tick)
            parts += [
                line(self.left, y, self.right, y, "base" if tick == self.y.strong else "grid"),
                text(self.left - beside, y + DROP, self.y.label(tick), "tick end"),
            ]
        return [*parts, *self.x_marks(upright=upright)]

    def x_marks(self, *, upright: bool = True, inside: bool = False) -> list[str]:
        """The x axis alone; `inside` keeps the first and the last label between the ends of the axis."""
        parts = []
        for tick in self.x.ticks:
            x = self.x_of(tick)
            if upright:
                # Where the axis begins at the edge, names are over it.
                css = "base" if tick == self.x.strong and not (inside and x <= self.left) else "grid"
                parts.append(line(x, self.top, x, self.bottom, css))
            at_end = "tick" if x <= self.left else "tick end" if x >= self.right else "tick middle"
            parts.append(text(x, self.bottom + 18.0, self.x.label(tick), at_end if inside else "tick middle"))
        if self.x.title:
            middle = (self.left + self.right) / 2
            parts.append(text(middle, self.bottom + FLOOR - 6.0, self.x.title, "axis-title middle"))
        return parts


def share_axis(shares: Iterable[float], title: str) -> Axis:
    """From 0 to a round share that none of `shares` exceeds."""
    high = _end(shares)
    step = _STEPS[high]
    return Axis(
        ticks=tuple(round(i * step, 3) for i in range(round(high / step) + 1)), title=title, high=high
    )


def difference_axis(estimates: Iterable[Estimate | None], title: str) -> Axis:
    """As far below 0 as above it, in percentage points."""
    high = _end(abs(end) for e in estimates if e is not None for end in (e.interval.low, e.interval.high))
    step = 2 * _STEPS[high]
    ticks = [round(i * step, 3) for i in range(1, int(high / step + 0.01) + 1)]
    return Axis(
        ticks=(*(-tick for tick in reversed(ticks)), 0.0, *ticks),
        title=title,
        low=-high,
        high=high,
        label=lambda tick: f"{100 * tick:+g}".replace("-", "−") if tick else "0",
    )


def index_axis(title: str) -> Axis:
    """From 0 to 1, in plain numbers."""
    return Axis(ticks=QUARTERS, title=title, label=lambda tick: f"{tick:g}")


def rare_axis(title: str) -> Axis:
    """Shares on a logarithmic axis, on which rare events have room."""
    return Axis(
        ticks=(0.001, 0.01, 0.05, 0.2, 1.0), title=title, low=_LOWEST, scale=math.log10, strong=_LOWEST
    )


def turns_axis(rounds: Sequence[int], pixels: float, title: str) -> Axis:
    """Numbers of turns on a log scale; evenly spaced where that would let labels touch."""
    ticks = tuple(float(k) for k in rounds)
    if len(ticks) < 2:  # in the middle
        ends = (ticks[0] / 2, ticks[0] * 2) if ticks else (1.0, 2.0)
    else:
        ends = (ticks[0], ticks[-1])
    axis = Axis(
        ticks=ticks, title=title, low=ends[0], high=ends[1], label=lambda k: f"{k:g}", scale=math.log2
    )
    places = [pixels * axis.share(k) for k in ticks]
    if any(b - a < _TIGHT for a, b in pairwise(places)):
        return replace(axis, scale={k: float(i) for i, k in enumerate(ticks)}.__getitem__)
    return axis


def _end(shares: Iterable[float]) -> float:
    highest = max(shares, default=1.0)
    return next((end for end in _STEPS if highest <= end), 1.0)
