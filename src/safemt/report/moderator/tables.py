"""An evaluation of moderators on the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table

from safemt.moderation.measuring.labelled import LabelledData, Truth
from safemt.report.moderator.cells import comparison_rows, figure_rows, not_looked_at
from safemt.report.moderator.evaluation import Evaluation
from safemt.report.moderator.figures import ModeratorFigures
from safemt.report.moderator.group_tables import print_groups
from safemt.stats.comparison import Difference


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The figures of all moderators side by side, then each one's groups and turns, then comparisons."""
    _print_data(evaluation.data, console)
    _print_side_by_side(evaluation, console)
    for figures in evaluation.moderators:
        _print_counts(figures, console)
    print_groups(evaluation.moderators, console)
    _print_comparisons(evaluation, console)


def _print_data(data: LabelledData, console: Console) -> None:
    counts = ", ".join(f"{data.count(truth):,} {truth.value}" for truth in Truth)
    clusters = len({each.cluster for each in data.dialogues})
    console.print(f"Dialogues: {counts}; {clusters:,} independent clusters", highlight=False)
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (data.unlabelled, "without a label"),
            (data.without_user, "without a user message"),
            (len(data.bad_rows), "that hold no dialogue"),
        )
        if count
    ]
    if left_out:
        console.print(f"[yellow]Left out: rows {', '.join(left_out)}.[/yellow]", highlight=False)
    for problem in data.bad_rows[:3]:
        console.print(f"  {problem}", highlight=False, markup=False, soft_wrap=True)
    if not (data.count(Truth.HARMFUL) and data.count(Truth.BENIGN)):
        console.print(
            "[yellow]Only one of harmful and benign is there: no AUROC, and no recall at a rate of false "
            "alarms.[/yellow] Add --data with the other."
        )


def _print_side_by_side(evaluation: Evaluation, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for figures in evaluation.moderators:
        table.add_column(figures.name, justify="right")
    for row in figure_rows(evaluation.moderators[0]):
        if row is None:
            table.add_section()
        else:
            table.add_row(row[0], *(row[1](figures) for figures in evaluation.moderators))
    console.print(table)
    for recall in evaluation.moderators[0].ranking.recalls:
        if recall.estimate is None and recall.benign < recall.needed:
            console.print(
                f"[yellow]Recall at {100 * recall.rate:g} % cannot be told:[/yellow] it takes "
                f"{recall.needed:,} independent benign dialogues; these are worth {recall.benign:,.0f}.",
                highlight=False,
            )
    console.print(
        "In brackets 95 % intervals. AUPRC, precision, F1, calibration error and Brier score hold for this "
        f"mix alone: {100 * evaluation.moderators[0].ranking.prevalence:.0f} % harmful.",
        highlight=False,
    )
    at_end = [figures.name for figures in evaluation.moderators if not figures.every_turn]
    if at_end:
        console.print(
            f"Asked after the last turn alone: {', '.join(at_end)}. Their first alerts are known only where "
            "they say what they thought of earlier turns; --every-turn asks after each.",
            highlight=False,
        )


def _print_counts(figures: ModeratorFigures, console: Console) -> None:
    """What was not looked at, where something was not."""
    for truth, counts in figures.counts.items():
        said = not_looked_at(counts)
        if said:
            console.print(
                f"{figures.name}, {truth.value}: {'; '.join(said)}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _print_comparisons(evaluation: Evaluation, console: Console) -> None:
    if not evaluation.comparisons:
        return
    first = evaluation.moderators[0].name
    table = Table(
        title=f"Against {first}, on the dialogues that both scored",
        title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    for heading in ("moderator", "figure", "difference", "p (Holm)", "verdict"):
        table.add_column(
            heading, justify="left" if heading in ("moderator", "figure", "verdict") else "right"
        )
    for figures, comparison in zip(evaluation.moderators[1:], evaluation.comparisons, strict=True):
        for figure, difference in comparison_rows(comparison):
            table.add_row(figures.name, figure, *_difference(difference))
    console.print(table)


def _difference(difference: Difference | None) -> tuple[str, str, str]:
    if difference is None:
        return "–", "", "cannot be told"
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    p = "< 0.001" if difference.p_adjusted < 0.001 else f"{difference.p_adjusted:.3f}"
    return f"{100 * difference.value:+.1f} points ({low:+.1f} to {high:+.1f})", p, difference.verdict
