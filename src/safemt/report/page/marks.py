"""The marks that charts are made of: text, lines, circles, axes; and how wide a text is, about."""

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from safemt.report.page.words import visible

SLOTS: Final = 8
"""Colours there are; more runs begin again with other marks."""
TEXT: Final = 13.0
SMALL: Final = 12.0
LINE: Final = 18.0
"""Sizes of type and the height of a line, in pixels at the width that a chart is drawn for."""


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Places near `wanted`, in the same order, at least `gap` apart and within `low` … `high`.

    Where there is not room for the gap they are spread evenly.
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    if len(order) > 1:
        gap = min(gap, (high - low) / (len(order) - 1))
    places = [0.0] * len(wanted)
    floor = low
    for i in order:
        places[i] = max(floor, min(wanted[i], high))
        floor = places[i] + gap
    ceiling = high
    for i in reversed(order):
        places[i] = max(low, min(places[i], ceiling))
        ceiling = places[i] - gap
    return places


def axis_end(shares: Iterable[float]) -> float:
    """The round share that an axis ends at."""
    highest = max(shares, default=1.0)
    return next(top for top in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if highest <= top or top == 1.0)


def axis_ticks(highest: float) -> tuple[float, ...]:
    """Round shares from 0 to `highest`, which `axis_end` chose."""
    step = {0.1: 0.025, 0.2: 0.05, 0.4: 0.1, 0.6: 0.2, 0.8: 0.2, 1.0: 0.25}[highest]
    return tuple(round(i * step, 3) for i in range(round(highest / step) + 1))


def slot_class(slot: int) -> str:
    """The class that gives a run its colour."""
    return f"s{slot % SLOTS}" + (" again" if slot >= SLOTS else "")


def text_width(label: str, size: float, *, bold: bool = False) -> float:
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
