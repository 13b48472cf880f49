"""Which charts a report shows: from runs to pairs of SVG, one wide and one narrow."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markupsafe import Markup

from safemt.core.taxonomy import Label, Outcome
from safemt.report.compare import Compared
from safemt.report.page import charts, words
from safemt.report.page.charts import Bar, BarGroup, Dot, DotGroup, Point, Scale, Segment, Series
from safemt.report.results import Results
from safemt.run.rows import Invocation
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


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run of a report."""

    name: str
    """Unlike the other runs' names: the target, and the folder where targets are alike."""
    slot: int
    """Its colour."""
    folder: Path
    results: Results
    invocations: tuple[Invocation, ...] = ()
    """Oldest first; none for label files."""

    @property
    def invocation(self) -> Invocation | None:
        """The newest."""
        return self.invocations[-1] if self.invocations else None

    @property
    def images(self) -> Path:
        """The benchmark's folder, where it was at the time of the run."""
        benchmark = self.results.provenance.get("benchmark") or {}
        return Path(benchmark.get("path") or self.folder)

    @property
    def chart_name(self) -> str:
        """Its name in charts, which says where a run is simulated."""
        return words.chart_name(self.name, simulated=self.results.simulated)


def asr_by_turns(runs: Sequence[ReportRun]) -> Markup:
    """ASR by turns with bands."""
    series = [
        Series(
            run.chart_name,
            run.slot,
            tuple(
                (k, estimate)
                for k, estimate in zip(
                    run.results.figures.overall.rounds, run.results.figures.overall.asr, strict=True
                )
                if estimate is not None
            ),
        )
        for run in runs
    ]
    return both(
        lambda width, uid: charts.turns_chart(series, width=width, title="ASR by turns", uid=uid), "asr"
    )


def safety_index(runs: Sequence[ReportRun]) -> Markup:
    """SI of each run with its interval."""
    dots = []
    for run in runs:
        si = run.results.figures.overall.si
        text = "nothing graded" if si is None else f"{words.index(si.value)} ({words.index_interval(si)})"
        dots.append(Dot(run.chart_name, run.slot, si, text))
    scale = Scale(
        0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), lambda tick: f"{tick:g}", "Safety Index (1 is always safe)"
    )
    return dot_charts([DotGroup("", tuple(dots))], scale, "Safety Index", "si")


def operating_points(runs: Sequence[ReportRun]) -> Markup | None:
    """Over-refusal against ASR; None where no run has both."""
    points = [
        Point(run.chart_name, run.slot, asr, refused)
        for run in runs
        if (asr := run.results.figures.overall.pooled) is not None
        and (refused := run.results.figures.over_refusal) is not None
    ]
    if not points:
        return None
    return both(
        lambda width, uid: charts.plane_chart(points, width=width, title="Over-refusal against ASR", uid=uid),
        "plane",
    )


def methods(runs: Sequence[ReportRun]) -> Markup | None:
    """ASR by method; None where no sample has one."""
    names = sorted({name for run in runs for name in run.results.figures.methods})
    if not names:
        return None

    def dot(name: str, run: ReportRun, method: str) -> Dot:
        group = run.results.figures.methods.get(method)
        return share_dot(name, run.slot, group.pooled if group else None)

    if len(runs) == 1:
        groups = [DotGroup("", tuple(dot(name, runs[0], name) for name in names))]
    else:
        groups = [DotGroup(name, tuple(dot(run.chart_name, run, name) for run in runs)) for name in names]
    estimates = [dot.estimate for group in groups for dot in group.dots]
    scale = charts.share_scale(estimates, title="attack success rate over all turns")
    return dot_charts(groups, scale, "ASR by method", "methods")


def outcomes(runs: Sequence[ReportRun]) -> Markup:
    """What became of the harmful samples, by turns."""
    groups = []
    for run in runs:
        tried = [s for s in run.results.samples if s.twin_of is None and s.outcome is not None]
        rounds = sorted({sample.turns for sample in tried})
        bars = [
            Bar(words.count(k, "turn"), _outcome_counts([s for s in tried if s.turns == k])) for k in rounds
        ]
        groups.append(BarGroup(run.chart_name if len(runs) > 1 else "", tuple(bars)))
    return both(
        lambda width, uid: charts.bar_chart(
            groups, OUTCOMES, width=width, title="Outcomes by turns", uid=uid
        ),
        "outcomes",
    )


def slopes(runs: Sequence[ReportRun]) -> Markup:
    """Change of ASR per doubling of turns."""
    dots = []
    for run in runs:
        slope = run.results.figures.trend.slope
        text = (
            "no query graded twice"
            if slope is None
            else f"{words.points(slope.value)} ({words.points_interval(slope)})"
        )
        dots.append(Dot(run.chart_name, run.slot, slope, text))
    scale = charts.difference_scale(
        [dot.estimate for dot in dots], title="change of ASR per doubling of turns, in points"
    )
    return dot_charts([DotGroup("", tuple(dots))], scale, "Trend of ASR over turns", "trend")


def first_unsafe(runs: Sequence[ReportRun]) -> Markup:
    """In which round queries first turn unsafe."""
    rounds = sorted({k for run in runs for k in run.results.figures.first_unsafe.rounds})
    segments = [
        *(Segment(f"first at {words.count(k, 'turn')}", f"first-{min(i, 7)}") for i, k in enumerate(rounds)),
        Segment("never", "never"),
    ]
    counted = []
    for run in runs:
        found = run.results.figures.first_unsafe
        shares = dict(zip(found.rounds, found.by_round, strict=True))
        counts = [round(e.value * found.queries) if (e := shares.get(k)) else 0 for k in rounds]
        counts.append(round(found.never.value * found.queries) if found.never else 0)
        counted.append((run.chart_name, tuple(counts)))

    def draw(width: int, uid: str) -> str:
        if width < charts.WIDE:  # names above their bars
            groups = [BarGroup(name, (Bar("", counts),)) for name, counts in counted]
        else:
            groups = [BarGroup("", tuple(Bar(name, counts) for name, counts in counted))]
        return charts.bar_chart(
            groups, segments, width=width, title="First unsafe answer by queries", uid=uid
        )

    return both(draw, "first")


def differences(compared: Compared, runs: Sequence[ReportRun]) -> Markup:
    """Differences of ASR of each run from the first."""
    groups = []
    for run, comparison in zip(runs[1:], compared.comparisons, strict=True):
        rows = [
            *(
                (words.count(k, "turn"), d)
                for k, d in zip(comparison.rounds, comparison.by_round, strict=True)
            ),
            ("all turns", comparison.pooled),
        ]
        dots = []
        for label, difference in rows:
            estimate = Estimate(difference.value, difference.interval) if difference else None
            text = (
                f"{words.points(estimate.value)} ({words.points_interval(estimate)})"
                if estimate
                else "none shared"
            )
            dots.append(Dot(label, run.slot, estimate, text))
        groups.append(DotGroup(f"{run.chart_name} less {runs[0].chart_name}", tuple(dots)))
    scale = charts.difference_scale(
        [dot.estimate for group in groups for dot in group.dots], title="difference of ASR, in points"
    )
    return dot_charts(groups, scale, "Differences of ASR", "differences")


def _outcome_counts(samples: Sequence[ScoredSample]) -> tuple[int, ...]:
    counts = Counter((sample.outcome, sample.label) for sample in samples)
    complied = tuple(counts[Outcome.COMPLIED, label] for label in (Label.UNSAFE, Label.UNGRADED, Label.SAFE))
    others = (Outcome.REFUSED, Outcome.BLOCKED, Outcome.MODERATED, Outcome.ERROR)
    return (*complied, *(sum(n for (outcome, _), n in counts.items() if outcome is o) for o in others))


def share_dot(name: str, slot: int, estimate: Estimate | None) -> Dot:
    """A share as a dot, with its figure in words."""
    text = f"{words.percent(estimate.value)} ({words.percent_interval(estimate)})" if estimate else "no data"
    return Dot(name, slot, estimate, text)


def dot_charts(groups: Sequence[DotGroup], scale: Scale, title: str, uid: str) -> Markup:
    """A dot chart at both widths."""
    return both(
        lambda width, uid: charts.dot_chart(groups, scale=scale, width=width, title=title, uid=uid), uid
    )


def both(draw: Callable[[int, str], str], uid: str) -> Markup:
    """A chart as `draw` makes it at the wide and at the narrow width."""
    wide, narrow = draw(charts.WIDE, f"{uid}-wide"), draw(charts.NARROW, f"{uid}-narrow")
    # The charts escape what they show; nothing else is in them.
    return Markup(f'<div class="chart wide">{wide}</div><div class="chart narrow">{narrow}</div>')  # noqa: S704
