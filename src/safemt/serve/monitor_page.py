"""How monitored traffic is shown: tables for the terminal and the page, and the page itself. No texts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from safemt.report.charts import Series, line_chart
from safemt.report.html.page import Part, Section, banner, render, shown
from safemt.report.table import Table, columns
from safemt.report.text import UNKNOWN, Figure, count, number, p_value, percent, share
from safemt.serve.monitor import Drift, Monitored, Window
from safemt.stats.intervals import Estimate

_FIGURES = {"alerts": "alert rate", "degraded": "share of degraded verdicts", "risk": "distribution of risk"}
_COUNTS: Mapping[str, Callable[[Window], Mapping[str, int]]] = {
    "action": lambda window: window.actions,
    "scenario": lambda window: window.scenarios,
    "degraded because": lambda window: window.causes,
    "not looked at": lambda window: window.unscanned,
    "error": lambda window: window.errors,
}


def monitor_tables(monitored: Monitored) -> list[Table]:
    """Everything by window, by tenant, by model, and what happened how often."""
    windows = {_when(window.start): window for window in monitored.windows if window.requests}
    groups = [
        _table(f"By {name}", name, {value or "none": window for value, window in found.items()})
        for name, found in monitored.groups.items()
    ]
    return [_table("By window", "from (UTC)", windows), *groups, _count_table(monitored)]


def drift_sentences(drifts: Sequence[Drift]) -> list[str]:
    """What drifted, in words."""
    return [_sentence(drift) for drift in drifts] or ["No drift against the reference."]


def monitor_page(monitored: Monitored) -> str:
    """The page as text."""
    first, last, reference = monitored.windows[0], monitored.windows[-1], monitored.reference
    requests = count(sum(each.requests for each in monitored.windows), "request")
    by_window, *others = map(shown, monitor_tables(monitored))
    shares = [_series("alerts", 0, monitored.windows), _series("degraded", 1, monitored.windows)]
    chart = line_chart("Shares by window", "shares", shares, y_title="conversations", x_title="window")
    sections = [
        Section(
            "time",
            "Over time",
            "Over time",
            "Shares are of conversations, each counted once in a window. Windows are numbered in order.",
            [chart, by_window],
        ),
        Section("groups", "By tenant and model", "By tenant and model", "", list[Part | None](others)),
    ]
    css = "warning" if monitored.drifts else ""
    return render(
        title="Moderation of a deployment",
        eyebrow="monitoring",
        lead=f"{requests} from {_when(first.start)} to {_when(last.end)} UTC. The reference ends at "
        f"{_when(reference.end)}.",
        cluster="conversation",
        banners=[banner("Drift", sentence, css) for sentence in drift_sentences(monitored.drifts)],
        cards=[],
        sections=sections,
    )


def _sentence(drift: Drift) -> str:
    p = p_value(drift.p_value)
    name, p = _FIGURES[drift.figure], f"p {p}" if p.startswith("<") else f"p = {p}"
    if drift.figure == "risk":
        return f"{_when(drift.window)}: the {name} changed (distance {number(drift.now, 2)}, {p})."
    return f"{_when(drift.window)}: {name} {percent(drift.before)} → {percent(drift.now)} ({p})."


def _table(title: str, heading: str, rows: Mapping[str, Window]) -> Table:
    headings = (
        heading, "requests", "conversations", "alerts", "degraded", "blocked", "errors", "median risk",
        "verdict, p99 ms", "pictures seen", "moderator",
    )  # fmt: skip
    return Table(
        title,
        columns(*headings, text=(heading, "moderator")),
        tuple((name, *_cells(window)) for name, window in rows.items()),
    )


def _cells(window: Window) -> tuple[str | int | Figure, ...]:
    return (
        window.requests,
        window.conversations,
        share(window.alerts),
        share(window.degraded),
        window.actions.get("block", 0),
        sum(window.errors.values()),
        number(window.risk.get("p50"), 3),
        number(window.moderation_ms.get("p99"), 1),
        percent(window.images_seen.value if window.images_seen else None),
        ", ".join(window.settings) or UNKNOWN,
    )


def _count_table(monitored: Monitored) -> Table:
    newest = monitored.windows[-1]
    rows = [
        (kind, name, taken(monitored.reference).get(name, 0), taken(newest).get(name, 0))
        for kind, taken in _COUNTS.items()
        for name in sorted({**taken(monitored.reference), **taken(newest)})
    ]
    heads = columns("kind", "what", "reference", "newest window", text=("kind", "what"))
    return Table("Requests by what happened", heads, tuple(rows))


def _series(figure: str, slot: int, windows: Sequence[Window]) -> Series:
    shares: list[tuple[int, Estimate]] = []
    shown = [window for window in windows if window.requests]
    for place, window in enumerate(shown, 1):
        estimate = window.alerts if figure == "alerts" else window.degraded
        if estimate is not None:
            shares.append((place, estimate))
    return Series(_FIGURES[figure], slot, tuple(shares))


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
