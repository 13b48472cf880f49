"""The chart kit: pure functions from figures to SVG, every mark inside the view box.

Colours, fonts and themes are the style sheet's (`html/chart.css`): marks carry classes only, and `s0` … `s7`
are the series. A chart is drawn at a given width and shown at about that size, so that its type stays
readable: at `WIDE` for desks and paper, at `NARROW` for phones. Each chart tells its figures in words, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from safemt.report.marks import (
    DROP,
    FLOOR,
    LINE,
    QUARTERS,
    SMALL,
    TEXT,
    Axis,
    Box,
    Frame,
    circle,
    clip,
    free_place,
    line,
    number,
    path,
    rect,
    share_axis,
    slot_class,
    spread,
    svg,
    text,
    text_width,
    turns_axis,
)
from safemt.report.text import percent, share, visible
from safemt.stats.intervals import Estimate

WIDE: Final = 720
NARROW: Final = 350
LEFT: Final = 48.0
"""Room left of a plot for the labels of its y axis: `100 %`."""
TOP: Final = 30.0
"""Room above a plot for the title of its y axis."""
ROW: Final = 26.0
"""Height of one row of dots or bars, and of a heading."""
_GAP: Final = 8.0
"""Between a label and what it labels."""
_SQUARE: Final = 460.0
"""Most pixels across that a plot of a curve takes."""


@dataclass(frozen=True, slots=True)
class Series:
    """Shares by turns."""

    name: str
    slot: int
    shares: tuple[tuple[int, Estimate], ...]
    """By ascending turns; those without an estimate are left out."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure of a dot chart, with its words beside it; without an estimate they say why."""

    name: str
    slot: int
    estimate: Estimate | None
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """One figure in the plane of two shares."""

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
class Segment:
    """One kind of segment and the class that colours it."""

    name: str
    css: str


Item = TypeVar("Item", Dot, Bar)


@dataclass(frozen=True, slots=True)
class Group(Generic[Item]):
    """Dots or bars under a common heading; an empty heading for none."""

    heading: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A curve in the plane of two shares, such as a ROC curve or the bins of a calibration curve."""

    name: str
    slot: int
    points: tuple[tuple[float, float], ...]
    marks: tuple[tuple[float, Estimate], ...]
    """Points of the curve with an interval: x, and y with its interval."""
    told: str
    """What the curve says, in words."""
    steps: bool = False
    """Whether y changes at a point only, so that the curve is drawn in steps."""


def line_chart(
    series: Sequence[Series], *, width: int, title: str, uid: str, y_title: str, x_title: str = "turns"
) -> str:
    """Shares by turns: a line and a 95 % band for each series.

    Wide: names are at the ends of the lines; narrow: in a key above them.
    """
    wide = width >= WIDE
    key = 0.0 if wide else LINE * len(series)
    longest = max((text_width(one.name, bold=True) for one in series), default=0.0)
    right = width - (22.0 + min(longest, 250.0) if wide else 16.0)
    height = (380.0 if wide else 300.0) + key
    inset = 13.0
    rounds = sorted({turns for one in series for turns, _ in one.shares})
    frame = Frame(
        x=turns_axis(rounds, right - LEFT - 2 * inset, x_title),
        y=share_axis((e.interval.high for one in series for _, e in one.shares), y_title),
        left=LEFT, top=TOP + key, right=right, bottom=height - FLOOR, inset=inset,
    )  # fmt: skip
    parts = [*frame.grid(upright=False), *_lines(series, frame)]
    if len(series) == 1:
        parts += [
            text(frame.x_of(turns), frame.y_of(e.value) - 11.0, percent(e.value), "value middle")
            for turns, e in series[0].shares
        ]
    parts += _end_names(series, frame, width) if wide else key_lines(series, width)
    return svg(width, height, parts, title=title, description=_told(series), uid=uid)


def panel_chart(
    panels: Sequence[tuple[str, Sequence[Series]]],
    *,
    width: int,
    title: str,
    uid: str,
    x_title: str = "turns",
) -> str:
    """Small multiples: a line chart for each heading, all with the same axes; shares by turns in %."""
    everything = [one for _, series in panels for one in series]
    names = list({one.name: one for one in everything}.values())
    across = min(4 if width >= WIDE else 2, max(1, len(panels)))
    wide, tall, heading, margin, inset = width / across, 130.0, ROW + _GAP, 12.0, 8.0
    key = LINE * len(names) + _GAP if len(names) > 1 else 0.0
    rounds = sorted({turns for one in everything for turns, _ in one.shares})
    x = turns_axis(rounds, wide - LEFT - margin - 2 * inset, "")
    y = share_axis((e.interval.high for one in everything for _, e in one.shares), "")
    parts = key_lines(names, width) if key else []
    bottom = key
    for at, (name, series) in enumerate(panels):
        left, top = wide * (at % across), key + (heading + tall + ROW) * (at // across) + heading
        bottom = top + tall
        frame = Frame(
            x=x, y=y, left=left + LEFT, top=top, right=left + wide - margin, bottom=bottom, inset=inset
        )
        parts.append(text(left, top - LINE, clip(name, wide - margin, bold=True), "group"))
        parts += [*frame.grid(upright=False), *_lines(series, frame)]
    height = bottom + FLOOR
    parts.append(text(width / 2, height - 6.0, x_title, "axis-title middle"))
    told = ". ".join(f"{name}: {_told(series)}" for name, series in panels)
    return svg(width, height, parts, title=title, description=told, uid=uid)


def dot_chart(groups: Sequence[Group[Dot]], *, axis: Axis, width: int, title: str, uid: str) -> str:
    """Figures with their intervals, one below the other on a common axis."""
    wide = width >= WIDE
    dots = [dot for group in groups for dot in group.items]
    names = max((text_width(dot.name) for dot in dots), default=0.0)
    texts = max((text_width(dot.text) for dot in dots), default=0.0)
    left = 14.0 + min(names, 230.0) if wide else 10.0
    right = width - (14.0 + min(texts, 220.0) if wide else 10.0)
    row = ROW if wide else 42.0  # narrow: name and words are above the dot
    top = 8.0
    floor = top + row * len(dots) + ROW * sum(bool(group.heading) for group in groups)
    nothing = Axis(ticks=(), title="")
    frame = Frame(x=axis, y=nothing, left=left, top=top, right=right, bottom=floor)
    parts = frame.x_marks(inside=not wide)
    y = top
    for group in groups:
        if group.heading:
            parts.append(text(0.0, y + LINE, clip(group.heading, width, bold=True), "group"))
            y += ROW
        for dot in group.items:
            middle = y + (row / 2 if wide else 30.0)
            label = middle + DROP if wide else y + 16.0
            room = left - 14.0 if wide else width - text_width(dot.text) - 10.0
            parts += [
                text(0.0, label, clip(dot.name, room), "row"),
                text(float(width), label, dot.text, "row end number"),
            ]
            if dot.estimate is not None:
                low, high = frame.x_of(dot.estimate.interval.low), frame.x_of(dot.estimate.interval.high)
                parts += [
                    line(low, middle, high, middle, f"whisker {slot_class(dot.slot)}"),
                    circle(frame.x_of(dot.estimate.value), middle, 5.0, f"dot {slot_class(dot.slot)}"),
                ]
            y += row
    told = _told_groups(groups, lambda dot: dot.text)
    return svg(width, floor + FLOOR, parts, title=title, description=told, uid=uid)


def plane_chart(
    points: Sequence[Point], *, width: int, title: str, uid: str, titles: tuple[str, str], hint: str = ""
) -> str:
    """Two shares of each series, a point with both intervals; `titles` of the x and the y axis.

    `hint` stands in the lower left corner, where both shares are 0.
    """
    wide = width >= WIDE
    key = 0.0 if wide else LINE * len(points)
    height = (420.0 if wide else 340.0) + key
    frame = Frame(
        x=share_axis((point.x.interval.high for point in points), titles[0]),
        y=share_axis((point.y.interval.high for point in points), titles[1]),
        left=LEFT, top=TOP + key, right=width - 20.0, bottom=height - FLOOR,
    )  # fmt: skip
    parts = [*frame.grid(), text(frame.left + _GAP, frame.bottom - _GAP, hint, "hint")]
    for point in points:
        x, y, css = frame.x_of(point.x.value), frame.y_of(point.y.value), slot_class(point.slot)
        ends = point.x.interval, point.y.interval
        parts += [
            line(frame.x_of(ends[0].low), y, frame.x_of(ends[0].high), y, f"whisker {css}"),
            line(x, frame.y_of(ends[1].low), x, frame.y_of(ends[1].high), f"whisker {css}"),
        ]
    parts += [
        circle(frame.x_of(p.x.value), frame.y_of(p.y.value), 5.5, f"dot {slot_class(p.slot)}") for p in points
    ]
    parts += _point_names(points, frame, width) if wide else key_lines(points, width)
    told = "; ".join(f"{p.name}: {titles[0]} {share(p.x)}, {titles[1]} {share(p.y)}" for p in points)
    return svg(width, height, parts, title=title, description=told, uid=uid)


def bar_chart(
    groups: Sequence[Group[Bar]], segments: Sequence[Segment], *, width: int, title: str, uid: str
) -> str:
    """Bars of equal length cut into shares; kinds of segment that no bar has are left out of the key."""
    bars = [bar for group in groups for bar in group.items]
    used = [i for i, _ in enumerate(segments) if any(bar.counts[i] for bar in bars)]
    parts, top = _chips([segments[i] for i in used], width)
    left = 10.0 + min(max((text_width(bar.name) for bar in bars), default=0.0), 0.3 * width)
    right = width - 10.0 - max((text_width(f"{sum(bar.counts):,}", SMALL) for bar in bars), default=0.0)
    thick = 18.0
    y = top
    for group in groups:
        if group.heading:
            parts.append(text(0.0, y + LINE + 1.0, clip(group.heading, width, bold=True), "group"))
            y += ROW + 2.0
        for bar in group.items:
            total = sum(bar.counts)
            middle = y + thick / 2 + DROP
            parts.append(text(left - _GAP, middle, clip(bar.name, left - _GAP), "tick end"))
            x = left
            for i in used:
                long = (right - left) * bar.counts[i] / total if total else 0.0
                if bar.counts[i]:
                    css, said = segments[i].css, f"{100 * bar.counts[i] / total:.0f}"
                    tip = f"{segments[i].name}: {bar.counts[i]:,} of {total:,}"
                    parts.append(rect(x, y, long, thick, css, tip))
                    if long > text_width(said, SMALL) + 8.0:
                        parts.append(text(x + long / 2, middle, said, f"in-bar middle on-{css}"))
                x += long
            parts.append(text(width, middle, f"{total:,}" if total else "none", "tick end"))
            y += ROW
    parts.append(text(left, y + 20.0, "shares in %; on the right, how many there are", "axis-title"))
    told = _told_groups(
        groups,
        lambda bar: (
            ", ".join(f"{segments[i].name} {bar.counts[i]:,}" for i in used if bar.counts[i]) or "none"
        ),
    )
    return svg(width, y + ROW, parts, title=title, description=told, uid=uid)


def heat_chart(
    rows: Sequence[tuple[str, Sequence[float | None]]],
    columns: Sequence[str],
    *,
    width: int,
    title: str,
    uid: str,
) -> str:
    """A matrix of shares in %: the stronger the colour, the higher. None is a cell that is not known."""
    names = max((text_width(name) for name, _ in rows), default=0.0)
    left = 12.0 + min(names, 0.4 * width)
    wide, gap = min(72.0, (width - left) / max(1, len(columns))), 2.0
    top = ROW
    parts = [
        text(left + wide * (at + 0.5), top - _GAP, clip(name, wide, size=SMALL), "tick middle")
        for at, name in enumerate(columns)
    ]
    for down, (name, shares) in enumerate(rows):
        y = top + ROW * down
        middle = y + ROW / 2 + DROP
        parts.append(text(0.0, middle, clip(name, left - 12.0), "row"))
        for at, value in enumerate(shares):
            x = left + wide * at
            if value is None:
                parts.append(text(x + wide / 2, middle, "–", "tick middle"))
                continue
            css = f"h{round(10 * value)}"
            tip = f"{name}, {columns[at]}: {percent(value)}"
            parts.append(rect(x + gap / 2, y + gap / 2, wide - gap, ROW - gap, css, tip))
            parts.append(text(x + wide / 2, middle, f"{100 * value:.0f}", f"in-bar middle on-{css}"))
    told = "; ".join(
        f"{name}: " + ", ".join(f"{c} {percent(v)}" for c, v in zip(columns, shares, strict=True))
        for name, shares in rows
    )
    return svg(width, top + ROW * len(rows) + _GAP, parts, title=title, description=told, uid=uid)


def curve_chart(curves: Sequence[Curve], *, x: Axis, y_title: str, width: int, title: str, uid: str) -> str:
    """Curves over the diagonal of a plane of two shares: ROC curves, calibration curves."""
    named = [Series(f"{curve.name} ({curve.told})", curve.slot, ()) for curve in curves]
    top = LINE * len(named) + TOP
    across = min(width - LEFT - 20.0, _SQUARE if width >= WIDE else float(width))
    y = Axis(ticks=QUARTERS, title=y_title)
    frame = Frame(x=x, y=y, left=LEFT, top=top, right=LEFT + across, bottom=top + 0.8 * across)

    def placed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(frame.x_of(at), frame.y_of(value)) for at, value in points]

    diagonal = [(step / 40, step / 40) for step in range(41)]
    parts = [*key_lines(named, width), *frame.grid(), path(placed(diagonal), "chance")]
    for curve in curves:
        points = placed(_steps(curve.points) if curve.steps else curve.points)
        parts += [path(points, "halo"), path(points, f"line {slot_class(curve.slot)}")]
    for curve in curves:
        css = slot_class(curve.slot)
        for at, e in curve.marks:
            px, low, high = frame.x_of(at), frame.y_of(e.interval.low), frame.y_of(e.interval.high)
            parts += [
                line(px, low, px, high, f"whisker {css}"),
                circle(px, frame.y_of(e.value), 4.0, f"dot {css}"),
            ]
    told = "; ".join(
        f"{curve.name}: {curve.told}" + "".join(f", {share(e)} at {percent(at)}" for at, e in curve.marks)
        for curve in curves
    )
    return svg(width, frame.bottom + FLOOR, parts, title=title, description=told, uid=uid)


def key_lines(series: Sequence[Series | Point], width: float) -> list[str]:
    """A key, one line for each series, from the top of a chart."""
    parts = []
    for i, one in enumerate(series):
        y, css = LINE * i + 8.0, slot_class(one.slot)
        parts += [
            circle(6.0, y, 5.0, f"dot {css}"),
            text(18.0, y + DROP, clip(one.name, width - 18.0, bold=True), f"name {css}"),
        ]
    return parts


def _lines(series: Sequence[Series], frame: Frame) -> list[str]:
    """All bands under all lines under all dots."""
    bands, lines, dots = [], [], []
    for one in series:
        css = slot_class(one.slot)
        points = [(frame.x_of(turns), frame.y_of(e.value)) for turns, e in one.shares]
        upper = [(frame.x_of(turns), frame.y_of(e.interval.high)) for turns, e in one.shares]
        lower = [(frame.x_of(turns), frame.y_of(e.interval.low)) for turns, e in one.shares]
        if len(points) == 1:
            bands.append(line(*lower[0], *upper[0], f"whisker {css}"))
        elif points:
            corners = " ".join(f"{number(x)},{number(y)}" for x, y in (*upper, *reversed(lower)))
            bands.append(f'<polygon class="band {css}" points="{corners}"/>')
            lines += [path(points, "halo"), path(points, f"line {css}")]
        dots += [circle(x, y, 4.0, f"dot {css}") for x, y in points]
    return [*bands, *lines, *dots]


def _end_names(series: Sequence[Series], frame: Frame, width: float) -> list[str]:
    """Each name beside the end of its line, or as near as others let it."""
    ended = [one for one in series if one.shares]
    ends = [frame.y_of(one.shares[-1][1].value) for one in ended]
    parts = []
    for one, end, at in zip(
        ended, ends, spread(ends, gap=LINE, low=frame.top, high=frame.bottom), strict=True
    ):
        css, x = slot_class(one.slot), frame.x_of(one.shares[-1][0])
        parts += [
            line(x + 7.0, end, frame.right + 6.0, at, f"leader {css}"),
            text(
                frame.right + 10.0,
                at + DROP,
                clip(one.name, width - frame.right - 12.0, bold=True),
                f"name {css}",
            ),
        ]
    return parts


def _point_names(points: Sequence[Point], frame: Frame, width: float) -> list[str]:
    """Each name beside its point, where there is room."""
    inside = (frame.left, frame.top, width - 4.0, frame.bottom)
    parts: list[str] = []
    taken: list[Box] = []
    for point in sorted(points, key=lambda one: frame.y_of(one.y.value)):
        name = clip(point.name, 0.45 * width, bold=True)
        dots = [(frame.x_of(o.x.value), frame.y_of(o.y.value)) for o in points if o is not point]
        around = [(x - 7.0, y - 7.0, x + 7.0, y + 7.0) for x, y in dots]
        x, y = frame.x_of(point.x.value), frame.y_of(point.y.value)
        at = free_place(x, y, text_width(name, TEXT, bold=True), [*taken, *around], inside)
        taken.append(at)
        parts.append(text(at[0], at[3] - 4.0, name, f"name {slot_class(point.slot)}"))
    return parts


def _chips(segments: Sequence[Segment], width: float) -> tuple[list[str], float]:
    """A key of segments, in as many lines as it takes, and where it ends."""
    parts: list[str] = []
    x = y = 0.0
    chip, gap = 11.0, 16.0
    for segment in segments:
        name = clip(segment.name, width - gap, size=SMALL)
        long = gap + text_width(name, SMALL)
        if x and x + long > width:
            x, y = 0.0, y + LINE
        parts += [rect(x, y, chip, chip, segment.css, name), text(x + gap, y + 10.0, name, "tick")]
        x += long + gap
    return parts, y + LINE + _GAP


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A corner between any two points: first along x, then up."""
    corners = [points[0]]
    for x, y in points[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _told(series: Sequence[Series]) -> str:
    return "; ".join(
        f"{one.name}: " + ", ".join(f"{k} turns {share(e)}" for k, e in one.shares) for one in series
    )


def _told_groups(groups: Sequence[Group[Item]], say: Callable[[Item], str]) -> str:
    return "; ".join(
        f"{visible(group.heading)}{', ' if group.heading else ''}{item.name}: {say(item)}"
        for group in groups
        for item in group.items
    )
