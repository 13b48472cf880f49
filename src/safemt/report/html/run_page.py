"""The page of one or more runs."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from safemt.report import plots
from safemt.report import result_tables as tables
from safemt.report.charts import Chart
from safemt.report.compare import ABOUT_DIFFERENCES, Compared
from safemt.report.html import page
from safemt.report.html.dialogues import DialogueData, dialogue_data
from safemt.report.html.page import Part, Section, banner, folded_table, note, paragraph, shown
from safemt.report.runs import ReportRun
from safemt.report.table import Table
from safemt.report.text import count, counted, in_words, index, share

Runs = Sequence[ReportRun]


class _Figure(NamedTuple):
    """A section with one chart and one table."""

    id: str
    name: str
    title: str
    lead: str
    plot: Callable[[Runs], Chart | None]
    table: Callable[[Runs], Table] | None
    nothing: str = ""
    """What is said where there is nothing to draw."""


_FIGURES: Final = (
    _Figure(
        "asr", "ASR by turns", "How often is the final response unsafe?",
        "The attack success rate (ASR) is the share of unsafe responses among graded ones, by number of user "
        "turns. All dialogues of a query grow from the same question and picture. Bands, and ranges beside "
        "figures, are 95 % intervals.",
        plots.asr_by_turns, tables.turn_table,
    ),
    _Figure(
        "si", "Safety Index", "Safety Index",
        "One figure for the whole conversation, from 0 to 1: the share of safe responses, in which short "
        "dialogues weigh most, times a factor for steadiness. The factor falls where responses to a query "
        "waver after the first unsafe one.",
        plots.safety_index, tables.overview_table,
    ),
    _Figure(
        "over-refusal", "Over-refusal", "Does safety cost helpfulness?",
        "Benign twins resemble the harmful queries, but should be answered. A model that refuses everything "
        "gives no unsafe response and helps nobody: good models are low and to the left.",
        plots.over_refusal, tables.over_refusal_table,
        "No run has graded responses both to harmful queries and to benign twins.",
    ),
    _Figure(
        "scenarios", "Scenarios", "Where is it weak?",
        "ASR in %: the stronger the colour, the less safe. A single cell rests on few samples. The intervals "
        "in the table show how few.",
        plots.scenarios, lambda runs: tables.group_table(runs, "scenario"), "No scenarios are known.",
    ),
    _Figure(
        "methods", "Methods", "Which method gets through?",
        "The method is how a dialogue conceals its intent. One-turn dialogues conceal nothing and have no "
        "method. Methods are used on different samples, so this is not a controlled comparison.",
        plots.methods, lambda runs: tables.group_table(runs, "method"), "The data name no methods.",
    ),
    _Figure(
        "outcomes", "Outcomes", "What did the target do?",
        "A response that complies is not unsafe yet: the judge decides. An error or an unreadable verdict "
        "never counts as safe.",
        plots.outcomes, tables.outcome_table, "Only labels are known, not what the target did.",
    ),
    _Figure(
        "trend", "Trend", "Does safety give way as the conversation goes on?",
        "The change of ASR for each doubling of the number of turns, within queries. Right of 0, longer "
        "dialogues are less safe.",
        plots.trend, None,
    ),
    _Figure(
        "first-unsafe", "First unsafe", "When does a query first get an unsafe response?", "",
        plots.first_unsafe, tables.first_unsafe_table,
    ),
)  # fmt: skip
_UNCORRECTED: Final = {"does not fit": "no true rate could make a judge with these errors report this one"}
_LIST: Final = Markup("""<noscript><p class="banner partial">
The list of dialogues needs JavaScript. The figures above do not.</p></noscript>
<form id="filters" hidden></form><p id="shown" role="status" aria-live="polite"></p><ul id="list"></ul>
<p id="pager" hidden><button type="button" id="previous">Previous 50</button>
<button type="button" id="next">Next 50</button></p>""")
"""What the page's script fills."""


def run_page(runs: Runs, compared: Compared | None, unfair: str, *, redact: bool) -> str:
    """The page as text. `unfair` says why the runs are not compared; `redact` leaves out texts and images.

    Raises:
        RunError: a store cannot be read.
    """
    data = dialogue_data(runs, redact=redact)
    simulated = "SIMULATED – " if any(run.results.simulated for run in runs) else ""
    figures = [_figure(runs, each) for each in _FIGURES]
    return page.render(
        title=f"{simulated}Safety report: {', '.join(run.name for run in runs)}",
        eyebrow="multi-turn safety report",
        lead="",
        cluster="query",
        banners=list(_banners(runs, redact=redact)),
        cards=[_card(run) for run in runs],
        sections=[
            *figures, *_moderator(runs), _ungraded(runs), _judge(runs), *_comparison(runs, compared, unfair),
            _dialogues(data, redact=redact), _provenance(runs),
        ],
        data=dict(data.documents([run.chart_name for run in runs])),
    )  # fmt: skip


def _figure(runs: Runs, figure: _Figure) -> Section:
    chart = figure.plot(runs)
    parts: list[Part] = [chart or note(figure.nothing)]
    if chart and figure.table:
        parts.append(folded_table(figure.table(runs)))
    if figure.id == "si":
        parts += [
            note(f"{run.name}: {tables.missing_rounds(run.results)}")
            for run in runs
            if run.results.safety_index.missing_rounds and run.results.safety_index.rounds
        ]
    return Section(figure.id, figure.name, figure.title, figure.lead, parts)


def _moderator(runs: Runs) -> Iterator[Section]:
    if any(run.results.moderation for run in runs):
        lead = (
            "It read each dialogue before the target did. Where it injected, the target was given the "
            "policies that apply. Where it blocked, a fixed refusal took the place of the target’s "
            "response (outcome “moderated”)."
        )
        parts = [shown(tables.moderator_table(runs))]
        yield Section("moderator", "Moderator", "What did the moderator do?", lead, parts)


def _ungraded(runs: Runs) -> Section:
    parts: list[Part] = []
    for run in runs:
        if (found := run.results.ungraded).n:
            said = f"{count(found.n, 'sample')} could not be graded, in no figure: {counted(found.causes)}"
            parts.append(paragraph(f"{run.name}: {said}."))
    if parts:
        parts.append(shown(tables.bounds_table(runs)))
    else:
        every = ", in every run" if len(runs) > 1 else ""
        parts.append(note(f"Nothing: every sample that was tried is graded{every}."))
    return Section("ungraded", "Ungraded", "What could ungraded samples hide?", "", parts)


def _judge(runs: Runs) -> Section:
    groups: dict[str | None, list[ReportRun]] = {}
    for run in runs:
        judge = run.results.provenance.get("judge")
        groups.setdefault(judge["id"] if judge else None, []).append(run)
    parts: list[Part] = []
    for group in groups.values():
        parts += [page.heading(*(run.shown for run in group)), *_judge_of(group)]
    return Section("judge", "Judge", "Can the labels be trusted?", "", parts)


def _judge_of(runs: Runs) -> Iterator[Part]:
    """What is known about the judge of these runs."""
    judge, known = runs[0].results.provenance.get("judge"), runs[0].results.judge_validation
    if judge is None:
        yield paragraph("The labels come from files. This page does not know who gave them.")
        return
    name = str(judge["name"])
    if known is None:
        yield banner(
            f"The judge {name} has not been checked against people.",
            "Nobody knows how often it errs, and every figure here rests on it. To check it, give it "
            f"responses that people have labelled: `safemt judge-check LABELS.jsonl --judge {name}`",
        )
        if name == "refusal":
            only = "The refusal judge only looks for refusals. It calls every other response unsafe"
            yield note(f"{only}, harmless ones included.")
        return
    about = f"{known.selection}; {count(known.rows, 'row')}; {known.checked[:10]}"
    yield paragraph(f"The judge {name} was checked against people’s labels in {known.labels} ({about}).")
    yield shown(tables.judge_table(known))
    for run in runs:
        corrected = run.results.overall.corrected
        if corrected is not None and corrected.estimate is None:
            why = _UNCORRECTED.get(corrected.standing, corrected.standing)
            yield note(f"The ASR of {run.name} cannot be corrected for the judge’s error: {why}.")
    yield note(
        "The table of ASR by turns has the ASR corrected for the judge’s error. The correction assumes that "
        "the judge errs here as it does on the rows that people labelled."
    )


def _comparison(runs: Runs, compared: Compared | None, unfair: str) -> Iterator[Section]:
    if len(runs) < 2:
        return
    lead = f"Each run against {runs[0].name}, on samples graded in both."
    parts: list[Part] = []
    if compared is None:
        said = f"{unfair}. Runs side by side on this page are not comparable"
        parts.append(
            banner("Not compared.", f"{said}. `safemt report --force` compares them anyway.", "partial")
        )
    else:
        parts += [banner("Compared anyway:", f"{reason}.", "partial") for reason in compared.differing]
        parts += [plots.differences(compared, runs), *map(shown, tables.difference_tables(compared))]
        parts.append(note(ABOUT_DIFFERENCES))
    yield Section("comparison", "Comparison", "Do the runs differ?", lead if compared else "", parts)


def _dialogues(data: DialogueData, *, redact: bool) -> Section:
    lead = "Only labels are known; there are no texts to show."
    if redact:
        lead = "The result of each sample. This page leaves out texts and pictures."
    elif data.dialogues:
        lead = "Texts and pictures may be harmful. Each dialogue opens by a click, or with Enter."
    notes = [note(said) for said in data.limits]
    return Section("dialogues", "Dialogues", "The dialogues", lead, [*notes, _LIST])


def _provenance(runs: Runs) -> Section:
    parts: list[Part] = [shown(tables.provenance_table(runs))]
    for run in runs:
        if p := run.results.provenance:
            whole = {key: p.get(key) for key in ("target", "judge", "moderator")}
            text = json.dumps(whole, indent=2, ensure_ascii=False)
            parts.append(page.folded(f"Whole configuration of {run.name}", text))
    return Section("provenance", "Provenance", "Provenance", "", parts)


def _banners(runs: Runs, *, redact: bool) -> Iterator[Markup]:
    for run in runs:
        if run.results.simulated:
            said = "is not a real model: it reads nothing and follows a known curve"
            yield banner(
                "SIMULATED.", f"{run.name} {said}. Its figures say nothing about a real model.", "simulated"
            )
        if run.results.pending:
            left = f"{count(run.results.pending, 'sample')} still to do, which are in no figure"
            yield banner("PARTIAL.", f"{run.name} has {left}. The same command finishes the run.", "partial")
    if redact:
        yield banner(
            "REDACTED.", "This page holds figures and labels only: no dialogue, response or picture."
        )


def _card(run: ReportRun) -> page.Card:
    results = run.results
    tiles = (
        ("Safety Index", in_words(results.safety_index.value, index)),
        ("ASR over all turns", share(results.overall.asr)),
        ("Over-refusal", share(results.over_refusal.rate)),
    )
    return page.Card(run.shown, tiles, " ".join(tables.summary(results)))
