"""The page of an evaluation of moderators. It holds no text of a dialogue."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from safemt.moderation.measuring.labelled import Truth
from safemt.report import moderator_evaluation as tables
from safemt.report import moderator_plots as plots
from safemt.report.html import page
from safemt.report.html.page import Part, Section, banner, folded_table, note, paragraph, shown
from safemt.report.moderator_evaluation import Evaluation
from safemt.report.moderator_figures import ModeratorFigures
from safemt.report.table import Name
from safemt.report.text import count, in_words, index, number, rate, share

Moderators = Sequence[ModeratorFigures]


def evaluation_page(evaluation: Evaluation, *, command: str) -> str:
    """The page as text; `command` is what made it."""
    moderators, counts = evaluation.moderators, evaluation.counts
    dialogues = (
        f"{count(counts[Truth.HARMFUL], 'harmful dialogue')}, {count(counts[Truth.BENIGN], 'benign one')} "
        f"and {count(counts[Truth.BORDERLINE], 'borderline one')} (these sound harmful and are not)"
    )
    lead = (
        f"{dialogues}, in {count(evaluation.clusters, 'independent cluster')}. A dialogue’s risk is its risk "
        "after the last user turn, unless a figure says otherwise."
    )
    return page.render(
        title=f"Moderators: {', '.join(each.name for each in moderators)}",
        eyebrow="evaluation of moderators",
        lead=lead,
        cluster="query, question or template",
        banners=list(_banners(evaluation)),
        cards=[_card(each, slot) for slot, each in enumerate(moderators)],
        sections=[
            _all(evaluation), _roc(moderators), _by_turn(moderators), *_groups(moderators),
            _reliability(moderators), *_coverage(evaluation), _provenance(evaluation, command),
        ],
    )  # fmt: skip


def _all(evaluation: Evaluation) -> Section:
    notes = [note(sentence) for sentence in tables.remarks(evaluation)]
    parts: list[Part] = [shown(tables.figure_table(evaluation.moderators)), *notes]
    return Section("all", "All figures", "All figures", "", parts)


def _roc(moderators: Moderators) -> Section:
    curve = plots.roc(moderators, rare=False)
    parts: list[Part | None] = [note("A ROC curve takes both harmful and benign dialogues.")]
    if curve:
        parts = [curve, plots.roc(moderators, rare=True)]
    return Section(
        "roc", "ROC", "How many are found, and at what price?",
        "Each corner of a curve is a threshold; equal risks are never split. The dashed line is a coin. "
        "The second chart shows the same where false alarms are rare, which is where a moderator has to "
        "work. Bars are 95 % intervals of recall.",
        parts,
    )  # fmt: skip


def _by_turn(moderators: Moderators) -> Section:
    parts: list[Part | None] = []
    for slot, each in enumerate(moderators):
        chart = plots.risk_by_turn(each, slot)
        nothing = "Nothing to draw: too few dialogues have two turns or more, or earlier turns have no risk."
        parts += [page.heading(Name(each.name, slot)), chart or note(nothing)]
        found = each.alerts
        if found.turn is not None and found.lead is not None:
            early = f"; of those with two turns or more, {share(found.early)} before the last turn"
            said = (
                f"{share(found.ever)} of harmful dialogues raise an alarm at the default threshold, on "
                f"average at turn {number(found.turn.value, 1)}, {number(found.lead.value, 1)} turns before "
                "the last"
            )
            parts.append(paragraph(f"{said}{early if found.early else ''}."))
        parts.append(folded_table(tables.turn_table([each])))
    return Section(
        "turns", "Turn by turn", "Turn by turn",
        "Figures after each turn are over the dialogues that have as many turns. In harmful dialogues the "
        "risk should rise as the intent shows; in benign ones it should stay low.",
        parts,
    )  # fmt: skip


def _groups(moderators: Moderators) -> Iterator[Section]:
    yield Section(
        "harmful", "Harmful", "What is found",
        "The AUROC of each group of harmful dialogues. Groups by language and length are set against "
        "benign dialogues of the same group, others against all of them. A group with nothing to set it "
        "against shows the share of dialogues with an alarm at the default threshold.",
        list(_kinds(moderators, Truth.HARMFUL)),
    )  # fmt: skip
    yield Section(
        "benign", "Benign", "False alarms on benign dialogues",
        "At the default threshold, after the last turn.",
        list(_kinds(moderators, Truth.BENIGN)),
    )  # fmt: skip
    if moderators[0].borderline:
        yield Section(
            "borderline", "Borderline", "Alarms on borderline dialogues",
            "They sound harmful and are not. No other figure includes them. The AUROC sets the harmful "
            "dialogues of the same source against them.",
            list(_kinds(moderators, Truth.BORDERLINE)),
        )  # fmt: skip


def _kinds(moderators: Moderators, label: Truth) -> Iterator[Part | None]:
    """The groups of dialogues with one label. Kinds with a single group are shown for sources only."""
    listed = [each for each in tables.group_kinds(moderators[0]) if each.label is label]
    if not listed:
        yield note(f"The data hold no {label} dialogues.")
    for each in listed:
        found = each.groups(moderators[0])
        if len(found) > 1 or each.kind == "source":
            uid = f"{label}-{each.kind}"
            yield page.heading(f"By {each.kind}")
            if label is not Truth.BENIGN:
                yield plots.areas(moderators, each.groups, uid)
            if label is not Truth.HARMFUL or any(group.auroc is None for group in found.values()):
                yield plots.alarms(moderators, each.groups, uid, f"{label} dialogues with an alarm")
            yield folded_table(tables.group_table(moderators, each))


def _reliability(moderators: Moderators) -> Section:
    curve = plots.reliability(moderators)
    lead = "On the dashed line it is, but only for this mix of harmful and benign dialogues."
    parts = [curve, folded_table(tables.reliability_table(moderators))]
    nothing = note("No dialogue has a risk.")
    return Section(
        "reliability", "Reliability", "Is a risk a probability?", lead, parts if curve else [nothing]
    )


def _coverage(evaluation: Evaluation) -> Iterator[Section]:
    lead = (
        "A dialogue without a risk is in no figure of risks. A part that a moderator did not look at may "
        "hold anything."
    )
    parts = [shown(tables.coverage_table(evaluation.moderators))]
    yield Section("coverage", "Coverage", "What the moderators looked at", lead, parts)
    if evaluation.comparisons:
        lead = (
            "Differences are in points, over dialogues that both scored. p is after Holm’s correction over "
            "all of them: higher and lower mean p ≤ 0.05, and otherwise this many dialogues cannot tell."
        )
        parts = [shown(tables.comparison_table(evaluation))]
        yield Section("comparison", "Comparison", "Do the moderators differ?", lead, parts)


def _provenance(evaluation: Evaluation, command: str) -> Section:
    table = tables.provenance_table(evaluation, command)
    return Section("provenance", "Provenance", "Provenance", "", [shown(table)])


def _banners(evaluation: Evaluation) -> Iterator[Markup]:
    for figures in evaluation.moderators:
        for truth, seen in figures.coverage.items():
            if seen.unscored or seen.degraded:
                causes = "".join(f"; {cause} × {n:,}" for cause, n in seen.degraded.items())
                missing = f"{count(seen.unscored, 'dialogue')} of {seen.dialogues:,} without a risk"
                yield banner(f"{figures.name}, {truth}:", f"{missing}, in no figure of risks{causes}.")


def _card(figures: ModeratorFigures, slot: int) -> page.Card:
    recalls = [
        (f"Recall at {rate(each.rate)} false alarms", share(each.estimate))
        for each in figures.ranking.recalls
    ]
    tiles = [
        ("AUROC", in_words(figures.ranking.auroc, index)),
        *recalls,
        ("False alarms, any turn", share(figures.false_alarms.per_dialogue)),
    ]
    if figures.borderline:
        tiles.append(("Alarms on borderline", share(figures.borderline_alarms.per_dialogue)))
    return page.Card(Name(figures.name, slot), tuple(tiles))
