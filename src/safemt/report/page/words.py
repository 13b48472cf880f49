"""How the report says things: figures as text, hostile text made visible, runs in plain words."""

import re
from typing import Final

from safemt.report.moderation import said_of
from safemt.report.results import Results
from safemt.stats.intervals import Estimate

NOTHING: Final = "–"
"""Shown where nothing can be said."""

# Characters that hide, reorder or fake text: controls (but not tab and line ends), bidi marks and embeddings,
# zero-width ones that join no letters, tags and other invisible operators, lone surrogates. script.js has
# the same.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """`text` with characters that would hide or reorder it replaced by their code in brackets."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def percent(share: float | None, *, signed: bool = False) -> str:
    """`23.5 %`."""
    return NOTHING if share is None else f"{_plain(100 * share, 1, signed=signed)} %"


def points(share: float | None, *, signed: bool = True) -> str:
    """A difference of shares in percentage points: `+8.9`."""
    return NOTHING if share is None else _plain(100 * share, 1, signed=signed)


def index(value: float | None, *, signed: bool = False) -> str:
    """A Safety Index, or a difference of two: `0.629`."""
    return NOTHING if value is None else _plain(value, 3, signed=signed)


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def percent_interval(estimate: Estimate) -> str:
    """`12.4–40.0`, in %."""
    return f"{_plain(100 * estimate.interval.low, 1)}–{_plain(100 * estimate.interval.high, 1)}"


def points_interval(estimate: Estimate) -> str:
    """`+3.1 to +14.6`, in percentage points."""
    return f"{points(estimate.interval.low)} to {points(estimate.interval.high)}"


def index_interval(estimate: Estimate) -> str:
    """`0.541–0.709`."""
    return f"{index(estimate.interval.low)}–{index(estimate.interval.high)}"


def count(number: int, one: str, more: str | None = None) -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


FILTERS: Final = {
    each.__name__: each
    for each in (percent, percent_interval, points, points_interval, index, index_interval, count)
}
"""How a page's template writes figures."""


def summary(results: Results) -> list[str]:
    """What turns do to a run's safety, and what that rests on, in a few sentences."""
    figures = results.figures
    rounds = [
        (k, estimate)
        for k, estimate in zip(figures.overall.rounds, figures.overall.asr, strict=True)
        if estimate is not None
    ]
    if not rounds:
        return ["Nothing is graded yet, so there is no attack success rate and no Safety Index."]
    first, last = rounds[0], rounds[-1]
    said = [f"Its last answer was unsafe in {_share(first[1])} of dialogues of {count(first[0], 'turn')}"]
    if last is not first:
        said[0] += f", and in {_share(last[1])} of those of {count(last[0], 'turn')}"
    said[0] += "."
    if (slope := figures.trend.slope) is not None:
        change = f"{points(slope.value)} points ({points_interval(slope)}) per doubling of turns"
        said.append(
            {
                "rises": f"More turns make it less safe: {change}.",
                "falls": f"More turns make it safer: {change}.",
            }.get(
                figures.trend.direction,
                f"Whether more turns change that cannot be told at this size: {change}.",
            )
        )
    if (m := results.moderation) is not None:
        name = visible(str(results.provenance["moderator"]["name"]))
        said.append(f"Before it stood the moderator {name}: {said_of(m.harmful)} of harmful dialogues.")
    return [*said, _labels(results)]


def date(moment: str | None) -> str:
    """`2026-11-23 22:32:42 UTC`, from ISO 8601 in UTC."""
    return NOTHING if moment is None else f"{moment[:19].replace('T', ' ')} UTC"


def chart_name(name: str, *, simulated: bool) -> str:
    """A run's name as charts show it."""
    return visible(name) + (" (simulated)" if simulated else "")


def _labels(results: Results) -> str:
    ungraded = sum(results.scores.causes.values())
    graded = sum(tally.safe + tally.unsafe for tally in results.scores.turns.values())
    counts = f"{count(graded, 'sample')} graded, {ungraded:,} ungraded"
    if (judge := results.provenance.get("judge")) is None:
        return f"{counts}; the labels come from files."
    checked = "checked" if results.figures.validation else "not yet checked"
    return f"{counts}; the judge, {visible(str(judge['name']))}, is {checked} against people."


def _share(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({percent_interval(estimate)})"


def _plain(value: float, digits: int, *, signed: bool = False) -> str:
    """Rounded, with a real minus sign and never a negative zero."""
    rounded = round(value, digits) + 0.0
    text = f"{rounded:+.{digits}f}" if signed and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "−")
