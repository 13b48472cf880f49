"""How every figure is written, on the terminal, in Markdown and on pages: one rounding, one minus sign.

Shares and differences of shares have one decimal, indices and areas three. An interval reads `12.4–40.0`, or
`−3.1 to +14.6` where a sign is in play. `–` stands where a figure is not known.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from safemt.stats.intervals import Interval

UNKNOWN: Final = "–"
"""Stands for a figure that is not known."""

# Characters that hide, reorder or fake text: controls (but not tab and line ends), bidi marks and embeddings,
# zero-width characters that join no letters, tags and other invisible operators, lone surrogates. The page's
# script has the same list.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


class Estimated(Protocol):
    """An estimate or a difference: a value with its 95 % interval."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def interval(self) -> Interval:
        """Its interval."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in words."""

    text: str = UNKNOWN
    interval: str = ""
    value: float | None = None
    """Unrounded, for programs that read a page."""

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


def visible(text: str) -> str:
    """`text` with each character that hides or reorders text replaced by its code in brackets."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def one_line(text: str) -> str:
    """`text`, visible, with line ends and runs of blanks as single blanks."""
    return " ".join(visible(text).split())


def number(value: float | None, digits: int, *, signed: bool = False) -> str:
    """`1,234.5`, `−0.3`: rounded, with a real minus sign and never a negative zero."""
    if value is None:
        return UNKNOWN
    rounded = round(value, digits) + 0.0
    sign = "+" if signed and rounded else ""
    return f"{rounded:{sign},.{digits}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """`23.5 %`."""
    return UNKNOWN if share is None else f"{points(share)} %"


def points(share: float | None, *, signed: bool = False) -> str:
    """A share, or a difference of shares, in percentage points: `23.5`, `+8.9`."""
    return UNKNOWN if share is None else number(100 * share, 1, signed=signed)


signed_points: Final = partial(points, signed=True)
"""A difference of shares in percentage points: `+8.9`."""
index: Final = partial(number, digits=3)
"""A Safety Index, an area, a risk: `0.629`."""
signed_index: Final = partial(number, digits=3, signed=True)
"""A difference of indices: `−0.009`."""


def quick(value: float | None) -> str:
    """A time or a ratio to about three digits, however small: `0.032`, `7.84`, `1,235`."""
    if value is None or abs(value) >= 100.0:
        return number(value, 0)
    return f"{value:.3g}".replace("-", "−")


def rate(share: float) -> str:
    """A round share that somebody chose: `1 %`, `0.1 %`."""
    return f"{100 * share:g} %"


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def share(estimate: Estimated | None, missing: str = UNKNOWN) -> Figure:
    """`23.5 % (12.4–40.0)`."""
    shown = in_words(estimate, points, missing)
    return shown if estimate is None else Figure(percent(estimate.value), shown.interval, shown.value)


def in_words(estimate: Estimated | None, form: Callable[[float], str], missing: str = UNKNOWN) -> Figure:
    """An estimate and its interval, both written by `form`; `missing` where there is none."""
    if estimate is None:
        return Figure(missing)
    low, high = form(estimate.interval.low), form(estimate.interval.high)
    between = " to " if {low[0], high[0]} & {"+", "−"} else "–"
    return Figure(form(estimate.value), f"{low}{between}{high}", estimate.value)


def count(number: int, one: str, more: str | None = None) -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def counted(counts: Mapping[str, int]) -> str:
    """`65 complied, 101 refused`."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())


def date(moment: str | None) -> str:
    """`2026-11-23 22:32:42 UTC`, from ISO 8601 in UTC."""
    return UNKNOWN if moment is None else f"{moment[:19].replace('T', ' ')} UTC"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 days`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole / 3600:.1f} h" if whole < 172_800 else f"{whole / 86_400:.1f} days"
