"""Charts as SVG: pure functions from figures to text, every mark inside the view box.

Colours, fonts and themes are the style sheet's: marks carry classes only. `s0` … `s7` are the runs. Each
chart is drawn at a given width and shown at about that size, so that its type stays readable: a wide one
for desks and paper, a narrow one for phones.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from safemt.report.page.marks import (
    LINE,
    SMALL,
    TEXT,
    axis_end,
    axis_ticks,
    circle,
    clip,
    line,
    number,
    rect,
    slot_class,
    spread,
    svg,
    text,
    text_width,
)
from safemt.report.page.words import percent, percent_interval
from safemt.stats.intervals import Estimate

WIDE: Final = 720
NARROW: Final = 350


@dataclass(frozen=True, slots=True)
class Series:
    """One run's shares by turns."""

    name: str
    slot: int
    shares: tuple[tuple[int, Estimate], ...]
    """By ascending turns; those without an estimate are left out."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure of a dot chart; without an estimate it says so."""

    name: str
    slot: int
    estimate: Estimate | None
    text: str
    """The figure in words, shown beside the dot."""


@dataclass(frozen=True, slots=True)
class DotGroup:
    """Figures under a common heading; an empty one for none."""

    heading: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis of a dot chart."""

    low: float
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str]
    title: str
    zero: bool = False
    """Whether 0 divides good from bad and is drawn."""


@dataclass(frozen=True, slots=True)
class Point:
    """One run in the plane of two shares."""

    name: str
    slot: int
    x: Estimate
    y: Estimate


@dataclass(frozen=True, slots=True)
class Bar:
    """One stacked bar: how many of each segment."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars under a common heading; an empty one for none."""

    heading: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """One kind of segment and the class that colours it."""

    name: str
    css: str


def turns_chart(
    series: Sequence[Series],
    *,
    width: int,
    title: str,
    uid: str,
    axis: str = "Attack success rate (95 % band)",
) -> str:
    """Shares in % by turns (log scale of base 2), ASR or what `axis` says: a line and a 95 % band for each.

    Wide: names stand at the ends of the lines; narrow: in a key above them.
    """
    wide = width >= WIDE
    tall = 380.0 if wide else 300.0
    key = 0.0 if wide else LINE * len(series)
    longest = max((text_width(one.name, TEXT, bold=True) for one in series), default=0.0)
    right = 22.0 + min(longest, 210.0) if wide else 16.0
    left, top, bottom = 48.0, 30.0 + key, 46.0
    height = tall + key
    highest = axis_end(estimate.interval.high for one in series for _, estimate in one.shares)
    rounds = sorted({turns for one in series for turns, _ in one.shares})
    x_of = _turn_positions(rounds, left + 14.0, width - right - 12.0)

    def y_of(share: float) -> float:
        return height - bottom - (height - bottom - top) * min(share, highest) / highest

    parts = [text(0.0, 14.0 + key, axis, "axis-title")]
    for tick in axis_ticks(highest):
        y = y_of(tick)
        parts += [
            line(left, y, width - right, y, "grid" if tick else "base"),
            text(left - 8.0, y + 4.0, f"{100 * tick:g} %", "tick end"),
        ]
    parts += [text(x_of[turns], height - bottom + 20.0, str(turns), "tick middle") for turns in rounds]
    parts.append(text((left + width - right) / 2, height - 6.0, "turns in the dialogue", "axis-title middle"))
    for one in series:  # all bands under all lines
        parts.append(_band([(x_of[k], e) for k, e in one.shares], y_of, one.slot))
    for one in series:
        where = [(x_of[turns], y_of(estimate.value)) for turns, estimate in one.shares]
        path = " ".join(f"{'L' if i else 'M'}{number(x)} {number(y)}" for i, (x, y) in enumerate(where))
        if len(where) > 1:
            parts.append(
                f'<path class="halo" d="{path}"/><path class="line {slot_class(one.slot)}" d="{path}"/>'
            )
        parts += [circle(x, y, 4.0, f"dot {slot_class(one.slot)}") for x, y in where]
    if len(series) == 1:
        parts += [
            text(x_of[turns], y_of(e.value) - 11.0, percent(e.value), "value middle")
            for turns, e in series[0].shares
        ]
    ends = [y_of(one.shares[-1][1].value) for one in series if one.shares]
    if wide:
        heights = spread(ends, gap=LINE, low=top, high=height - bottom)
        ended = [one for one in series if one.shares]
        for one, end, at in zip(ended, ends, heights, strict=True):
            x = x_of[one.shares[-1][0]]
            parts += [
                line(x + 7.0, end, width - right + 6.0, at, f"leader {slot_class(one.slot)}"),
                text(
                    width - right + 10.0,
                    at + 4.5,
                    clip(one.name, right - 12.0, bold=True),
                    f"name {slot_class(one.slot)}",
                ),
            ]
    else:
        parts += key_lines([(one.name, one.slot) for one in series], width)
    told = "; ".join(
        f"{one.name}: "
        + ", ".join(f"{k} turns {percent(e.value)} ({percent_interval(e)})" for k, e in one.shares)
        for one in series
    )
    return svg(width, height, parts, title=title, description=told, uid=uid)


def dot_chart(groups: Sequence[DotGroup], *, scale: Scale, width: int, title: str, uid: str) -> str:
    """Figures with their intervals, one below the other on a common axis."""
    wide = width >= WIDE
    dots = [dot for group in groups for dot in group.dots]
    names = max((text_width(dot.name, TEXT) for dot in dots), default=0.0)
    texts = max((text_width(dot.text, TEXT) for dot in dots), default=0.0)
    left = 14.0 + min(names, 230.0) if wide else 10.0
    right = 14.0 + min(texts, 220.0) if wide else 10.0
    row = 26.0 if wide else 42.0
    top = 8.0

    def x_of(value: float) -> float:
        share = (min(max(value, scale.low), scale.high) - scale.low) / (scale.high - scale.low)
        return left + share * (width - right - left)

    headings = sum(bool(group.heading) for group in groups)
    height = top + row * len(dots) + 26.0 * headings + 46.0
    floor = height - 42.0
    parts = []
    for tick in scale.ticks:
        x = x_of(tick)
        parts += [
            line(x, top, x, floor, "base" if scale.zero and tick == 0 else "grid"),
            text(x, floor + 17.0, scale.text(tick), _tick_class(x, left, width - right, wide=wide)),
        ]
    parts.append(text((left + width - right) / 2, height - 6.0, scale.title, "axis-title middle"))
    y = top
    for group in groups:
        if group.heading:
            parts.append(text(0.0, y + 18.0, clip(group.heading, width, bold=True), "group"))
            y += 26.0
        for dot in group.dots:
            middle = y + (row / 2 if wide else 30.0)
            parts += _dot(dot, x_of, y, middle, width, left if wide else None)
            y += row
    told = "; ".join(
        f"{group.heading + ', ' if group.heading else ''}{dot.name}: {dot.text}"
        for group in groups
        for dot in group.dots
    )
    return svg(width, height, parts, title=title, description=told, uid=uid)


def plane_chart(points: Sequence[Point], *, width: int, title: str, uid: str) -> str:
    """Over-refusal against ASR, each run a point with both its intervals; the best corner is lower left."""
    wide = width >= WIDE
    key = 0.0 if wide else LINE * len(points)
    left, right, top, bottom = 48.0, 20.0, 30.0 + key, 48.0
    height = (420.0 if wide else 340.0) + key
    x_high = axis_end(point.x.interval.high for point in points)
    y_high = axis_end(point.y.interval.high for point in points)

    def x_of(share: float) -> float:
        return left + (width - right - left) * min(share, x_high) / x_high

    def y_of(share: float) -> float:
        return height - bottom - (height - bottom - top) * min(share, y_high) / y_high

    parts = [text(0.0, 14.0 + key, "Over-refusal: harmless twins turned away", "axis-title")]
    for tick in axis_ticks(y_high):
        parts += [
            line(left, y_of(tick), width - right, y_of(tick), "grid" if tick else "base"),
            text(left - 8.0, y_of(tick) + 4.0, f"{100 * tick:g} %", "tick end"),
        ]
    for tick in axis_ticks(x_high):
        parts += [
            line(x_of(tick), top, x_of(tick), height - bottom, "grid" if tick else "base"),
            text(x_of(tick), height - bottom + 19.0, f"{100 * tick:g} %", "tick middle"),
        ]
    parts += [
        text(
            (left + width - right) / 2,
            height - 6.0,
            "Attack success rate over all turns",
            "axis-title middle",
        ),
        text(left + 8.0, height - bottom - 8.0, "↙ safer and more helpful", "hint"),
    ]
    for point in points:
        x, y = x_of(point.x.value), y_of(point.y.value)
        css = f"whisker {slot_class(point.slot)}"
        parts += [
            line(x_of(point.x.interval.low), y, x_of(point.x.interval.high), y, css),
            line(x, y_of(point.y.interval.low), x, y_of(point.y.interval.high), css),
        ]
    parts += [
        circle(x_of(point.x.value), y_of(point.y.value), 5.5, f"dot {slot_class(point.slot)}")
        for point in points
    ]
    if wide:
        # Beside each point, above its horizontal whisker; where that is taken, further up or down.
        taken: list[tuple[float, float, float, float]] = []
        for point in sorted(points, key=lambda one: y_of(one.y.value)):
            x, y = x_of(point.x.value), y_of(point.y.value)
            name = clip(point.name, 0.45 * width, bold=True)
            long = text_width(name, TEXT, bold=True)
            others = [_around(x_of(o.x.value), y_of(o.y.value)) for o in points if o is not point]
            at = _free_place(x, y, long, [*taken, *others], (left, top, width - 4.0, height - bottom))
            taken.append(at)
            parts.append(text(at[0], at[3] - 4.0, name, f"name {slot_class(point.slot)}"))
    else:
        parts += key_lines([(point.name, point.slot) for point in points], width)
    told = "; ".join(
        f"{p.name}: ASR {percent(p.x.value)} ({percent_interval(p.x)}), "
        f"over-refusal {percent(p.y.value)} ({percent_interval(p.y)})"
        for p in points
    )
    return svg(width, height, parts, title=title, description=told, uid=uid)


def bar_chart(
    groups: Sequence[BarGroup], segments: Sequence[Segment], *, width: int, title: str, uid: str
) -> str:
    """Bars of equal length cut into shares; empty kinds of segment are left out of the key."""
    bars = [bar for group in groups for bar in group.bars]
    used = [i for i, _ in enumerate(segments) if any(bar.counts[i] for bar in bars)]
    chips, key = _key_chips([(i, segments[i].name) for i in used], width)
    names = max((text_width(bar.name, TEXT) for bar in bars), default=0.0)
    totals = max((text_width(f"{sum(bar.counts):,}", SMALL) for bar in bars), default=0.0)
    left = 10.0 + min(names, 0.3 * width)
    right = 10.0 + totals
    row, thick = 26.0, 18.0
    headings = sum(bool(group.heading) for group in groups)
    height = key + row * len(bars) + 28.0 * headings + 26.0
    parts = []
    for i, name, x, y in chips:
        parts += [
            rect(x, y, 11.0, 11.0, segments[i].css, name),
            text(x + 16.0, y + 10.0, name, "tick"),
        ]
    room = width - right - left
    y = key
    for group in groups:
        if group.heading:
            parts.append(text(0.0, y + 19.0, clip(group.heading, width, bold=True), "group"))
            y += 28.0
        for bar in group.bars:
            total = sum(bar.counts)
            parts.append(text(left - 8.0, y + thick - 4.5, clip(bar.name, left - 8.0), "tick end"))
            x = left
            for i in used:
                if not bar.counts[i]:
                    continue
                long = room * bar.counts[i] / total
                tip = f"{segments[i].name}: {bar.counts[i]:,} of {total:,}"
                parts.append(rect(x, y, long, thick, segments[i].css, tip))
                share = f"{100 * bar.counts[i] / total:.0f}"
                if long > text_width(share, SMALL) + 8.0:
                    parts.append(
                        text(x + long / 2, y + thick - 4.5, share, f"in-bar middle on-{segments[i].css}")
                    )
                x += long
            parts.append(text(width, y + thick - 4.5, f"{total:,}" if total else "none", "tick end"))
            y += row
    parts.append(text(left, height - 6.0, "shares in %; at the right the number", "axis-title"))
    told = "; ".join(
        f"{group.heading + ', ' if group.heading else ''}{bar.name}: "
        + (", ".join(f"{segments[i].name} {bar.counts[i]:,}" for i in used if bar.counts[i]) or "none")
        for group in groups
        for bar in group.bars
    )
    return svg(width, height, parts, title=title, description=told, uid=uid)


def share_scale(estimates: Iterable[Estimate | None], *, title: str) -> Scale:
    """From 0 to a round share above every interval."""
    high = axis_end(estimate.interval.high for estimate in estimates if estimate is not None)
    return Scale(0.0, high, axis_ticks(high), lambda tick: f"{100 * tick:g} %", title)


def difference_scale(estimates: Iterable[Estimate | None], *, title: str) -> Scale:
    """As far below 0 as above it, in percentage points."""
    ends = (abs(end) for e in estimates if e is not None for end in (e.interval.low, e.interval.high))
    high = axis_end(ends)
    ticks = tuple(tick * sign for sign in (-1.0, 1.0) for tick in axis_ticks(high)[::2] if tick)
    return Scale(
        -high,
        high,
        tuple(sorted((*ticks, 0.0))),
        lambda tick: f"{100 * tick:+g}".replace("-", "−").replace("+0", "0"),
        title,
        zero=True,
    )


def _turn_positions(rounds: Sequence[int], low: float, high: float) -> dict[int, float]:
    """Numbers of turns on a log scale; evenly spaced where that would let labels touch."""
    if len(rounds) < 2:
        return dict.fromkeys(rounds, (low + high) / 2)
    first, last = math.log2(rounds[0]), math.log2(rounds[-1])
    places = [low + (high - low) * (math.log2(k) - first) / (last - first) for k in rounds]
    if min(b - a for a, b in itertools.pairwise(places)) < 18.0:
        places = [low + (high - low) * i / (len(rounds) - 1) for i in range(len(rounds))]
    return dict(zip(rounds, places, strict=True))


def _band(shares: Sequence[tuple[float, Estimate]], y_of: Callable[[float], float], slot: int) -> str:
    if len(shares) == 1:
        x, estimate = shares[0]
        interval = estimate.interval
        return line(x, y_of(interval.low), x, y_of(interval.high), f"whisker {slot_class(slot)}")
    upper = [f"{number(x)},{number(y_of(e.interval.high))}" for x, e in shares]
    lower = [f"{number(x)},{number(y_of(e.interval.low))}" for x, e in reversed(shares)]
    return f'<polygon class="band {slot_class(slot)}" points="{" ".join(upper + lower)}"/>' if shares else ""


def _dot(
    dot: Dot, x_of: Callable[[float], float], y: float, middle: float, width: int, left: float | None
) -> list[str]:
    """One row; `left` is where the plot begins beside the names, None where the name stands above."""
    if left is None:
        room = width - text_width(dot.text, TEXT) - 10.0
        parts = [
            text(0.0, y + 16.0, clip(dot.name, room), "row"),
            text(float(width), y + 16.0, dot.text, "row end number"),
        ]
    else:
        parts = [
            text(0.0, middle + 4.5, clip(dot.name, left - 14.0), "row"),
            text(float(width), middle + 4.5, dot.text, "row end number"),
        ]
    if dot.estimate is not None:
        interval = dot.estimate.interval
        parts += [
            line(x_of(interval.low), middle, x_of(interval.high), middle, f"whisker {slot_class(dot.slot)}"),
            circle(x_of(dot.estimate.value), middle, 5.0, f"dot {slot_class(dot.slot)}"),
        ]
    return parts


def _free_place(
    x: float,
    y: float,
    long: float,
    taken: Sequence[tuple[float, float, float, float]],
    inside: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
    """A box for a name beside the point (x, y) that hits no other name: (left, top, right, bottom)."""
    low, top, high, bottom = inside
    boxes = []
    for shift in range(12):
        for up in (y - 8.0 - LINE * shift, y + 8.0 + LINE * (shift + 1)):
            for start in (x + 9.0, x - 9.0 - long):
                box = (start, up - LINE, start + long, up)
                if box[0] >= low and box[2] <= high and box[1] >= top and box[3] <= bottom:
                    boxes.append(box)
    for box in boxes:
        if not any(b[0] < box[2] and box[0] < b[2] and b[1] < box[3] and box[1] < b[3] for b in taken):
            return box
    start = max(low, min(x + 9.0, high - long))
    under = max(top + LINE, min(y - 8.0, bottom))
    return boxes[0] if boxes else (start, under - LINE, start + long, under)


def _around(x: float, y: float) -> tuple[float, float, float, float]:
    """The box of a dot, as `_free_place` takes it."""
    return (x - 7.0, y - 7.0, x + 7.0, y + 7.0)


def key_lines(names: Sequence[tuple[str, int]], width: int) -> list[str]:
    """A key of `(name, slot)`s, one line each, from the top of a chart."""
    parts = []
    for i, (name, slot) in enumerate(names):
        y = LINE * i + 8.0
        parts += [
            circle(6.0, y, 5.0, f"dot {slot_class(slot)}"),
            text(18.0, y + 4.5, clip(name, width - 18.0, bold=True), f"name {slot_class(slot)}"),
        ]
    return parts


def _key_chips(
    names: Sequence[tuple[int, str]], width: int
) -> tuple[list[tuple[int, str, float, float]], float]:
    """Where each chip of the key stands, in as many lines as it takes, and where the key ends."""
    chips = []
    x = y = 0.0
    for i, name in names:
        shown = clip(name, width - 16.0, size=SMALL)
        long = 16.0 + text_width(shown, SMALL) + 16.0
        if x and x + long - 16.0 > width:
            x, y = 0.0, y + LINE
        chips.append((i, shown, x, y))
        x += long
    return chips, y + LINE + 8.0


def _tick_class(x: float, left: float, right: float, *, wide: bool) -> str:
    """Where the axis runs to the edge its first and last tick keep inside it."""
    if wide:
        return "tick middle"
    return "tick" if x <= left else "tick end" if x >= right else "tick middle"
