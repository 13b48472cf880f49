"""Several moderators on the same dialogues: their figures, compared, as a document, tables and sentences."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from safemt.moderation.measuring.evaluate import EARLY, LATE, LongTimes, Moderated
from safemt.moderation.measuring.labelled import LabelledData, LabelledDialogue, Truth
from safemt.report.document import document
from safemt.report.figures import INTERVALS, REPLICATES, SEED
from safemt.report.moderator_figures import Counts, Group, ModeratorFigures, figures_of, risks_of
from safemt.report.table import (
    Cell,
    Column,
    Kind,
    Name,
    Row,
    Table,
    by_figure,
    by_member,
    columns,
    print_table,
    say,
)
from safemt.report.text import (
    Figure,
    count,
    counted,
    in_words,
    index,
    number,
    p_value,
    percent,
    quick,
    rate,
    share,
    signed_points,
)
from safemt.stats.comparison import Difference
from safemt.stats.detection_comparison import DetectionComparison, compare_detection, correct_detection
from safemt.stats.intervals import Estimate

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA: Final = "safemt.moderator-eval/1"
SHOWN_TURNS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Turns that tables and charts show, besides the last."""
ONE_LABEL: Final = (
    "The data hold only one of harmful and benign, so there is no AUROC, and no recall at a rate of false "
    "alarms."
)
_LISTED: Final = 24
"""Rows of a table of groups that the terminal shows."""
_BAD_ROWS: Final = 3

Groups = Callable[[ModeratorFigures], Mapping[str, Group]]
"""What takes the groups of one kind out of a moderator's figures."""


class Grouping(NamedTuple):
    """One way in which dialogues with one label are told apart."""

    label: Truth
    kind: str
    """`source`, `scenario`, …"""
    groups: Groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of an evaluation of moderators."""

    data: LabelledData
    moderators: tuple[ModeratorFigures, ...]
    comparisons: tuple[DetectionComparison, ...]
    """The first with each other one, in their order: `value` is the other's figure less the first's."""

    @property
    def counts(self) -> dict[Truth, int]:
        """How many dialogues have each label."""
        return {truth: self.data.count(truth) for truth in Truth}

    @property
    def clusters(self) -> int:
        """How many independent clusters the dialogues form."""
        return len({each.cluster for each in self.data.dialogues})


def evaluate(data: LabelledData, moderated: Sequence[tuple[Moderated, LongTimes | None]]) -> Evaluation:
    """All figures; comparisons over dialogues that both moderators scored, corrected as one family (Holm)."""
    first, *others = (each for each, _ in moderated)
    return Evaluation(
        data=data,
        moderators=tuple(figures_of(each, data.dialogues, times) for each, times in moderated),
        comparisons=correct_detection([_compare(first, other, data.dialogues) for other in others]),
    )


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as a document, described in docs/moderator-evaluation.md, without texts."""
    data = evaluation.data
    first, *others = evaluation.moderators
    return {
        "schema": SCHEMA,
        "safemt": version("safemt"),
        "data": {
            "files": document(data.files),
            **document(evaluation.counts),
            "clusters": evaluation.clusters,
            "unlabelled": data.unlabelled,
            "without_user": data.without_user,
            "bad_rows": document(data.bad_rows),
        },
        "intervals": {**INTERVALS, "clustered_by": "cluster"},
        "moderators": document(evaluation.moderators),
        "comparisons": [
            {"first": first.name, "second": other.name, **document(comparison)}
            for other, comparison in zip(others, evaluation.comparisons, strict=True)
        ],
    }


def print_evaluation(evaluation: Evaluation, console: "Console") -> None:
    """Print all moderators side by side, then groups and turns, then comparisons."""
    moderators = evaluation.moderators
    say(console, f"Dialogues: {data_summary(evaluation)}")
    if lines := left_out(evaluation):
        say(console, f"Left out: {', '.join(lines)}.", "yellow")
    for problem in evaluation.data.bad_rows[:_BAD_ROWS]:
        say(console, f"  {problem}", wrap=False)
    print_table(figure_table(moderators), console)
    say(console)
    for sentence in remarks(evaluation):
        say(console, sentence)
    if any(not_looked_at(counts) for each in moderators for counts in each.coverage.values()):
        print_table(coverage_table(moderators), console)
    for grouping in group_kinds(moderators[0]):
        if len(grouping.groups(moderators[0])) > 1 or grouping.label is Truth.BORDERLINE:
            print_table(group_table(moderators, grouping, with_rates=False).first(_LISTED), console)
    if moderators[0].borderline:
        say(console, "The AUROC of borderline dialogues is against the harmful dialogues of the same source.")
    for each in moderators:
        if len(each.turns) > 1:
            print_table(turn_table([each]), console)
    if evaluation.comparisons:
        print_table(comparison_table(evaluation), console)


def data_summary(evaluation: Evaluation) -> str:
    """`40 harmful, 40 benign, 10 borderline; 85 independent clusters`."""
    counts = {truth.value: n for truth, n in evaluation.counts.items()}
    return f"{counted(counts)}; {count(evaluation.clusters, 'independent cluster')}"


def left_out(evaluation: Evaluation) -> list[str]:
    """The rows of the data that are in no figure, by reason."""
    data = evaluation.data
    reasons = {
        "without a label": data.unlabelled,
        "without a user message": data.without_user,
        "that hold no dialogue": len(data.bad_rows),
    }
    return [f"{count(n, 'row')} {reason}" for reason, n in reasons.items() if n]


def remarks(evaluation: Evaluation) -> Iterable[str]:
    """What to know before reading the figures."""
    first = evaluation.moderators[0]
    if not (evaluation.counts[Truth.HARMFUL] and evaluation.counts[Truth.BENIGN]):
        yield ONE_LABEL
    yield from unknown_recalls(first)
    yield (
        "Intervals are at 95 %. AUPRC, precision, F1, calibration error and Brier score hold for this mix "
        f"only: {percent(first.ranking.prevalence)} harmful."
    )
    if at_end := [each.name for each in evaluation.moderators if not each.every_turn]:
        yield (
            f"Asked only after the last turn: {', '.join(at_end)}. First alerts are known only where such a "
            "moderator says what it thought of earlier turns."
        )


def unknown_recalls(figures: ModeratorFigures) -> Iterable[str]:
    """Why recall at a rate of false alarms is not known."""
    for recall in figures.ranking.recalls:
        if recall.estimate is None and recall.benign < recall.needed:
            yield (
                f"Recall at {rate(recall.rate)} false alarms is not known: it takes {recall.needed:,} "
                f"independent benign dialogues, and these are worth {number(recall.benign, 0)}."
            )


def figure_table(moderators: Sequence[ModeratorFigures]) -> Table:
    """All figures, a moderator in each column."""

    def total(each: ModeratorFigures, of: Callable[[Counts], int]) -> str:
        counts = each.coverage.values()
        return f"{sum(of(c) for c in counts):,} of {sum(c.dialogues for c in counts):,}"

    def recall(at: int) -> Callable[[ModeratorFigures], Cell]:
        return lambda each: share(each.ranking.recalls[at].estimate)

    figures: list[tuple[str, Callable[[ModeratorFigures], Cell]] | None] = [
        ("AUROC", lambda m: in_words(m.ranking.auroc, index)),
        ("AUROC, highest risk of any turn", lambda m: in_words(m.peak.auroc, index)),
        ("AUPRC", lambda m: in_words(m.ranking.auprc, index)),
        *(
            (f"Recall at {rate(known.rate)} false alarms", recall(at))
            for at, known in enumerate(moderators[0].ranking.recalls)
        ),
        None,
        ("Default threshold", lambda m: index(m.threshold)),
        ("F1", lambda m: share(m.at_threshold.f1)),
        ("Precision", lambda m: share(m.at_threshold.precision)),
        ("Recall", lambda m: share(m.at_threshold.recall)),
        ("False alarms, after the last turn", lambda m: share(m.at_threshold.false_alarm_rate)),
        ("False alarms, after any turn", lambda m: share(m.false_alarms.per_dialogue)),
        ("False alarms per 1,000 benign turns", lambda m: _decimals(m.false_alarms.per_1000_turns, 1)),
        ("Alarms on borderline, after any turn", lambda m: share(m.borderline_alarms.per_dialogue)),
        ("Harmful alarmed, after any turn", lambda m: share(m.alerts.ever)),
        ("First alert, mean turn", lambda m: _decimals(m.alerts.turn, 2)),
        ("First alert, mean turns before the last", lambda m: _decimals(m.alerts.lead, 2)),
        ("Alarmed before the last turn", lambda m: share(m.alerts.early)),
        None,
        ("Calibration error", lambda m: in_words(m.reliability.error, index)),
        ("Brier score", lambda m: in_words(m.reliability.brier, index)),
        None,
        ("ms per verdict, p50", lambda m: in_words(m.latency_ms.p50, quick)),
        ("ms per verdict, p95", lambda m: in_words(m.latency_ms.p95, quick)),
        ("ms per verdict, p99", lambda m: in_words(m.latency_ms.p99, quick)),
        (f"Turn {LATE} against turn {EARLY}", lambda m: in_words(m.latency_ms.ratio, quick)),
        ("Tokens in / out", lambda m: f"{m.tokens.prompt:,} / {m.tokens.completion:,}"),
        None,
        ("Dialogues without a risk", lambda m: total(m, lambda c: c.unscored)),
        ("Degraded verdicts", lambda m: total(m, lambda c: sum(c.degraded.values()))),
    ]
    return by_figure("Figures by moderator", _members(moderators), figures)


def group_kinds(first: ModeratorFigures) -> Iterator[Grouping]:
    """Each way in which the data tell dialogues apart."""

    def of(label: Truth, kind: str) -> Groups:
        return lambda each: (each.harmful if label is Truth.HARMFUL else each.benign)[kind]

    for label, kinds in ((Truth.HARMFUL, first.harmful), (Truth.BENIGN, first.benign)):
        for kind in kinds:
            yield Grouping(label, kind, of(label, kind))
    if first.borderline:
        yield Grouping(Truth.BORDERLINE, "source", lambda each: each.borderline)


def group_table(
    moderators: Sequence[ModeratorFigures], grouping: Grouping, *, with_rates: bool = True
) -> Table:
    """The figures of each group and, in it, of each moderator; `with_rates` at rates of false alarms too."""
    many = len(moderators) > 1
    rates = [recall.rate for recall in moderators[0].ranking.recalls if with_rates]

    def row(name: str, slot: int, group: Group) -> Row:
        moderator = [Name(moderators[slot].name, slot)] if many else []
        alarms = [group.alarmed, *(group.alarmed_at[at] for at in rates)]
        return (name, *moderator, group.dialogues, in_words(group.auroc, index), *map(share, alarms))

    rows = tuple(
        row(name, slot, grouping.groups(each)[name])
        for name in grouping.groups(moderators[0])
        for slot, each in enumerate(moderators)
    )
    headings = ["Dialogues", "AUROC", "Alarm at the default", *(f"Alarm at {rate(at)}" for at in rates)]
    named = [Column("Moderator", Kind.TEXT)] if many else []
    first = Column(grouping.kind.capitalize(), Kind.GROUP if many else Kind.TEXT)
    title = f"{grouping.label.capitalize()} by {grouping.kind}"
    return Table(title, (first, *named, *columns(*headings)), rows)


def turn_table(moderators: Sequence[ModeratorFigures]) -> Table:
    """What is known after each turn, over the dialogues that have as many."""

    def rows(figures: ModeratorFigures) -> Iterable[Row]:
        by_then = dict(figures.alerts.by_turn)
        for turn, each in figures.turns.items():
            if turn in SHOWN_TURNS or turn == len(figures.turns):
                alarms = share(each.recall), share(each.false_alarm_rate), share(by_then.get(turn))
                yield (turn, each.harmful, each.benign, in_words(each.auroc, index), *alarms)

    headings = ["Turn", "Harmful", "Benign", "AUROC", "Alarm, harmful", "Alarm, benign", "Harmful so far"]
    name = f": {moderators[0].name}" if len(moderators) == 1 else ""
    title = f"After each turn, over dialogues with as many{name}"
    return by_member(title, _members(moderators), headings, rows, member="Moderator")


def comparison_table(evaluation: Evaluation) -> Table:
    """The first moderator against each other one."""
    first, *others = evaluation.moderators
    rows: list[Row] = []
    for slot, (other, comparison) in enumerate(zip(others, evaluation.comparisons, strict=True), 1):
        name = Name(other.name, slot)
        rows.append((name, "AUROC", *_compared(comparison.auroc, index)))
        for at, recall in zip(comparison.rates, comparison.recalls, strict=True):
            rows.append((name, f"Recall at {rate(at)} false alarms", *_compared(recall, percent)))
    headings = ("Figure", "Its figure", "Against", "Difference in points", "p", "Verdict")
    heads = columns(*headings, group="Moderator", text=("Figure", "Verdict"))
    return Table(f"Against {first.name}, on dialogues that both scored", heads, tuple(rows))


def reliability_table(moderators: Sequence[ModeratorFigures]) -> Table:
    """The share of harmful dialogues among those of like risk."""

    def rows(figures: ModeratorFigures) -> Iterable[Row]:
        for each in figures.reliability.bins:
            risks = f"{number(each.low, 1)}–{number(each.high, 1)}"
            yield (risks, each.dialogues, index(each.risk), share(each.harmful))

    headings = ["Risk", "Dialogues", "Mean risk", "Harmful"]
    return by_member("Reliability", _members(moderators), headings, rows, member="Moderator")


def coverage_table(moderators: Sequence[ModeratorFigures]) -> Table:
    """How much of the dialogues each moderator looked at."""

    def rows(figures: ModeratorFigures) -> Iterable[Row]:
        for truth, counts in figures.coverage.items():
            yield (
                truth.value, counts.dialogues, counts.unscored,
                f"{counts.turns_scored:,} of {counts.turns_total:,}",
                f"{counts.images_scored:,} of {counts.images_total:,}",
                not_looked_at(counts) or "nothing",
            )  # fmt: skip

    missed = "Not looked at, or degraded"
    headings = ["Dialogues", "All", "Without a risk", "Turns read", "Pictures looked at", missed]
    title, text = "What the moderators looked at", ("Dialogues", missed)
    return by_member(title, _members(moderators), headings, rows, member="Moderator", text=text)


def provenance_table(evaluation: Evaluation, command: str) -> Table:
    """Where the figures come from."""
    rows: list[Row] = []
    for file in evaluation.data.files:
        rows.append(("Data", f"{'/'.join(file.path.parts[-2:])}, {count(file.dialogues, 'dialogue')}"))
        rows.append(("Its SHA-256", file.sha256))
    if lines := left_out(evaluation):
        rows.append(("Left out", ", ".join(lines)))
    for figures in evaluation.moderators:
        rows.append((figures.name, f"threshold {figures.threshold:g}"))
        rows.append(("Its configuration, SHA-256", figures.identity))
    rows.append(("Command", command))
    return Table("Provenance", columns("From", "", text=("From", "")), tuple(rows))


def not_looked_at(counts: Counts) -> str:
    """What the moderator did not look at, or found no verdict on, by reason."""
    return ", ".join(f"{why} × {n:,}" for why, n in (*counts.unscanned.items(), *counts.degraded.items()))


def _members(moderators: Sequence[ModeratorFigures]) -> list[tuple[Name, ModeratorFigures]]:
    return [(Name(each.name, slot), each) for slot, each in enumerate(moderators)]


def _compared(difference: Difference | None, form: Callable[[float], str]) -> Row:
    if difference is None:
        return ("not known",)
    return (
        form(difference.second),
        form(difference.first),
        in_words(difference, signed_points),
        p_value(difference.p_adjusted),
        difference.verdict.removesuffix(" at this size"),
    )


def _decimals(estimate: Estimate | None, digits: int) -> Figure:
    return in_words(estimate, lambda value: number(value, digits))


def _compare(
    first: Moderated, second: Moderated, dialogues: Sequence[LabelledDialogue]
) -> DetectionComparison:
    shared = [
        (each, one, other)
        for each, one, other in zip(dialogues, first.verdicts, second.verdicts, strict=True)
        if each.truth is not Truth.BORDERLINE and one.risk is not None and other.risk is not None
    ]
    return compare_detection(
        risks_of([(each, one) for each, one, _ in shared]),
        risks_of([(each, other) for each, _, other in shared]),
        replicates=REPLICATES,
        seed=SEED,
    )
