"""Which charts the page of an evaluation shows: from figures to pairs of SVG, one wide and one narrow."""

from collections.abc import Callable, Sequence
from typing import Final

from markupsafe import Markup

from safemt.report.moderator import charts
from safemt.report.moderator.charts import Curve
from safemt.report.moderator.figures import Group, ModeratorFigures
from safemt.report.page.charts import Dot, DotGroup, Scale, Series, share_scale, turns_chart
from safemt.report.page.drawings import both, dot_charts, share_dot
from safemt.report.page.words import index, index_interval
from safemt.stats.detection import roc_curve

SHOWN_TURNS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
_FEWEST: Final = 20
"""Dialogues that a mean risk by turn takes to be drawn."""
_MOST_DOTS: Final = 48
"""More are left to the table."""
_AREA: Final = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), lambda tick: f"{tick:g}", "AUROC (0.5 is a coin)")


def roc(moderators: Sequence[ModeratorFigures], *, logarithmic: bool) -> Markup | None:
    """ROC curves; None where a class is missing."""
    curves = []
    for slot, figures in enumerate(moderators):
        if figures.ranking.auroc is None:
            continue
        rates, recalls = roc_curve(figures.data)
        curves.append(
            Curve(
                name=figures.name,
                slot=slot,
                points=tuple(zip(rates.tolist(), recalls.tolist(), strict=True)),
                marks=tuple(
                    (recall.rate, recall.estimate) for recall in figures.ranking.recalls if recall.estimate
                ),
                told=f"AUROC {index(figures.ranking.auroc.value)}",
            )
        )
    if not curves:
        return None
    title = "ROC curve, few false alarms" if logarithmic else "ROC curve"
    return both(
        lambda width, uid: charts.roc_chart(
            curves, logarithmic=logarithmic, width=width, title=title, uid=uid
        ),
        "roc-log" if logarithmic else "roc",
    )


def risk_by_turn(figures: ModeratorFigures, slot: int) -> Markup | None:
    """Mean risk of harmful and of benign dialogues after each turn; None for dialogues of a single turn."""
    turns = [turn for turn in figures.turns if turn.turn in SHOWN_TURNS]
    lines = (
        ("harmful", 1, [(t.turn, t.harmful_risk) for t in turns if t.harmful >= _FEWEST]),
        ("benign", 2, [(t.turn, t.benign_risk) for t in turns if t.benign >= _FEWEST]),
    )
    series = [
        Series(name, colour, tuple((turn, risk) for turn, risk in risks if risk is not None))
        for name, colour, risks in lines
        if risks
    ]
    if max((len(one.shares) for one in series), default=0) < 2:
        return None
    return both(
        lambda width, uid: turns_chart(
            series,
            width=width,
            title=f"Mean risk by turn, {figures.name}",
            uid=uid,
            axis="Mean risk (95 % band)",
        ),
        f"risk-{slot}",
    )


def areas(
    moderators: Sequence[ModeratorFigures], groups_of: Callable[[ModeratorFigures], Sequence[Group]], uid: str
) -> Markup | None:
    """AUROC of the groups that have one; None where there is none, or too many."""

    def dot(name: str, slot: int, group: Group) -> Dot:
        area = group.auroc
        told = "–" if area is None else f"{index(area.value)} ({index_interval(area)})"
        return Dot(name, slot, area, told)

    drawn = _grouped(moderators, groups_of, dot)
    groups = [group for group in drawn if any(one.estimate for one in group.dots)]
    if len(moderators) == 1:
        groups = [DotGroup("", tuple(one for group in drawn for one in group.dots if one.estimate))]
    if not 0 < sum(len(group.dots) for group in groups) <= _MOST_DOTS:
        return None
    return dot_charts(groups, _AREA, "AUROC by group", uid)


def alarms(
    moderators: Sequence[ModeratorFigures],
    groups_of: Callable[[ModeratorFigures], Sequence[Group]],
    uid: str,
    title: str,
) -> Markup | None:
    """Alarms at the default threshold by group; None where there are none, or too many."""
    groups = _grouped(moderators, groups_of, lambda name, slot, group: share_dot(name, slot, group.alarmed))
    estimates = [one.estimate for group in groups for one in group.dots]
    if not any(estimates) or len(estimates) > _MOST_DOTS:
        return None
    return dot_charts(groups, share_scale(estimates, title=title), title, uid)


def reliability(moderators: Sequence[ModeratorFigures]) -> Markup | None:
    """Reliability of all moderators; None without dialogues."""
    dots = [
        charts.Dots(
            name=figures.name,
            slot=slot,
            bins=tuple((each.risk, each.harmful) for each in figures.reliability.bins),
            told=f"error {index(error.value)}",
        )
        for slot, figures in enumerate(moderators)
        if (error := figures.reliability.error) is not None
    ]
    if not dots:
        return None
    return both(
        lambda width, uid: charts.reliability_chart(dots, width=width, title="Reliability", uid=uid),
        "reliability",
    )


def _grouped(
    moderators: Sequence[ModeratorFigures],
    groups_of: Callable[[ModeratorFigures], Sequence[Group]],
    dot: Callable[[str, int, Group], Dot],
) -> list[DotGroup]:
    """A row per group for one moderator; for several a heading per group and a row per moderator."""
    columns = [groups_of(figures) for figures in moderators]
    if len(moderators) == 1:
        return [DotGroup("", tuple(dot(group.name, 0, group) for group in columns[0]))]
    return [
        DotGroup(
            rows[0].name,
            tuple(
                dot(figures.name, slot, group)
                for slot, (figures, group) in enumerate(zip(moderators, rows, strict=True))
            ),
        )
        for rows in zip(*columns, strict=True)
    ]
