"""The results of runs as tables and sentences: what terminal, Markdown and pages show alike."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from safemt.endpoints.spend import dollars
from safemt.judges.validation import Validation
from safemt.report import text
from safemt.report.compare import ABOUT_DIFFERENCES, Compared, difference_table
from safemt.report.figures import Asr, OverRefusalRate, Results
from safemt.report.protection import Protection, settings
from safemt.report.runs import ReportRun
from safemt.report.table import (
    Cell,
    Name,
    Row,
    Table,
    by_figure,
    by_member,
    columns,
    markdown_table,
    markdown_text,
    print_table,
    say,
)
from safemt.report.text import Figure, count, counted, in_words, percent, share
from safemt.stats.agreement import agreement
from safemt.stats.trend import Bound

if TYPE_CHECKING:
    from rich.console import Console

_DIRECTIONS: Final = {"rises": "More turns make it less safe", "falls": "More turns make it safer"}


def print_results(results: Results, console: "Console", *, compat: bool = False) -> None:
    """Print the figures of one run; with `compat` those of the published computation alone."""
    run = ReportRun(results.target, results)
    say(console)
    say(console, str(run.shown), "bold")
    if results.pending:
        say(console, f"{count(results.pending, 'sample')} still to do: these figures are partial.", "yellow")
    if compat:
        for table in (turn_table([run], certain=True), *_group_tables([run], certain=True)):
            print_table(table, console)
        say(console)
        index = text.number(results.safety_index.compat, 4)
        say(console, f"Safety Index {index}{_simulated([run])}, as published", "bold")
    else:
        say(console, " ".join(summary(results)))
        _print_tables([*_tables([run]), *_group_tables([run])], console)
        for sentence in remarks(results):
            say(console, sentence)


def print_comparison(compared: Compared, console: "Console") -> None:
    """Print the figures of runs, then each run's differences from the first."""
    for reason in compared.differing:
        say(console, f"Compared although {reason}.", "yellow")
    named = zip(compared.names, compared.results, strict=True)
    runs = [ReportRun(name, results, slot) for slot, (name, results) in enumerate(named)]
    _print_tables([*_tables(runs), *difference_tables(compared)], console)
    for name, comparison in zip(compared.names[1:], compared.comparisons, strict=True):
        if any(comparison.unpaired):
            one, other = comparison.unpaired
            left_out = f"{one:,} samples of {compared.names[0]} and {other:,} of {name}"
            say(console, f"Left out, because only one of two runs graded them: {left_out}.")
    say(console, ABOUT_DIFFERENCES)


def markdown(runs: Sequence[ReportRun], compared: Compared | None, unfair: str) -> str:
    """The report as Markdown; `unfair` says why there is no comparison."""
    parts = ["# Safety report\n\n"]
    for run in runs:
        sentences = " ".join([*summary(run.results), *remarks(run.results)])
        parts.append(f"**{markdown_text(str(run.shown))}**: {markdown_text(sentences)}\n\n")
    differences = difference_tables(compared) if compared else []
    parts += map(markdown_table, [*_tables(runs), *_group_tables(runs), *differences])
    if unfair:
        parts.append(f"Not compared: {markdown_text(unfair)}.\n\n")
    parts.append(markdown_table(provenance_table(runs)))
    return "".join(parts).rstrip() + "\n"


def summary(results: Results) -> list[str]:
    """What turns do to the safety of a run, and what that rests on, in a few sentences."""
    graded = [(k, each.asr) for k, each in results.turns.items() if each.asr is not None]
    if not graded:
        return ["Nothing is graded yet, so there is no attack success rate and no Safety Index."]
    (first, asr), (last, asr_of_last) = graded[0], graded[-1]
    said = f"The final response was unsafe in {share(asr)} of {first}-turn dialogues"
    if last != first:
        said += f" and in {share(asr_of_last)} of {last}-turn dialogues"
    sentences = [f"{said}."]
    if (slope := results.trend.slope) is not None:
        unclear = "There are too few samples to tell whether more turns change that"
        found = _DIRECTIONS.get(results.trend.direction, unclear)
        sentences.append(f"{found}: {in_words(slope, text.signed_points)} points per doubling of turns.")
    if results.moderation is not None:
        name = text.visible(str(results.provenance["moderator"]["name"]))
        harmful = results.moderation.harmful
        sentences.append(f"The moderator {name} read {count(harmful.n, 'harmful sample')} first: {harmful}.")
    sentences.append(
        f"{count(results.overall.graded, 'harmful sample')} graded, {results.ungraded.n:,} ungraded."
    )
    if (judge := results.provenance.get("judge")) is None:
        return [*sentences, "The labels come from files."]
    checked = "was checked" if results.judge_validation else "has not been checked"
    return [*sentences, f"The judge, {text.visible(str(judge['name']))}, {checked} against people."]


def remarks(results: Results) -> Iterator[str]:
    """What else to know before believing the figures."""
    if results.ungraded.n:
        again = " Continuing the run tries them again." if results.provenance else ""
        yield f"Ungraded, in no figure: {counted(results.ungraded.causes)}.{again}"
    if results.safety_index.missing_rounds and results.safety_index.rounds:
        yield missing_rounds(results)
    if (m := results.moderation) is not None and m.degraded.n:
        yield f"Degraded verdicts: {counted(m.degraded.causes)}."
    for other in results.other_judges:
        same = f"{share(other.agreement)} of {count(other.shared, 'response')}"
        yield f"Judge {other.name}: ASR {share(other.asr)}; same label on {same}."
    if (validation := results.judge_validation) is not None:
        known = agreement(validation.confusion)
        yield (
            f"This judge against people ({validation.labels}): it finds {share(known.sensitivity)} of unsafe "
            f"responses and passes {share(known.specificity)} of safe ones."
        )
    if (powered := results.prediction_powered) is not None:
        yield (
            f"By people’s standard, from {count(powered.labelled, 'label')} of theirs and the judge’s on the "
            f"rest: ASR {share(powered.estimate)}."
        )


def missing_rounds(results: Results) -> str:
    """What the Safety Index does where published numbers of turns have no graded sample."""
    missing = ", ".join(map(str, results.safety_index.missing_rounds))
    return (
        f"No graded sample at {missing} turns: the other rounds take over their weight in the Safety Index. "
        "The published computation counts them as perfectly safe."
    )


def turn_table(runs: Sequence[ReportRun], *, certain: bool = False) -> Table:
    """ASR by number of turns; `certain` leaves out what the published computation knows nothing of."""
    corrected = not certain and any(run.results.overall.corrected for run in runs)

    def row(turns: Cell, asr: Asr) -> Row:
        more = [_corrected(asr)] if corrected else []
        return (turns, _asr(asr, certain=certain), *more, asr.unsafe, asr.safe, asr.ungraded)

    def rows(results: Results) -> Iterator[Row]:
        for k, asr in results.turns.items():
            yield row(k, asr)
        if not certain and len(results.turns) > 1:
            yield row("all", results.overall)

    asr = "ASR" if certain else "ASR, 95 % interval"
    headings = ["Turns", asr, *(["Corrected"] if corrected else []), "Unsafe", "Safe", "Ungraded"]
    return by_member(
        f"ASR by turns{_simulated(runs)}", _members(runs), headings, rows, nothing="nothing tried yet"
    )


def group_table(runs: Sequence[ReportRun], kind: str, *, certain: bool = False) -> Table:
    """ASR by scenario or method, whichever `kind` names, and by number of turns."""
    rounds = sorted({k for run in runs for k in run.results.turns})
    ungraded = any(run.results.ungraded.n for run in runs)

    def rows(results: Results) -> Iterator[Row]:
        groups = results.scenarios if kind == "scenario" else results.methods
        for name, group in groups.items():
            found = [group.turns.get(k) for k in rounds]
            cells = [text.points(each.asr.value) if each and each.asr else None for each in found]
            more = [group.ungraded] if ungraded else []
            yield (name, *cells, _asr(group, certain=certain), *more)

    whole = "All" if certain else "All, 95 % interval"
    headings = [kind.capitalize(), *map(str, rounds), whole, *(["Ungraded"] if ungraded else [])]
    title = f"ASR in % by {kind} and turns{_simulated(runs)}"
    return by_member(title, _members(runs), headings, rows, text=headings[:1])


def overview_table(runs: Sequence[ReportRun]) -> Table:
    """The main figures, a run in each column."""
    rows: list[tuple[str, Callable[[Results], Cell]]] = [
        ("Safety Index", lambda r: in_words(r.safety_index.value, text.index)),
        ("Safety Index, as published", lambda r: text.number(r.safety_index.compat, 4)),
        ("ASR, all turns", lambda r: share(r.overall.asr)),
        ("Over-refusal", lambda r: share(r.over_refusal.rate)),
        ("Points per doubling of turns", lambda r: in_words(r.trend.slope, text.signed_points)),
        ("Trend of ASR", lambda r: r.trend.direction.removesuffix(" at this size")),
        ("Samples ungraded", lambda r: r.ungraded.n),
        ("Samples still to do", lambda r: r.pending),
        ("Judge", lambda r: str(r.provenance["judge"]["name"]) if r.provenance else None),
    ]
    return by_figure(f"Overall, with 95 % intervals{_simulated(runs)}", _members(runs), rows)


def over_refusal_table(runs: Sequence[ReportRun]) -> Table:
    """How often benign twins were turned away, by number of turns."""

    def rows(results: Results) -> Iterator[Row]:
        found = results.over_refusal
        listed: list[tuple[Cell, OverRefusalRate]] = [*found.turns.items()]
        for turns, each in (*listed, *([("all", found)] if listed else [])):
            yield (turns, share(each.rate), each.n, each.denied, each.errors)

    headings = ["Turns", "Turned away, 95 % interval", "Answered or denied", "Denied", "Errors"]
    title, nothing = f"Over-refusal on benign twins{_simulated(runs)}", "no benign twin answered"
    return by_member(title, _members(runs), headings, rows, nothing=nothing)


def outcome_table(runs: Sequence[ReportRun]) -> Table:
    """What the target did with harmful samples; empty where only labels are known."""

    def many(outcome: str) -> Callable[[Results], Cell]:
        return lambda results: results.outcomes.get(outcome, 0)

    names = list(dict.fromkeys(name for run in runs for name in run.results.outcomes))
    return by_figure(
        f"Outcomes of harmful samples{_simulated(runs)}",
        _members(runs),
        [(name.capitalize(), many(name)) for name in names],
    )


def first_unsafe_table(runs: Sequence[ReportRun]) -> Table:
    """At how many turns queries first get an unsafe response."""

    def first_at(k: int) -> Callable[[Results], Cell]:
        def cell(results: Results) -> Cell:
            found = results.first_unsafe
            return share(dict(zip(found.rounds, found.by_round, strict=True)).get(k))

        return cell

    rounds = sorted({k for run in runs for k in run.results.first_unsafe.rounds})
    rows = [
        *((f"First at {count(k, 'turn')}", first_at(k)) for k in rounds),
        ("Never", lambda r: share(r.first_unsafe.never)),
        ("Queries", lambda r: r.first_unsafe.queries),
    ]
    return by_figure(
        f"Share of queries by their first unsafe response{_simulated(runs)}", _members(runs), rows
    )


def bounds_table(runs: Sequence[ReportRun]) -> Table:
    """Each figure if all ungraded samples were safe, and if all were unsafe, for runs that have some."""

    def row(figure: str, ungraded: Cell, bound: Bound | None, form: Callable[[float], str] = percent) -> Row:
        return (figure, ungraded, *([form(bound.if_safe), form(bound.if_unsafe)] if bound else [None, None]))

    def rows(results: Results) -> Iterator[Row]:
        if results.ungraded.n:
            for k, asr in results.turns.items():
                yield row(f"ASR at {count(k, 'turn')}", asr.ungraded, asr.if_ungraded)
            yield row("ASR, all turns", results.overall.ungraded, results.overall.if_ungraded)
            yield row("Safety Index", "", results.safety_index.if_ungraded, text.index)

    headings = ["Figure", "Ungraded", "All safe", "All unsafe"]
    title = f"If every ungraded sample were safe, and if every one were unsafe{_simulated(runs)}"
    return by_member(title, _members(runs), headings, rows, text=headings[:1])


def judge_table(validation: Validation) -> Table:
    """How well the judge agrees with people."""
    known = agreement(validation.confusion)
    rows: tuple[Row, ...] = (
        ("Sensitivity", share(known.sensitivity), "unsafe responses that it calls unsafe"),
        ("Specificity", share(known.specificity), "safe responses that it calls safe"),
        ("Cohen’s κ", in_words(known.kappa, text.index), "agreement beyond chance; 1 is perfect"),
        ("Readable", share(known.readable), "responses that it gave a readable verdict on"),
    )
    headings = ("Figure", "Value, 95 % interval", "Meaning")
    return Table("The judge against people", columns(*headings, text=("Figure", "Meaning")), rows)


def moderator_table(runs: Sequence[ReportRun]) -> Table:
    """What moderators did, what they looked at, and the price of protection; empty without a moderator."""

    def said(say: Callable[[Protection], str]) -> Callable[[Results], Cell]:
        return lambda results: say(results.moderation) if results.moderation else None

    rows = [
        ("Moderator", lambda r: str(r.provenance["moderator"]["name"]) if r.moderation else "none"),
        ("Settings", lambda r: settings(r.provenance["moderator"]) if r.moderation else None),
        ("Harmful samples", said(lambda m: f"{m.harmful.n:,}: {m.harmful}")),
        ("Benign twins", said(lambda m: f"{m.twins.n:,}: {m.twins}")),
        ("Looked at", said(lambda m: str(m.coverage))),
        ("Degraded verdicts", said(lambda m: counted(m.degraded.causes) or "none")),
        ("Its cost", said(lambda m: m.cost)),
        ("Target’s tokens", _target_tokens),
        ("Cost of both", _dollars),
    ]
    return by_figure(
        f"Moderator{_simulated(runs)}",
        _members(runs),
        rows if any(run.results.moderation for run in runs) else [],
    )


def provenance_table(runs: Sequence[ReportRun]) -> Table:
    """Where the figures come from."""
    rows = [(run.shown, term, said) for run in runs for term, said in run.provenance()]
    many = len(runs) > 1
    heads = columns("From", "", group="Run" if many else "", text=("From", ""))
    return Table("Provenance", heads, tuple(row if many else row[1:] for row in rows))


def _tables(runs: Sequence[ReportRun]) -> list[Table]:
    """The tables of any report of runs, but for those by scenario and method."""
    return [
        overview_table(runs),
        turn_table(runs),
        outcome_table(runs),
        over_refusal_table(runs),
        moderator_table(runs),
        bounds_table(runs),
    ]


def _group_tables(runs: Sequence[ReportRun], *, certain: bool = False) -> list[Table]:
    return [group_table(runs, kind, certain=certain) for kind in ("scenario", "method")]


def difference_tables(compared: Compared) -> list[Table]:
    """The differences of each run from the first."""
    runs = [ReportRun(*named) for named in zip(compared.names, compared.results, strict=True)]
    first, *others = (str(run.shown) for run in runs)
    return [
        difference_table(other, first, comparison)
        for other, comparison in zip(others, compared.comparisons, strict=True)
    ]


def _print_tables(tables: Iterable[Table], console: "Console") -> None:
    for table in tables:
        print_table(table, console)
    say(console)


def _members(runs: Sequence[ReportRun]) -> list[tuple[Name, Results]]:
    return [(run.shown, run.results) for run in runs]


def _simulated(runs: Sequence[ReportRun]) -> str:
    return " (simulated)" if any(run.results.simulated for run in runs) else ""


def _asr(asr: Asr, *, certain: bool) -> Figure:
    return Figure(percent(asr.asr.value if asr.asr else None)) if certain else share(asr.asr)


def _corrected(asr: Asr) -> Cell:
    correction = asr.corrected
    if correction is None:
        return None
    return share(correction.estimate) if correction.estimate else correction.standing


def _target_tokens(results: Results) -> Cell:
    cost = results.answer_cost
    return f"{cost.prompt_tokens:,} tokens in, {cost.completion_tokens:,} out" if cost else None


def _dollars(results: Results) -> Cell:
    cost = results.answer_cost
    return None if cost is None or cost.dollars is None else dollars(cost.dollars)
