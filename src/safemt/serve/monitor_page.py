"""The page of `safemt monitor`: one file, without scripts and without texts of conversations."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

from safemt.serve.monitor import Drift, Monitored, Window
from safemt.stats.intervals import Estimate

_WIDTH: Final = 720
_HEIGHT: Final = 180
_LEFT: Final = 44
_BOTTOM: Final = 20
_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
.drift { background: #fff3e0; padding: .5rem 1rem }
svg { max-width: 100%; height: auto }
"""
_NAMES: Final = {"alerts": "alert rate", "degraded": "degraded verdicts", "risk": "distribution of risk"}


def monitor_page(monitored: Monitored) -> str:
    """The page as HTML."""
    first, last = monitored.windows[0].start, monitored.windows[-1].end
    groups = "".join(
        f"<h2>By {name}</h2>{_table(name, {value or 'none': window for value, window in found.items()})}"
        for name, found in monitored.groups.items()
    )
    windows = {f"{each.start:%Y-%m-%d %H:%M}": each for each in monitored.windows}
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Moderation of a deployment</title>'
        f"<style>{_STYLE}</style><h1>Moderation of a deployment</h1>"
        f"<p>{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC. Shares are of conversations. The "
        f"reference is the time until {monitored.reference.end:%Y-%m-%d %H:%M}.</p>"
        f"{_drifts(monitored.drifts)}"
        f"<h2>Alert rate</h2>{_chart(monitored, lambda window: window.alerts)}"
        f"<h2>Degraded verdicts</h2>{_chart(monitored, lambda window: window.degraded)}"
        f"<h2>By window</h2>{_table('window', windows)}{groups}{_counts(monitored)}</html>"
    )


def drift_sentence(drift: Drift) -> str:
    """A drift in words."""
    name, when = _NAMES[drift.figure], f"{drift.window:%Y-%m-%d %H:%M}"
    p = f"p {'<' if drift.p_value < 0.0001 else '='} {max(drift.p_value, 0.0001):.1g}"
    if drift.figure == "risk":
        return f"{when}: the {name} changed (distance {drift.now:.2f}, {p})."
    return f"{when}: {name} {percent(drift.before)} → {percent(drift.now)} ({p})."


def percent(share: float | None) -> str:
    """A share in per cent."""
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _drifts(drifts: Sequence[Drift]) -> str:
    if not drifts:
        return "<p>No drift against the reference.</p>"
    lines = "".join(f"<li>{escape(drift_sentence(each))}</li>" for each in drifts)
    return f'<div class="drift"><strong>Drift against the reference</strong><ul>{lines}</ul></div>'


def _table(heading: str, rows: Mapping[str, Window]) -> str:
    headings = (
        heading, "requests", "conversations", "alerts", "degraded", "blocked", "errors", "median risk",
        "p99 of moderation, ms",
    )  # fmt: skip
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in _cells(window))}</tr>"
        for name, window in rows.items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(window: Window) -> list[str]:
    return [
        f"{window.requests:,}",
        f"{window.conversations:,}",
        _share(window.alerts),
        _share(window.degraded),
        f"{window.actions.get('block', 0):,}",
        f"{sum(window.errors.values()):,}",
        f"{window.risk['p50']:.3f}" if window.risk else "–",
        f"{window.moderation_ms['p99']:.1f}" if window.moderation_ms else "–",
    ]


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    ends = f"{100 * estimate.interval.low:.1f}–{100 * estimate.interval.high:.1f}"
    return f"{percent(estimate.value)} ({ends})"


def _counts(monitored: Monitored) -> str:
    """What happened in the newest window, by kind."""
    newest = monitored.windows[-1]
    kinds = {
        "Actions": newest.actions, "Scenarios of flagged requests": newest.scenarios,
        "Causes of degraded verdicts": newest.causes, "Parts that nobody looked at": newest.unscanned,
        "Errors": newest.errors, "Settings": dict.fromkeys(newest.settings, newest.requests),
    }  # fmt: skip
    lists = "".join(_list(name, counts) for name, counts in kinds.items() if counts)
    return f"<h2>The newest window</h2>{lists}"


def _list(name: str, counts: Mapping[str, int]) -> str:
    items = "".join(f"<li>{escape(each)}: {number:,}</li>" for each, number in counts.items())
    return f"<h3>{name}</h3><ul>{items}</ul>"


def _chart(monitored: Monitored, figure: Callable[[Window], Estimate | None]) -> str:
    """A share by window with its interval, and the reference's interval as a band."""
    found = [(n, each) for n, window in enumerate(monitored.windows) if (each := figure(window)) is not None]
    if not found:
        return "<p>No verdicts.</p>"
    reference = figure(monitored.reference)
    top = max(each.interval.high for _, each in found)
    top = max(top, reference.interval.high if reference else 0.0, 0.01)
    step = (_WIDTH - _LEFT) / len(monitored.windows)

    def y(share: float) -> float:
        return (_HEIGHT - _BOTTOM) * (1 - share / top) + 8

    marks = [
        f'<text x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end" font-size="11">'
        f"{percent(share)}</text>"
        for share in (0.0, top)
    ]
    if reference is not None:
        low, high = y(reference.interval.low), y(reference.interval.high)
        marks.append(
            f'<rect x="{_LEFT}" y="{high:.1f}" width="{_WIDTH - _LEFT}" height="{max(low - high, 1):.1f}" '
            'fill="#dbe7f3"><title>Reference</title></rect>'
        )
    for place, each in found:
        x = _LEFT + step * (place + 0.5)
        said = f"{monitored.windows[place].start:%Y-%m-%d %H:%M}: {_share(each)}"
        marks.append(
            f'<g stroke="#1f5a99"><title>{said}</title><line x1="{x:.1f}" x2="{x:.1f}" '
            f'y1="{y(each.interval.low):.1f}" y2="{y(each.interval.high):.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y(each.value):.1f}" r="3.5" fill="#1f5a99"/></g>'
        )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" width="{_WIDTH}">{"".join(marks)}</svg>'
