"""The page of an evaluation of moderators. It holds no text of a dialogue."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safemt.moderation.measuring.labelled import Truth
from safemt.report import moderator_evaluation as tables
from safemt.report import moderator_plots as plots
from safemt.report.html.page import Banner, Card, Fact, render
from safemt.report.moderator_evaluation import Evaluation
from safemt.report.moderator_figures import ModeratorFigures
from safemt.report.plots import Chart
from safemt.report.table import Name, Table
from safemt.report.text import count, in_words, index, number, rate, share


@dataclass(frozen=True, slots=True)
class Kind:
    """Dialogues grouped in one way."""

    heading: str
    charts: tuple[Chart, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class ByTurn:
    """One moderator, turn by turn."""

    name: Name
    chart: Chart | None
    sentence: str
    table: Table


def evaluation_page(evaluation: Evaluation, *, command: str) -> str:
    """The page as text; `command` is what made it."""
    moderators = evaluation.moderators
    kinds = {truth: list(_kinds(moderators, truth)) for truth in Truth}
    return render(
        "evaluation.html.j2",
        nav=list(_nav(evaluation)),
        title=f"Moderators: {', '.join(each.name for each in moderators)}",
        eyebrow="evaluation of moderators",
        cluster="query, question or template",
        lead=_lead(evaluation),
        banners=list(_banners(evaluation)),
        cards=[_card(each, slot) for slot, each in enumerate(moderators)],
        remarks=list(tables.remarks(evaluation)),
        charts={
            "roc": plots.roc(moderators, rare=False),
            "roc_rare": plots.roc(moderators, rare=True),
            "reliability": plots.reliability(moderators),
        },
        tables={
            "figures": tables.figure_table(moderators),
            "reliability": tables.reliability_table(moderators),
            "coverage": tables.coverage_table(moderators),
            "comparison": tables.comparison_table(evaluation) if evaluation.comparisons else None,
        },
        by_turn=[
            ByTurn(
                Name(each.name, slot),
                plots.risk_by_turn(each, slot),
                _alerts(each),
                tables.turn_table([each]),
            )
            for slot, each in enumerate(moderators)
        ],
        harmful=kinds[Truth.HARMFUL],
        benign=kinds[Truth.BENIGN],
        borderline=kinds[Truth.BORDERLINE],
        provenance=list(_facts(evaluation, command)),
    )


def _kinds(moderators: Sequence[ModeratorFigures], truth: Truth) -> Iterable[Kind]:
    """The groups of dialogues with one label; kinds with a single group are shown for sources only."""
    for title, kind, groups in tables.group_kinds(moderators[0]):
        found = groups(moderators[0])
        if not title.lower().startswith(truth) or (len(found) < 2 and kind not in ("", "source")):
            continue
        uid = f"{truth}-{kind or 'source'}"
        drawn: list[Chart | None] = []
        if truth is not Truth.BENIGN:
            drawn.append(plots.areas(moderators, groups, uid))
        if truth is not Truth.HARMFUL or any(group.auroc is None for group in found.values()):
            drawn.append(plots.alarms(moderators, groups, uid, f"{truth} dialogues with an alarm"))
        table = tables.group_table(moderators, title, kind, groups)
        yield Kind(f"By {kind}" if kind else "", tuple(chart for chart in drawn if chart), table)


def _lead(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    return (
        f"{count(counts[Truth.HARMFUL], 'harmful dialogue')}, {count(counts[Truth.BENIGN], 'benign one')} "
        f"and {count(counts[Truth.BORDERLINE], 'borderline one')} (these sound harmful and are not), in "
        f"{count(evaluation.clusters, 'independent cluster')}. A dialogue’s risk is its risk after the last "
        "user turn, unless a figure says otherwise."
    )


def _banners(evaluation: Evaluation) -> Iterable[Banner]:
    if not (evaluation.counts[Truth.HARMFUL] and evaluation.counts[Truth.BENIGN]):
        yield Banner("One label only.", tables.ONE_LABEL)
    for sentence in tables.unknown_recalls(evaluation.moderators[0]):
        yield Banner("", sentence)
    for figures in evaluation.moderators:
        for truth, seen in figures.coverage.items():
            if seen.unscored or seen.degraded:
                causes = "".join(f"; {cause} × {n:,}" for cause, n in seen.degraded.items())
                missing = f"{count(seen.unscored, 'dialogue')} of {seen.dialogues:,}"
                yield Banner(
                    f"{figures.name}, {truth}:", f"{missing} without a risk, in no figure of risks{causes}."
                )


def _card(figures: ModeratorFigures, slot: int) -> Card:
    recalls = (
        (f"Recall at {rate(recall.rate)} false alarms", share(recall.estimate))
        for recall in figures.ranking.recalls
    )
    tiles = [
        ("AUROC", in_words(figures.ranking.auroc, index)),
        *recalls,
        ("False alarms, any turn", share(figures.false_alarms.per_dialogue)),
    ]
    if figures.borderline:
        tiles.append(("Alarms on borderline", share(figures.borderline_alarms.per_dialogue)))
    return Card(Name(figures.name, slot), tuple(tiles))


def _alerts(figures: ModeratorFigures) -> str:
    found = figures.alerts
    if found.turn is None or found.lead is None:
        return ""
    early = (
        f"; of those with two turns or more, {share(found.early)} before the last turn" if found.early else ""
    )
    return (
        f"{share(found.ever)} of harmful dialogues raise an alarm at the default threshold after some turn, "
        f"on average at turn {number(found.turn.value, 1)}, {number(found.lead.value, 1)} turns before the "
        f"last{early}."
    )


def _nav(evaluation: Evaluation) -> Iterable[tuple[str, str]]:
    yield from (("all", "All figures"), ("roc", "ROC"), ("turns", "Turn by turn"))
    yield from (("harmful", "Harmful"), ("benign", "Benign"))
    if evaluation.moderators[0].borderline:
        yield "borderline", "Borderline"
    yield from (("reliability", "Reliability"), ("coverage", "Coverage"))
    if evaluation.comparisons:
        yield "comparison", "Comparison"
    yield "provenance", "Provenance"


def _facts(evaluation: Evaluation, command: str) -> Iterable[Fact]:
    for file in evaluation.data.files:
        yield Fact("Data", f"{'/'.join(file.path.parts[-2:])}, {count(file.dialogues, 'dialogue')}")
        yield Fact("Its SHA-256", file.sha256, code=True)
    if lines := tables.left_out(evaluation):
        yield Fact("Left out", ", ".join(lines))
    for figures in evaluation.moderators:
        yield Fact(figures.name, f"threshold {figures.threshold:g}")
        yield Fact("Its configuration, SHA-256", figures.identity, code=True)
    yield Fact("Command", command, code=True)
