"""The tables of a report as Markdown, for a README, an issue or notes."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from safemt.report import moderation
from safemt.report.compare import Compared
from safemt.report.page import words
from safemt.report.page.drawings import ReportRun
from safemt.stats.comparison import Comparison, Difference
from safemt.stats.intervals import Estimate

_SIGNS: Final = re.compile(r"([\\`*_{}\[\]<>|#~&])")


def markdown(runs: Sequence[ReportRun], compared: Compared | None, unfair: str = "") -> str:
    """The tables, and each run in a few sentences; `unfair` says why there is no comparison."""
    parts = ["# Safety report", ""]
    for run in runs:
        parts += [f"**{_escape(run.name)}**{_mark(run)}: {_escape(' '.join(words.summary(run.results)))}", ""]
    parts += _asr_by_turns(runs)
    parts += _overall(runs)
    for kind in ("scenario", "method"):
        for run in runs:
            parts += _by_group(run, kind)
    parts += _outcomes(runs)
    parts += _moderation(runs)
    if compared is not None:
        for run, comparison in zip(runs[1:], compared.comparisons, strict=True):
            parts += _differences(run, runs[0], comparison)
    elif unfair:
        parts += [f"Not compared: {_escape(unfair)}.", ""]
    parts += _provenance(runs)
    return "\n".join(parts).rstrip() + "\n"


def _asr_by_turns(runs: Sequence[ReportRun]) -> list[str]:
    rounds = sorted({k for run in runs for k in run.results.scores.turns})
    rows = []
    for run in runs:
        overall = run.results.figures.overall
        at = dict(zip(overall.rounds, overall.asr, strict=True))
        rows.append([_name(run), *(_share(at.get(k)) for k in rounds), _share(overall.pooled)])
    return _table("ASR by turns (95 % interval)", ["run", *map(str, rounds), "all"], rows)


def _overall(runs: Sequence[ReportRun]) -> list[str]:
    rows = []
    for run in runs:
        figures, scores = run.results.figures, run.results.scores
        si, slope = figures.overall.si, figures.trend.slope
        rows.append(
            [
                _name(run),
                words.NOTHING if si is None else f"{words.index(si.value)} ({words.index_interval(si)})",
                _share(figures.over_refusal),
                words.NOTHING
                if slope is None
                else f"{words.points(slope.value)} ({words.points_interval(slope)})",
                f"{sum(scores.causes.values()):,}",
                f"{scores.pending:,}",
            ]
        )
    headings = [
        "run",
        "Safety Index",
        "over-refusal",
        "points per doubling of turns",
        "ungraded",
        "still to do",
    ]
    return _table("Overall (95 % interval)", headings, rows)


def _by_group(run: ReportRun, kind: str) -> list[str]:
    scores, figures = run.results.scores, run.results.figures
    groups = figures.scenarios if kind == "scenario" else figures.methods
    by_turns = scores.scenario_turns if kind == "scenario" else scores.method_turns
    rounds = sorted({k for tallies in by_turns.values() for k in tallies})
    rows = [
        [
            _escape(name),
            _share(group.pooled),
            *(words.percent(by_turns[name][k].asr) if k in by_turns[name] else words.NOTHING for k in rounds),
        ]
        for name, group in groups.items()
    ]
    return _table(
        f"ASR by {kind} and turns, {_name(run)}", [kind, "all (95 % interval)", *map(str, rounds)], rows
    )


def _outcomes(runs: Sequence[ReportRun]) -> list[str]:
    names = list(dict.fromkeys(name for run in runs for name in run.results.scores.outcomes))
    rows = [
        [_name(run), *(f"{run.results.scores.outcomes.get(name, 0):,}" for name in names)] for run in runs
    ]
    return _table("Outcomes", ["run", *names], rows) if names else []


def _moderation(runs: Sequence[ReportRun]) -> list[str]:
    rows = []
    for run in runs:
        if (m := run.results.moderation) is not None:
            entry = run.results.provenance["moderator"]
            rows.append(
                [
                    _name(run),
                    _escape(f"{entry['name']} ({moderation.settings(entry)})"),
                    moderation.said_of(m.harmful),
                    moderation.said_of(m.twins),
                    _escape(moderation.looked_at(m)),
                    f"{sum(m.degraded.values()):,}",
                    moderation.cost(m),
                ]
            )
    headings = ["run", "moderator", "harmful", "twins", "looked at", "degraded", "cost"]
    return _table("Moderator", headings, rows)


def _differences(run: ReportRun, baseline: ReportRun, comparison: Comparison) -> list[str]:
    def cells(heading: str, d: Difference | None, text: Callable[..., str]) -> list[str]:
        if d is None:
            return [heading, "no shared sample", "", "", ""]
        interval = f"{text(d.interval.low, signed=True)} to {text(d.interval.high, signed=True)}"
        detectable = words.NOTHING if d.detectable is None else text(d.detectable, signed=False)
        return [
            heading,
            f"{text(d.value, signed=True)} ({interval})",
            words.p_value(d.p_adjusted),
            d.verdict,
            detectable,
        ]

    rows = [
        *(
            cells(f"ASR at {words.count(k, 'turn')}, points", d, words.points)
            for k, d in zip(comparison.rounds, comparison.by_round, strict=True)
        ),
        cells("ASR over all turns, points", comparison.pooled, words.points),
        cells("Safety Index", comparison.si, words.index),
    ]
    if comparison.over_refusal is not None:
        rows.append(cells("over-refusal, points", comparison.over_refusal, words.points))
    headings = ["figure", "difference (95 % interval)", "p (Holm)", "verdict", "detectable"]
    return _table(f"{_name(run)} less {_name(baseline)}", headings, rows)


def _provenance(runs: Sequence[ReportRun]) -> list[str]:
    rows = []
    for run in runs:
        p = run.results.provenance
        if p:
            dataset = f"{_escape(p['benchmark']['name'])} `{p['benchmark']['sha256'][:16]}`"
            judge = f"{_escape(p['judge']['name'])} `{p['judge']['id'][:16]}`"
            rows.append([_name(run), dataset, judge, _escape(str(p["seed"])), _escape(p["safemt"])])
    return _table("Provenance", ["run", "benchmark", "judge", "seed", "safemt"], rows) if rows else []


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"## {title}", "", "| " + " | ".join(headings) + " |"]
    lines.append("|" + "|".join("---" if i == 0 else "---:" for i, _ in enumerate(headings)) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return [*lines, ""]


def _name(run: ReportRun) -> str:
    return _escape(run.name) + _mark(run)


def _mark(run: ReportRun) -> str:
    simulated = " (SIMULATED)" if run.results.simulated else ""
    return simulated + (" (partial)" if run.results.scores.pending else "")


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return words.NOTHING
    return f"{words.percent(estimate.value)} ({words.percent_interval(estimate)})"


def _escape(text: str) -> str:
    """Text that Markdown leaves as it is, on one line."""
    return _SIGNS.sub(r"\\\1", " ".join(words.visible(text).split()))
