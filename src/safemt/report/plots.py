"""The charts of runs: what each shows, at both widths. `PLOTS` names those that need nothing but runs."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from safemt.core.taxonomy import Label, Outcome
from safemt.report import charts
from safemt.report.charts import Bar, Dot, Group, Point, Segment, Series
from safemt.report.compare import Compared
from safemt.report.figures import Asr
from safemt.report.marks import Axis, difference_axis, index_axis, share_axis
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


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as SVG at two widths: one for desks and paper, one for phones. The style sheet colours it."""

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


def drawn(draw: Callable[[int, str], str], uid: str) -> Chart:
    """A chart as `draw` makes it for a width and an id."""
    return Chart(draw(charts.WIDE, f"{uid}-wide"), draw(charts.NARROW, f"{uid}-narrow"))


def asr_by_turns(runs: Sequence[ReportRun]) -> Chart:
    """ASR by turns with bands."""
    series = [_series(run, run.results.turns) for run in runs]
    y_title = "Attack success rate (95 % band)"
    return drawn(
        lambda width, uid: charts.line_chart(
            series,
            width=width,
            title="ASR by turns",
            uid=uid,
            y_title=y_title,
            x_title="turns in the dialogue",
        ),
        "asr",
    )


def safety_index(runs: Sequence[ReportRun]) -> Chart:
    """The Safety Index of each run with its interval."""
    found = [(run, run.results.safety_index.value) for run in runs]
    dots = [Dot(r.chart_name, r.slot, e, str(in_words(e, index, "nothing graded"))) for r, e in found]
    axis = index_axis("Safety Index (1 is always safe)")
    return dot_plot([Group("", tuple(dots))], axis, "Safety Index", "si")


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
    return drawn(
        lambda width, uid: charts.plane_chart(
            points, width=width, title="Over-refusal against ASR", uid=uid, titles=titles,
            hint="↙ safer and more helpful",
        ),
        "plane",
    )  # fmt: skip


def scenarios(runs: Sequence[ReportRun]) -> Chart | None:
    """ASR by scenario, as a matrix: by turns for one run, by run for several. None without scenarios."""
    names = sorted({name for run in runs for name in run.results.scenarios})
    if not names:
        return None
    if len(runs) == 1:
        rounds = list(runs[0].results.turns)
        columns = [count(k, "turn") for k in rounds]
        groups = runs[0].results.scenarios
        rows = [(name, [_value(groups[name].turns.get(k)) for k in rounds]) for name in names]
    else:
        columns = [run.chart_name for run in runs]
        rows = [(name, [_value(run.results.scenarios.get(name)) for run in runs]) for name in names]
    return drawn(
        lambda width, uid: charts.heat_chart(
            rows, columns, width=width, title="ASR by scenario, in %", uid=uid
        ),
        "scenarios",
    )


def methods(runs: Sequence[ReportRun]) -> Chart | None:
    """ASR by method over all turns; None where no sample has a method."""
    names = sorted({name for run in runs for name in run.results.methods})
    if not names:
        return None

    def dot(name: str, run: ReportRun, method: str) -> Dot:
        group = run.results.methods.get(method)
        return share_dot(name, run.slot, group.asr if group else None)

    if len(runs) == 1:
        groups = [Group("", tuple(dot(name, runs[0], name) for name in names))]
    else:
        groups = [Group(name, tuple(dot(run.chart_name, run, name) for run in runs)) for name in names]
    return share_plot(groups, "attack success rate over all turns", "ASR by method", "methods")


def methods_by_turns(runs: Sequence[ReportRun]) -> Chart | None:
    """ASR by turns, a panel for each method; None where no sample has a method."""
    names = sorted({name for run in runs for name in run.results.methods})
    if not names:
        return None
    panels = [
        (name, [_series(run, run.results.methods[name].turns) for run in runs if name in run.results.methods])
        for name in names
    ]
    return drawn(
        lambda width, uid: charts.panel_chart(
            panels, width=width, title="ASR by method and turns", uid=uid, x_title="turns in the dialogue"
        ),
        "method-turns",
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
    return drawn(
        lambda width, uid: charts.bar_chart(
            groups, OUTCOMES, width=width, title="Outcomes by turns", uid=uid
        ),
        "outcomes",
    )


def trend(runs: Sequence[ReportRun]) -> Chart:
    """Change of ASR per doubling of turns."""
    found = [(run, run.results.trend.slope) for run in runs]
    missing = "no query graded twice"
    dots = [Dot(r.chart_name, r.slot, e, str(in_words(e, signed_points, missing))) for r, e in found]
    axis = difference_axis((e for _, e in found), "change of ASR per doubling of turns, in points")
    return dot_plot([Group("", tuple(dots))], axis, "Trend of ASR over turns", "trend")


def first_unsafe(runs: Sequence[ReportRun]) -> Chart:
    """At how many turns queries first get an unsafe response."""
    rounds = sorted({k for run in runs for k in run.results.first_unsafe.rounds})
    segments = [
        *(Segment(f"first at {count(k, 'turn')}", f"first-{min(i, 7)}") for i, k in enumerate(rounds)),
        Segment("never", "never"),
    ]
    bars = []
    for run in runs:
        found = run.results.first_unsafe
        shares = dict(zip(found.rounds, found.by_round, strict=True))
        parts = [*(shares.get(k) for k in rounds), found.never]
        bars.append(Bar(run.chart_name, tuple(round(e.value * found.queries) if e else 0 for e in parts)))

    def draw(width: int, uid: str) -> str:
        if width < charts.WIDE:  # names above their bars
            groups = [Group(bar.name, (Bar("", bar.counts),)) for bar in bars]
        else:
            groups = [Group("", tuple(bars))]
        title = "Queries by their first unsafe response"
        return charts.bar_chart(groups, segments, width=width, title=title, uid=uid)

    return drawn(draw, "first")


def differences(compared: Compared, runs: Sequence[ReportRun]) -> Chart:
    """Differences of ASR of each run from the first."""
    groups = []
    for run, comparison in zip(runs[1:], compared.comparisons, strict=True):
        by_turns = zip(comparison.rounds, comparison.by_round, strict=True)
        rows = [*((count(k, "turn"), each) for k, each in by_turns), ("all turns", comparison.pooled)]
        dots = []
        for label, difference in rows:
            estimate = Estimate(difference.value, difference.interval) if difference else None
            said = str(in_words(estimate, signed_points, "no shared sample"))
            dots.append(Dot(label, run.slot, estimate, said))
        groups.append(Group(f"{run.chart_name} less {runs[0].chart_name}", tuple(dots)))
    estimates = (dot.estimate for group in groups for dot in group.items)
    axis = difference_axis(estimates, "difference of ASR, in points")
    return dot_plot(groups, axis, "Differences of ASR", "differences")


PLOTS: Final[Mapping[str, Callable[[Sequence[ReportRun]], Chart | None]]] = {
    "asr": asr_by_turns,
    "safety_index": safety_index,
    "over_refusal": over_refusal,
    "scenarios": scenarios,
    "methods": methods,
    "methods_by_turns": methods_by_turns,
    "outcomes": outcomes,
    "trend": trend,
    "first_unsafe": first_unsafe,
}
"""Charts by name. None is drawn where the runs lack what it shows."""


def share_dot(name: str, slot: int, estimate: Estimate | None) -> Dot:
    """A share as a dot, with its figure in words."""
    return Dot(name, slot, estimate, str(share(estimate, "no data")))


def share_plot(groups: Sequence[Group[Dot]], x_title: str, title: str, uid: str) -> Chart:
    """A dot chart of shares."""
    ends = (e.interval.high for group in groups for dot in group.items if (e := dot.estimate) is not None)
    return dot_plot(groups, share_axis(ends, x_title), title, uid)


def dot_plot(groups: Sequence[Group[Dot]], axis: Axis, title: str, uid: str) -> Chart:
    """A dot chart at both widths."""
    return drawn(
        lambda width, uid: charts.dot_chart(groups, axis=axis, width=width, title=title, uid=uid), uid
    )


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
