"""Charts of detection as SVG: ROC curves and reliability; colours are the style sheet's."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from safemt.report.page.charts import WIDE, key_lines
from safemt.report.page.marks import LINE, circle, line, number, slot_class, svg, text
from safemt.report.page.words import percent, percent_interval
from safemt.stats.intervals import Estimate

_SIDE: Final = 460.0
"""Most pixels across that a square plot takes."""
_LOWEST: Final = 0.001
"""Where a logarithmic axis of false alarms begins."""
_QUARTERS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One moderator's ROC curve."""

    name: str
    slot: int
    points: tuple[tuple[float, float], ...]
    """(rate of false alarms, recall), from (0, 0) to (1, 1). Equal risks are never split, so between two
    thresholds the lower recall holds: the curve is drawn in steps."""
    marks: tuple[tuple[float, Estimate], ...]
    """Recall at stated rates."""
    told: str
    """The AUROC in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """One moderator's bins: mean risk against the share that is harmful."""

    name: str
    slot: int
    bins: tuple[tuple[float, Estimate], ...]
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """A square plot with its axes drawn."""

    height: float
    parts: list[str]
    x_of: Callable[[float], float]
    y_of: Callable[[float], float]


def roc_chart(curves: Sequence[Curve], *, logarithmic: bool, width: int, title: str, uid: str) -> str:
    """Recall against false alarms, whiskers at the stated rates; `logarithmic` shows where they are few."""

    def place(rate: float) -> float:
        if not logarithmic:
            return rate
        return 1.0 - math.log10(max(rate, _LOWEST)) / math.log10(_LOWEST)

    ticks = (0.001, 0.01, 0.05, 0.2, 1.0) if logarithmic else _QUARTERS
    frame = _frame(
        [(f"{curve.name} ({curve.told})", curve.slot) for curve in curves],
        width, place, ticks, x_title="false alarms: benign dialogues with an alarm",
        y_title="Recall: harmful dialogues with an alarm",
    )  # fmt: skip
    parts = frame.parts
    chance = [(step / 40, step / 40) for step in range(41)]
    parts.append(f'<path class="chance" d="{_path(chance, frame)}"/>')
    for curve in curves:
        path = _path(_steps(curve.points), frame)
        parts.append(
            f'<path class="halo" d="{path}"/><path class="line {slot_class(curve.slot)}" d="{path}"/>'
        )
    for curve in curves:
        for rate, estimate in curve.marks:
            x, interval = frame.x_of(rate), estimate.interval
            css = slot_class(curve.slot)
            parts += [
                line(x, frame.y_of(interval.low), x, frame.y_of(interval.high), f"whisker {css}"),
                circle(x, frame.y_of(estimate.value), 4.0, f"dot {css}"),
            ]
    told = "; ".join(
        f"{curve.name}: {curve.told}"
        + "".join(
            f", recall {percent(e.value)} ({percent_interval(e)}) at {100 * rate:g} % false alarms"
            for rate, e in curve.marks
        )
        for curve in curves
    )
    return svg(width, frame.height, parts, title=title, description=told, uid=uid)


def reliability_chart(all_dots: Sequence[Dots], *, width: int, title: str, uid: str) -> str:
    """The share of harmful dialogues among those of like risk; on the diagonal a risk is a probability."""
    frame = _frame(
        [(f"{dots.name} ({dots.told})", dots.slot) for dots in all_dots],
        width, lambda risk: risk, _QUARTERS, x_title="mean risk of the dialogues in a bin",
        y_title="Share of them that is harmful",
    )  # fmt: skip
    parts = frame.parts
    parts.append(f'<path class="chance" d="{_path([(0.0, 0.0), (1.0, 1.0)], frame)}"/>')
    for dots in all_dots:
        css = slot_class(dots.slot)
        path = _path([(risk, share.value) for risk, share in dots.bins], frame)
        parts.append(f'<path class="line {css}" d="{path}"/>')
        for risk, share in dots.bins:
            x = frame.x_of(risk)
            parts += [
                line(x, frame.y_of(share.interval.low), x, frame.y_of(share.interval.high), f"whisker {css}"),
                circle(x, frame.y_of(share.value), 4.0, f"dot {css}"),
            ]
    told = "; ".join(
        f"{dots.name}: "
        + ", ".join(f"risk {percent(risk)} harmful {percent(share.value)}" for risk, share in dots.bins)
        for dots in all_dots
    )
    return svg(width, frame.height, parts, title=title, description=told, uid=uid)


def _frame(
    key: Sequence[tuple[str, int]],
    width: int,
    place: Callable[[float], float],
    ticks: Sequence[float],
    *,
    x_title: str,
    y_title: str,
) -> _Frame:
    """A plot of two shares under its key; `place` says where on the x axis, in [0, 1], a share stands."""
    left, right, bottom = 48.0, 20.0, 48.0
    top = LINE * len(key) + 30.0
    across = min(width - left - right, _SIDE if width >= WIDE else float(width))
    height = top + 0.8 * across + bottom

    def x_of(share: float) -> float:
        return left + across * place(share)

    def y_of(share: float) -> float:
        return height - bottom - 0.8 * across * share

    parts = [*key_lines(key, width), text(0.0, top - 14.0, y_title, "axis-title")]
    for tick in _QUARTERS:
        parts += [
            line(left, y_of(tick), left + across, y_of(tick), "grid" if tick else "base"),
            text(left - 8.0, y_of(tick) + 4.0, f"{100 * tick:g} %", "tick end"),
        ]
    for tick in ticks:
        parts += [
            line(x_of(tick), top, x_of(tick), height - bottom, "base" if tick == ticks[0] else "grid"),
            text(x_of(tick), height - bottom + 19.0, f"{100 * tick:g} %", "tick middle"),
        ]
    parts.append(text(left + across / 2, height - 6.0, x_title, "axis-title middle"))
    return _Frame(height=height, parts=parts, x_of=x_of, y_of=y_of)


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A corner between any two points: first more false alarms, then more recall."""
    corners = [at for (_, low), (x, high) in itertools.pairwise(points) for at in ((x, low), (x, high))]
    return [points[0], *corners]


def _path(points: Sequence[tuple[float, float]], frame: _Frame) -> str:
    """A line through the points; those that fall on the same pixel are drawn once."""
    placed = [f"{number(frame.x_of(x))} {number(frame.y_of(y))}" for x, y in points]
    once = [at for at, _ in itertools.groupby(placed)]
    return " ".join(f"{'L' if i else 'M'}{at}" for i, at in enumerate(once))
