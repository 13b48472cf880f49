"""The charts of runs. `PLOTS` names those that need nothing but runs."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from safemt.core.taxonomy import Label, Outcome
from safemt.report import charts
from safemt.report.charts import Bar, Chart, Dot, Group, Point, Segment, Series
from safemt.report.compare import Compared
from safemt.report.figures import Asr
from safemt.report.marks import difference_axis, index_axis, share_axis
from safemt.report.runs import ReportRun
from safemt.report.text import count, in_words, index, share, signed_points
from safemt.stats.intervals import Estimate
from safemt.stats.scores import ScoredSample

OUTCOMES: Final = (
    Segment("complied, unsafe", "complied-unsafe"),
    Segment("complied, ungraded", "complied-ungraded"),
    Segment("complied, safe", "complied-safe"),
    Segment("refused", "refused"),
    Segment("blocked by the provider", "blocked"),
    Segment("moderated", "moderated"),
    Segment("error", "error"),
)
_TURNS: Final = "turns in the dialogue"


def asr_by_turns(runs: Sequence[ReportRun]) -> Chart:
    """ASR by turns with bands."""
    series = [_series(run, run.results.turns) for run in runs]
    y_title = "Attack success rate (95 % band)"
    return charts.line_chart("ASR by turns", "asr", series, y_title=y_title, x_title=_TURNS)


def safety_index(runs: Sequence[ReportRun]) -> Chart:
    """The Safety Index of each run with its interval."""
    found = [(run, run.results.safety_index.value) for run in runs]
    dots = tuple(Dot(r.chart_name, r.slot, e, str(in_words(e, index, "nothing graded"))) for r, e in found)
    axis = index_axis("Safety Index (1 is always safe)")
    return charts.dot_chart("Safety Index", "si", [Group("", dots)], axis=axis)


def over_refusal(runs: Sequence[ReportRun]) -> Chart | None:
    """Over-refusal against ASR; None where no run has both."""
    points = [
        Point(run.chart_name, run.slot, asr, refused)
        for run in runs
        if (asr := run.results.overall.asr) is not None
        and (refused := run.results.over_refusal.rate) is not None
    ]
    if not points:
        return None
    titles = "Attack success rate over all turns", "Over-refusal: benign twins turned away"
    hint = "↙ safer and more helpful"
    return charts.plane_chart("Over-refusal against ASR", "plane", points, titles=titles, hint=hint)


def scenarios(runs: Sequence[ReportRun]) -> Chart | None:
    """ASR by scenario as a matrix, by turns for one run, by run for several; None without scenarios."""
    names = sorted({name for run in runs for name in run.results.scenarios})
    if len(runs) == 1:
        rounds = list(runs[0].results.turns)
        columns = [*(str(k) for k in rounds), "all"]
        groups = [(name, runs[0].results.scenarios[name]) for name in names]
        rows = [
            (name, [*(_value(group.turns.get(k)) for k in rounds), _value(group)]) for name, group in groups
        ]
    else:
        columns = [run.chart_name for run in runs]
        rows = [(name, [_value(run.results.scenarios.get(name)) for run in runs]) for name in names]
    return charts.heat_chart("ASR by scenario, in %", "scenarios", rows, columns) if rows else None


def methods(runs: Sequence[ReportRun]) -> Chart | None:
    """ASR by turns, a panel for each method; None where no sample has a method."""
    names = sorted({name for run in runs for name in run.results.methods})
    panels = [
        (name, [_series(run, found[name].turns) for run in runs if name in (found := run.results.methods)])
        for name in names
    ]
    return (
        charts.panel_chart("ASR by method and turns", "methods", panels, x_title=_TURNS) if panels else None
    )


def outcomes(runs: Sequence[ReportRun]) -> Chart:
    """What the target did with harmful samples, by turns."""
    groups = []
    for run in runs:
        tried = [s for s in run.results.samples if s.twin_of is None and s.outcome is not None]
        bars = [
            Bar(count(k, "turn"), _outcome_counts([s for s in tried if s.turns == k]))
            for k in sorted({sample.turns for sample in tried})
        ]
        groups.append(Group(run.chart_name if len(runs) > 1 else "", tuple(bars)))
    return charts.bar_chart("Outcomes by turns", "outcomes", groups, OUTCOMES)


def trend(runs: Sequence[ReportRun]) -> Chart:
    """Change of ASR per doubling of turns."""
    found = [(run, run.results.trend.slope) for run in runs]
    missing = "no query graded twice"
    dots = tuple(Dot(r.chart_name, r.slot, e, str(in_words(e, signed_points, missing))) for r, e in found)
    axis = difference_axis((e for _, e in found), "change of ASR per doubling of turns, in points")
    return charts.dot_chart("Trend of ASR over turns", "trend", [Group("", dots)], axis=axis)


def first_unsafe(runs: Sequence[ReportRun]) -> Chart:
    """At how many turns queries first get an unsafe response."""
    rounds = sorted({k for run in runs for k in run.results.first_unsafe.rounds})
    segments = [Segment(f"first at {count(k, 'turn')}", f"first-{min(i, 7)}") for i, k in enumerate(rounds)]
    groups = []
    for run in runs:
        found = run.results.first_unsafe
        shares = dict(zip(found.rounds, found.by_round, strict=True))
        parts = [*(shares.get(k) for k in rounds), found.never]
        bar = Bar("", tuple(round(e.value * found.queries) if e else 0 for e in parts))
        groups.append(Group(run.chart_name, (bar,)))
    title = "Queries by their first unsafe response"
    return charts.bar_chart(title, "first", groups, [*segments, Segment("never", "never")])


def differences(compared: Compared, runs: Sequence[ReportRun]) -> Chart:
    """Differences of ASR of each run from the first."""
    groups = []
    for run, comparison in zip(runs[1:], compared.comparisons, strict=True):
        by_turns = zip(comparison.rounds, comparison.by_round, strict=True)
        dots = []
        for name, d in (
            *((count(k, "turn"), each) for k, each in by_turns),
            ("all turns", comparison.pooled),
        ):
            estimate = Estimate(d.value, d.interval) if d else None
            dots.append(Dot(name, run.slot, estimate, str(in_words(d, signed_points, "no shared sample"))))
        groups.append(Group(f"{run.chart_name} less {runs[0].chart_name}", tuple(dots)))
    estimates = (dot.estimate for group in groups for dot in group.items)
    axis = difference_axis(estimates, "difference of ASR, in points")
    return charts.dot_chart("Differences of ASR", "differences", groups, axis=axis)


PLOTS: Final[Mapping[str, Callable[[Sequence[ReportRun]], Chart | None]]] = {
    "asr": asr_by_turns,
    "safety_index": safety_index,
    "over_refusal": over_refusal,
    "scenarios": scenarios,
    "methods": methods,
    "outcomes": outcomes,
    "trend": trend,
    "first_unsafe": first_unsafe,
}
"""Charts by name. None is drawn where the runs lack what it shows."""


def share_dot(name: str, slot: int, estimate: Estimate | None) -> Dot:
    """A share as a dot, with its figure in words."""
    return Dot(name, slot, estimate, str(share(estimate, "no data")))


def share_chart(title: str, uid: str, groups: Sequence[Group[Dot]], x_title: str) -> Chart:
    """A dot chart of shares."""
    ends = (e.interval.high for group in groups for dot in group.items if (e := dot.estimate) is not None)
    return charts.dot_chart(title, uid, groups, axis=share_axis(ends, x_title))


def _series(run: ReportRun, turns: Mapping[int, Asr]) -> Series:
    shares = tuple((k, asr.asr) for k, asr in turns.items() if asr.asr is not None)
    return Series(run.chart_name, run.slot, shares)


def _value(asr: Asr | None) -> float | None:
    return None if asr is None or asr.asr is None else asr.asr.value


def _outcome_counts(samples: Iterable[ScoredSample]) -> tuple[int, ...]:
    counts = Counter((sample.outcome, sample.label) for sample in samples)
    complied = tuple(counts[Outcome.COMPLIED, label] for label in (Label.UNSAFE, Label.UNGRADED, Label.SAFE))
    others = (Outcome.REFUSED, Outcome.BLOCKED, Outcome.MODERATED, Outcome.ERROR)
    return (*complied, *(sum(n for (outcome, _), n in counts.items() if outcome is o) for o in others))
