"""The charts of an evaluation of moderators."""

from collections.abc import Callable, Sequence
from typing import Final

from safemt.report import charts
from safemt.report.charts import Chart, Curve, Dot, Group, Series
from safemt.report.marks import QUARTERS, Axis, index_axis, rare_axis
from safemt.report.moderator_evaluation import SHOWN_TURNS, Groups
from safemt.report.moderator_figures import Group as Dialogues
from safemt.report.moderator_figures import ModeratorFigures
from safemt.report.plots import share_chart, share_dot
from safemt.report.text import in_words, index
from safemt.stats.detection import roc_curve

_FEWEST: Final = 20
"""Dialogues that it takes to draw a mean risk by turn."""
_MOST_DOTS: Final = 48
"""More are left to the table."""


def roc(moderators: Sequence[ModeratorFigures], *, rare: bool) -> Chart | None:
    """ROC curves, with `rare` on a logarithmic axis of false alarms; None where a label is missing."""
    curves = []
    for slot, figures in enumerate(moderators):
        if figures.ranking.auroc is not None:
            rates, recalls = roc_curve(figures.data)
            curves.append(
                Curve(
                    name=figures.name,
                    slot=slot,
                    points=tuple(zip(rates.tolist(), recalls.tolist(), strict=True)),
                    marks=tuple((r.rate, r.estimate) for r in figures.ranking.recalls if r.estimate),
                    told=f"AUROC {index(figures.ranking.auroc.value)}",
                    steps=True,
                )
            )
    if not curves:
        return None
    x_title = "false alarms: benign dialogues with an alarm"
    axis = rare_axis(x_title) if rare else Axis(ticks=QUARTERS, title=x_title)
    title = "ROC curve where false alarms are rare" if rare else "ROC curve"
    uid, y_title = "roc-rare" if rare else "roc", "Recall: harmful dialogues with an alarm"
    return charts.curve_chart(title, uid, curves, x=axis, y_title=y_title)


def risk_by_turn(figures: ModeratorFigures, slot: int) -> Chart | None:
    """Mean risk of harmful and of benign dialogues after each turn; None for dialogues of one turn."""
    turns = [(turn, each) for turn, each in figures.turns.items() if turn in SHOWN_TURNS]
    risks = (
        ("harmful", 1, [(turn, each.harmful_risk) for turn, each in turns if each.harmful >= _FEWEST]),
        ("benign", 2, [(turn, each.benign_risk) for turn, each in turns if each.benign >= _FEWEST]),
    )
    series = [
        Series(name, colour, tuple((turn, risk) for turn, risk in known if risk is not None))
        for name, colour, known in risks
        if known
    ]
    if max((len(one.shares) for one in series), default=0) < 2:
        return None
    title, y_title = f"Mean risk by turn, {figures.name}", "Mean risk (95 % band)"
    return charts.line_chart(title, f"risk-{slot}", series, y_title=y_title, x_title="turn of the dialogue")


def areas(moderators: Sequence[ModeratorFigures], groups: Groups, uid: str) -> Chart | None:
    """AUROC of the groups that have one; None where none has one, or too many."""

    def dot(name: str, slot: int, group: Dialogues) -> Dot:
        return Dot(name, slot, group.auroc, str(in_words(group.auroc, index)))

    grouped = _grouped(moderators, groups, dot)
    shown = [group for group in grouped if any(one.estimate for one in group.items)]
    if len(moderators) == 1:
        shown = [Group("", tuple(one for group in grouped for one in group.items if one.estimate))]
    if not 0 < sum(len(group.items) for group in shown) <= _MOST_DOTS:
        return None
    axis = index_axis("AUROC (0.5 is a coin)")
    return charts.dot_chart("AUROC by group", f"area-{uid}", shown, axis=axis)


def alarms(moderators: Sequence[ModeratorFigures], groups: Groups, uid: str, title: str) -> Chart | None:
    """Alarms at the default threshold by group; None where there are none, or too many."""
    shown = _grouped(moderators, groups, lambda name, slot, group: share_dot(name, slot, group.alarmed))
    estimates = [one.estimate for group in shown for one in group.items]
    if not any(estimates) or len(estimates) > _MOST_DOTS:
        return None
    return share_chart(title, f"alarms-{uid}", shown, title)


def reliability(moderators: Sequence[ModeratorFigures]) -> Chart | None:
    """Calibration curves of all moderators; None where no dialogue has a risk."""
    curves = [
        Curve(
            name=figures.name,
            slot=slot,
            points=tuple((each.risk, each.harmful.value) for each in figures.reliability.bins),
            marks=tuple((each.risk, each.harmful) for each in figures.reliability.bins),
            told=f"error {index(error.value)}",
        )
        for slot, figures in enumerate(moderators)
        if (error := figures.reliability.error) is not None
    ]
    if not curves:
        return None
    axis = Axis(ticks=QUARTERS, title="mean risk of the dialogues in a bin")
    y_title = "Share of them that is harmful"
    return charts.curve_chart("Reliability", "reliability", curves, x=axis, y_title=y_title)


def _grouped(
    moderators: Sequence[ModeratorFigures], groups: Groups, dot: Callable[[str, int, Dialogues], Dot]
) -> list[Group[Dot]]:
    """A row per group for one moderator; for several a heading per group and a row per moderator."""
    if len(moderators) == 1:
        return [Group("", tuple(dot(name, 0, group) for name, group in groups(moderators[0]).items()))]
    return [
        Group(name, tuple(dot(each.name, slot, groups(each)[name]) for slot, each in enumerate(moderators)))
        for name in groups(moderators[0])
    ]
