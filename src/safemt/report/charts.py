"""The chart kit: pure functions from figures to SVG, every mark inside the view box.

Colours, fonts and themes are the style sheet's (`html/chart.css`): marks carry classes only, and `s0` … `s7`
are the series. A chart is drawn at two widths and shown at about that size, so that its type stays readable:
`WIDE` for desks and paper, `NARROW` for phones. Each chart tells its figures in words, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib.resources import files
from typing import Concatenate, Final, Generic, ParamSpec, TypeVar

from safemt.report import marks
from safemt.report.marks import DROP, FLOOR, LINE, QUARTERS, SMALL, Axis, Frame, clip, line, slot_class, text
from safemt.report.text import percent, share
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
class Chart:
    """A chart as SVG at both widths."""

    wide: str
    narrow: str

    def __html__(self) -> str:
        return f'<div class="chart wide">{self.wide}</div><div class="chart narrow">{self.narrow}</div>'

    def _repr_svg_(self) -> str:
        return self.standalone()

    def standalone(self) -> str:
        """The wide chart as an SVG file with a style of its own, for light and dark surroundings."""
        style = files("safemt.report.html").joinpath("chart.css").read_text("utf-8")
        head, _, rest = self.wide.partition(">")
        return f'{head} class="chart" xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}'


P = ParamSpec("P")
Parts = tuple[list[str], float, str]
"""The marks of a chart, its height, and its figures in words."""


def _at_both_widths(
    draw: Callable[Concatenate[float, P], Parts],
) -> Callable[Concatenate[str, str, P], Chart]:
    """Make a function that draws at a width one that takes a title and an id, and draws at both widths.

    The id must be unlike any other on a page.
    """

    @wraps(draw)
    def chart(title: str, uid: str, /, *args: P.args, **kwargs: P.kwargs) -> Chart:
        drawn = []
        for name, width in (("wide", WIDE), ("narrow", NARROW)):
            parts, height, told = draw(width, *args, **kwargs)
            drawn.append(marks.svg(width, height, parts, title=title, description=told, uid=f"{uid}-{name}"))
        return Chart(*drawn)

    return chart


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


@_at_both_widths
def line_chart(width: float, series: Sequence[Series], *, y_title: str, x_title: str = "turns") -> Parts:
    """Shares by turns: a line and a 95 % band for each series."""
    top = TOP + LINE * len(series)
    height = top + (350.0 if width >= WIDE else 270.0)
    frame = _turns_frame(series, (LEFT, top, width - 16.0, height - FLOOR), x_title, y_title)
    parts = [*key_lines(series, width), *frame.grid(upright=False), *_lines(series, frame)]
    if len(series) == 1:
        free = width  # a figure is left out where it would touch the one to its right
        for turns, e in reversed(series[0].shares):
            x = frame.x_of(turns)
            if x <= free:
                parts.append(text(x, frame.y_of(e.value) - 11.0, percent(e.value), "value middle"))
                free = x - marks.text_width("100.0 %", SMALL)
    return parts, height, _told(series)


@_at_both_widths
def panel_chart(
    width: float, panels: Sequence[tuple[str, Sequence[Series]]], *, x_title: str = "turns"
) -> Parts:
    """Small multiples: a line chart for each heading, all with the same axes."""
    everything = [one for _, series in panels for one in series]
    names = list({one.name: one for one in everything}.values())
    across = min(4 if width >= WIDE else 2, max(1, len(panels)))
    wide, tall, heading, margin = width / across, 130.0, ROW + _GAP, 12.0
    parts = key_lines(names, width) if len(names) > 1 else []
    bottom = key = LINE * len(names) + _GAP if len(names) > 1 else 0.0
    for at, (name, series) in enumerate(panels):
        left, top = wide * (at % across), key + (heading + tall + ROW) * (at // across) + heading
        bottom = top + tall
        frame = _turns_frame(everything, (left + LEFT, top, left + wide - margin, bottom), "", "")
        parts.append(text(left, top - LINE, clip(name, wide - margin, bold=True), "group"))
        parts += [*frame.grid(upright=False), *_lines(series, frame)]
    parts.append(text(width / 2, bottom + FLOOR - 6.0, x_title, "axis-title middle"))
    return parts, bottom + FLOOR, ". ".join(f"{name}: {_told(series)}" for name, series in panels)


@_at_both_widths
def dot_chart(width: float, groups: Sequence[Group[Dot]], *, axis: Axis) -> Parts:
    """Figures with their intervals, one below the other on a common axis."""
    wide = width >= WIDE
    dots = [dot for group in groups for dot in group.items]
    names = max((marks.text_width(dot.name) for dot in dots), default=0.0)
    texts = max((marks.text_width(dot.text) for dot in dots), default=0.0)
    left = 14.0 + min(names, 230.0) if wide else 10.0
    right = width - (14.0 + min(texts, 220.0) if wide else 10.0)
    row = ROW if wide else 42.0  # narrow: name and words are above the dot
    parts, placed, floor = _stacked(groups, 8.0, row, width)
    frame = Frame(x=axis, y=Axis(ticks=(), title=""), left=left, top=8.0, right=right, bottom=floor)
    parts = [*frame.x_marks(inside=not wide), *parts]
    for y, dot in placed:
        middle = y + (row / 2 if wide else 30.0)
        label = middle + DROP if wide else y + 16.0
        room = left - 14.0 if wide else width - marks.text_width(dot.text) - 10.0
        parts.append(text(0.0, label, clip(dot.name, room), "row"))
        parts.append(text(width, label, dot.text, "row end number"))
        if dot.estimate is not None:
            ends, css = dot.estimate.interval, slot_class(dot.slot)
            parts.append(line(frame.x_of(ends.low), middle, frame.x_of(ends.high), middle, f"whisker {css}"))
            parts.append(marks.circle(frame.x_of(dot.estimate.value), middle, 5.0, f"dot {css}"))
    return parts, floor + FLOOR, _told_groups(groups, lambda dot: dot.text)


@_at_both_widths
def plane_chart(width: float, points: Sequence[Point], *, titles: tuple[str, str], hint: str = "") -> Parts:
    """Two shares of each series, a point with both intervals; `titles` of the x and the y axis.

    `hint` is in the lower left corner, where both shares are 0.
    """
    top = TOP + LINE * len(points)
    height = top + (400.0 if width >= WIDE else 320.0)
    frame = Frame(
        x=marks.share_axis((point.x.interval.high for point in points), titles[0]),
        y=marks.share_axis((point.y.interval.high for point in points), titles[1]),
        left=LEFT, top=top, right=width - 20.0, bottom=height - FLOOR,
    )  # fmt: skip
    parts = [*key_lines(points, width), *frame.grid()]
    parts.append(text(frame.left + _GAP, frame.bottom - _GAP, hint, "hint"))
    for point in points:
        x, y, css = frame.x_of(point.x.value), frame.y_of(point.y.value), f"whisker {slot_class(point.slot)}"
        across, up = point.x.interval, point.y.interval
        parts.append(line(frame.x_of(across.low), y, frame.x_of(across.high), y, css))
        parts.append(line(x, frame.y_of(up.low), x, frame.y_of(up.high), css))
    parts += [  # all dots over all intervals
        marks.circle(frame.x_of(p.x.value), frame.y_of(p.y.value), 5.5, f"dot {slot_class(p.slot)}")
        for p in points
    ]
    told = "; ".join(f"{p.name}: {titles[0]} {share(p.x)}, {titles[1]} {share(p.y)}" for p in points)
    return parts, height, told


@_at_both_widths
def bar_chart(width: float, groups: Sequence[Group[Bar]], segments: Sequence[Segment]) -> Parts:
    """Bars of equal length cut into shares; kinds of segment that no bar has are left out of the key."""
    bars = [bar for group in groups for bar in group.items]
    used = [i for i, _ in enumerate(segments) if any(bar.counts[i] for bar in bars)]
    parts, top = _chips([segments[i] for i in used], width)
    left = 10.0 + min(max((marks.text_width(bar.name) for bar in bars), default=0.0), 0.3 * width)
    totals = max((marks.text_width(f"{sum(bar.counts):,}", SMALL) for bar in bars), default=0.0)
    right, thick = width - 10.0 - totals, 18.0
    headings, placed, floor = _stacked(groups, top, ROW, width)
    parts += headings
    for y, bar in placed:
        total, middle, x = sum(bar.counts), y + thick / 2 + DROP, left
        parts.append(text(left - _GAP, middle, clip(bar.name, left - _GAP), "tick end"))
        for i in used:
            long = (right - left) * bar.counts[i] / total if total else 0.0
            if bar.counts[i]:
                css, said = segments[i].css, f"{100 * bar.counts[i] / total:.0f}"
                tip = f"{segments[i].name}: {bar.counts[i]:,} of {total:,}"
                parts.append(marks.rect(x, y, long, thick, css, tip))
                if long > marks.text_width(said, SMALL) + 8.0:
                    parts.append(text(x + long / 2, middle, said, f"in-bar middle on-{css}"))
            x += long
        parts.append(text(width, middle, f"{total:,}" if total else "none", "tick end"))
    parts.append(text(left, floor + 20.0, "shares in %; numbers at the right", "axis-title"))
    told = _told_groups(
        groups,
        lambda bar: (
            ", ".join(f"{segments[i].name} {bar.counts[i]:,}" for i in used if bar.counts[i]) or "none"
        ),
    )
    return parts, floor + ROW, told


@_at_both_widths
def heat_chart(
    width: float, rows: Sequence[tuple[str, Sequence[float | None]]], columns: Sequence[str]
) -> Parts:
    """A matrix of shares in %: the stronger the colour, the higher. None is a cell that is not known.

    Where a column has no room for its name it has a number, and a key tells the names.
    """
    left = 12.0 + min(max((marks.text_width(name) for name, _ in rows), default=0.0), 0.4 * width)
    wide, gap = min(150.0, (width - left) / max(1, len(columns))), 2.0
    fit = all(marks.text_width(name, SMALL) < wide - _GAP for name in columns)
    heads = columns if fit else [str(at) for at in range(1, len(columns) + 1)]
    key = [] if fit else [f"{at}: {name}" for at, name in enumerate(columns, 1)]
    parts = [text(0.0, LINE * (at + 0.7), clip(name, width), "row") for at, name in enumerate(key)]
    top = ROW + LINE * len(key)
    parts += [
        text(left + wide * (at + 0.5), top - _GAP, name, "tick middle") for at, name in enumerate(heads)
    ]
    for down, (name, shares) in enumerate(rows):
        y = top + ROW * down
        middle = y + ROW / 2 + DROP
        parts.append(text(0.0, middle, clip(name, left - 12.0), "row"))
        for at, value in enumerate(shares):
            x = left + wide * at
            css = "" if value is None else f"h{round(10 * value)}"
            if value is not None:
                tip = f"{name}, {columns[at]}: {percent(value)}"
                parts.append(marks.rect(x + gap / 2, y + gap / 2, wide - gap, ROW - gap, css, tip))
            said = "–" if value is None else f"{100 * value:.0f}"
            parts.append(text(x + wide / 2, middle, said, f"in-bar middle on-{css}"))
    told = "; ".join(
        f"{name}: " + ", ".join(f"{c} {percent(v)}" for c, v in zip(columns, shares, strict=True))
        for name, shares in rows
    )
    return parts, top + ROW * len(rows) + _GAP, told


@_at_both_widths
def curve_chart(width: float, curves: Sequence[Curve], *, x: Axis, y_title: str) -> Parts:
    """Curves over the diagonal of a plane of two shares: ROC curves, calibration curves."""
    named = [Series(f"{curve.name} ({curve.told})", curve.slot, ()) for curve in curves]
    top = LINE * len(named) + TOP
    across = min(width - LEFT - 20.0, _SQUARE if width >= WIDE else width)
    y = Axis(ticks=QUARTERS, title=y_title)
    frame = Frame(x=x, y=y, left=LEFT, top=top, right=LEFT + across, bottom=top + 0.8 * across)

    def placed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(frame.x_of(at), frame.y_of(value)) for at, value in points]

    diagonal = placed([(step / 40, step / 40) for step in range(41)])
    parts = [*key_lines(named, width), *frame.grid(), marks.path(diagonal, "chance")]
    for curve in curves:
        points = placed(_steps(curve.points) if curve.steps else curve.points)
        parts += [marks.path(points, "halo"), marks.path(points, f"line {slot_class(curve.slot)}")]
    for curve in curves:
        css = slot_class(curve.slot)
        for at, e in curve.marks:
            px, low, high = frame.x_of(at), frame.y_of(e.interval.low), frame.y_of(e.interval.high)
            parts.append(line(px, low, px, high, f"whisker {css}"))
            parts.append(marks.circle(px, frame.y_of(e.value), 4.0, f"dot {css}"))
    told = "; ".join(
        f"{curve.name}: {curve.told}" + "".join(f", {share(e)} at {percent(at)}" for at, e in curve.marks)
        for curve in curves
    )
    return parts, frame.bottom + FLOOR, told


def key_lines(series: Sequence[Series | Point], width: float) -> list[str]:
    """A key, one line for each series, from the top of a chart."""
    parts = []
    for i, one in enumerate(series):
        y, css = LINE * i + 8.0, slot_class(one.slot)
        parts.append(marks.circle(6.0, y, 5.0, f"dot {css}"))
        parts.append(text(18.0, y + DROP, clip(one.name, width - 18.0, bold=True), f"name {css}"))
    return parts


def _turns_frame(series: Sequence[Series], box: marks.Box, x_title: str, y_title: str) -> Frame:
    """The plot of shares by turns within a box."""
    left, top, right, bottom = box
    inset = 13.0  # of the first and last turn, so that dots and figures have room
    rounds = sorted({turns for one in series for turns, _ in one.shares})
    x = marks.turns_axis(rounds, right - left - 2 * inset, x_title)
    y = marks.share_axis((e.interval.high for one in series for _, e in one.shares), y_title)
    return Frame(x=x, y=y, left=left, top=top, right=right, bottom=bottom, inset=inset)


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
            bands.append(marks.polygon([*upper, *reversed(lower)], f"band {css}"))
            lines += [marks.path(points, "halo"), marks.path(points, f"line {css}")]
        dots += [marks.circle(x, y, 4.0, f"dot {css}") for x, y in points]
    return [*bands, *lines, *dots]


def _stacked(
    groups: Sequence[Group[Item]], top: float, row: float, width: float
) -> tuple[list[str], list[tuple[float, Item]], float]:
    """The headings of groups one below the other, each item with the top of its row, and the bottom."""
    headings, placed, y = [], [], top
    for group in groups:
        if group.heading:
            headings.append(text(0.0, y + LINE, clip(group.heading, width, bold=True), "group"))
            y += ROW
        for item in group.items:
            placed.append((y, item))
            y += row
    return headings, placed, y


def _chips(segments: Sequence[Segment], width: float) -> tuple[list[str], float]:
    """A key of segments, in as many lines as it takes, and where it ends."""
    parts: list[str] = []
    x = y = 0.0
    chip, gap = 11.0, 16.0
    for segment in segments:
        name = clip(segment.name, width - gap, size=SMALL)
        long = gap + marks.text_width(name, SMALL)
        if x and x + long > width:
            x, y = 0.0, y + LINE
        parts += [marks.rect(x, y, chip, chip, segment.css, name), text(x + gap, y + 10.0, name, "tick")]
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
        f"{group.heading}{', ' if group.heading else ''}{item.name}: {say(item)}"
        for group in groups
        for item in group.items
    )
