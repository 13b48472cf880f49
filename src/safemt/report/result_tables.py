"""The results of runs as tables and sentences, for terminal, Markdown and pages alike."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from safemt.report.figures import Asr, JudgeValidation, OverRefusalRate, Results
from safemt.report.protection import settings
from safemt.report.runs import ReportRun
from safemt.report.table import (
    Cell,
    Column,
    Heat,
    Kind,
    Row,
    Table,
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
    percent,
    share,
    signed_points,
    visible,
)
from safemt.stats.trend import Bound

if TYPE_CHECKING:
    from rich.console import Console

_DIRECTIONS: Final = {
    "rises": "More turns make it less safe",
    "falls": "More turns make it safer",
}


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
        found = _DIRECTIONS.get(
            results.trend.direction, "There are too few samples to tell whether more turns change that"
        )
        sentences.append(f"{found}: {in_words(slope, signed_points)} points per doubling of turns.")
    if results.moderation is not None:
        name = visible(str(results.provenance["moderator"]["name"]))
        harmful = results.moderation.harmful
        sentences.append(f"The moderator {name} read {count(harmful.n, 'harmful sample')} first: {harmful}.")
    sentences.append(
        f"{count(results.overall.graded, 'harmful sample')} graded, {results.ungraded.n:,} ungraded."
    )
    if (judge := results.provenance.get("judge")) is None:
        return [*sentences, "The labels come from files."]
    checked = "was checked" if results.judge_validation else "has not been checked"
    return [*sentences, f"The judge, {visible(str(judge['name']))}, {checked} against people."]


def print_results(results: Results, console: "Console", *, compat: bool = False) -> None:
    """Print ASR by turns, scenario and method, outcomes, over-refusal, and the Safety Index."""
    run = ReportRun(results.target, results)
    simulated = " (simulated)" if results.simulated else ""
    say(console)
    say(console, f"{results.target}{simulated}", "bold")
    if judge := results.provenance.get("judge"):
        say(console, f"Judged by {judge['name']}")
    if results.pending:
        say(console, f"{count(results.pending, 'sample')} still to do: these figures are partial.", "yellow")
    print_table(turn_table([run], certain=compat), console)
    for kind in ("scenario", "method"):
        print_table(group_table([run], kind, certain=compat), console)
    say(console)
    if results.outcomes:
        say(console, f"Outcomes{simulated}: {counted(results.outcomes)}")
    if results.ungraded.n:
        again = " Continuing the run tries them again." if results.provenance else ""
        say(console, f"Ungraded, in no figure: {counted(results.ungraded.causes)}.{again}", "yellow")
    if results.over_refusal.turns:
        by_turns = ", ".join(
            f"{percent(each.rate.value if each.rate else None)} at {count(k, 'turn')}"
            for k, each in results.over_refusal.turns.items()
        )
        rate = share(results.over_refusal.rate)
        say(console, f"Over-refusal on benign twins{simulated}: {rate}; {by_turns}")
    _print_index(results, console, simulated=simulated, compat=compat)
    if not compat:
        for sentence in _trust(results):
            say(console, sentence)
    _print_moderation(results, console)


def turn_table(runs: Sequence[ReportRun], *, certain: bool = False) -> Table:
    """ASR by number of turns; `certain` leaves out what the published computation knows nothing of."""
    corrected = not certain and any(run.results.overall.corrected for run in runs)

    def row(turns: Cell, asr: Asr) -> Row:
        more = [_corrected(asr)] if corrected else []
        return (turns, _asr(asr, certain=certain), *more, asr.unsafe, asr.safe, asr.ungraded)

    def rows(results: Results) -> Iterable[Row]:
        for k, asr in results.turns.items():
            yield row(k, asr)
        if not certain and len(results.turns) > 1:
            yield row("all", results.overall)

    asr = "ASR" if certain else "ASR, 95 % interval"
    headings = ["Turns", asr, *(["Corrected"] if corrected else []), "Unsafe", "Safe", "Ungraded"]
    return _table("ASR by turns", runs, headings, rows, nothing="nothing tried yet")


def group_table(runs: Sequence[ReportRun], kind: str, *, certain: bool = False) -> Table:
    """ASR by scenario or method, whichever `kind` names, and by number of turns."""
    rounds = sorted({k for run in runs for k in run.results.turns})
    ungraded = any(run.results.ungraded.n for run in runs)

    def rows(results: Results) -> Iterable[Row]:
        groups = results.scenarios if kind == "scenario" else results.methods
        for name, group in groups.items():
            more = [group.ungraded] if ungraded else []
            yield (name, *(_heat(group.turns.get(k)) for k in rounds), _asr(group, certain=certain), *more)

    heads = (
        Column(kind.capitalize(), Kind.TEXT),
        *(Column(str(k), Kind.HEAT) for k in rounds),
        Column("All" if certain else "All, 95 % interval"),
        *([Column("Ungraded")] if ungraded else []),
    )
    table = _table(f"ASR in % by {kind} and turns", runs, (), rows)
    group = [Column("Run", Kind.GROUP)] if len(runs) > 1 else []
    return Table(table.title, (*group, *heads), table.rows)


def overview_table(runs: Sequence[ReportRun]) -> Table:
    """The main figures, a run in each row."""

    def row(results: Results) -> Row:
        return (
            in_words(results.safety_index.value, index),
            share(results.overall.asr),
            share(results.over_refusal.rate),
            in_words(results.trend.slope, signed_points),
            results.ungraded.n,
            results.pending,
        )

    headings = [
        "Safety Index",
        "ASR",
        "Over-refusal",
        "Points per doubling of turns",
        "Ungraded",
        "Still to do",
    ]
    return _by_run("Overall, with 95 % intervals", runs, headings, row)


def index_table(runs: Sequence[ReportRun]) -> Table:
    """The Safety Index, and what it rests on."""

    def row(results: Results) -> Row:
        found = results.safety_index
        rounds = ", ".join(map(str, found.rounds)) or "none"
        return (in_words(found.value, index), number(found.compat, 4), rounds)

    headings = ["SI, 95 % interval", "As published", "Rounds"]
    return _by_run("Safety Index", runs, headings, row, text=("Rounds",))


def over_refusal_table(runs: Sequence[ReportRun]) -> Table:
    """How often benign twins were turned away, by number of turns."""

    def rows(results: Results) -> Iterable[Row]:
        found = results.over_refusal
        listed: list[tuple[Cell, OverRefusalRate]] = [*found.turns.items()]
        for turns, each in (*listed, *([("all", found)] if listed else [])):
            yield (turns, share(each.rate), each.n, each.denied, each.errors)

    headings = ["Turns", "Turned away, 95 % interval", "Answered or denied", "Denied", "Errors"]
    return _table("Over-refusal on benign twins", runs, headings, rows, nothing="no benign twin answered")


def outcome_table(runs: Sequence[ReportRun]) -> Table:
    """What the target did with harmful samples."""
    names = list(dict.fromkeys(name for run in runs for name in run.results.outcomes))
    return _by_run(
        "Outcomes of harmful samples", runs, [name.capitalize() for name in names],
        lambda results: tuple(results.outcomes.get(name, 0) for name in names),
    )  # fmt: skip


def trend_table(runs: Sequence[ReportRun]) -> Table:
    """How ASR changes with the number of turns."""
    headings = ["Points per doubling, 95 % interval", "Trend of ASR", "Queries"]
    return _by_run(
        "Trend over turns", runs, headings,
        lambda r: (in_words(r.trend.slope, signed_points), r.trend.direction, r.trend.queries),
        text=("Trend of ASR",),
    )  # fmt: skip


def first_unsafe_table(runs: Sequence[ReportRun]) -> Table:
    """At how many turns queries first get an unsafe response."""
    rounds = sorted({k for run in runs for k in run.results.first_unsafe.rounds})

    def row(results: Results) -> Row:
        found = results.first_unsafe
        shares = dict(zip(found.rounds, found.by_round, strict=True))
        return (*(share(shares.get(k)) for k in rounds), share(found.never), found.queries)

    headings = [*(count(k, "turn") for k in rounds), "Never", "Queries"]
    return _by_run("Share of queries by their first unsafe response", runs, headings, row)


def bounds_table(run: ReportRun) -> Table:
    """Each figure if all ungraded samples were safe, and if all were unsafe."""
    results = run.results

    def row(figure: str, ungraded: Cell, bound: Bound | None, form: Callable[[float], str] = percent) -> Row:
        return (figure, ungraded, *([form(bound.if_safe), form(bound.if_unsafe)] if bound else [None, None]))

    rows = [row(f"ASR at {count(k, 'turn')}", e.ungraded, e.if_ungraded) for k, e in results.turns.items()]
    rows.append(row("ASR over all turns", results.overall.ungraded, results.overall.if_ungraded))
    rows.append(row("Safety Index", "", results.safety_index.if_ungraded, index))
    headings = ("Figure", "Ungraded", "All safe", "All unsafe")
    title = _title("If every ungraded sample were safe, and if every one were unsafe", [run])
    return Table(title, columns(*headings, text=("Figure",)), tuple(rows))


def judge_table(validation: JudgeValidation) -> Table:
    """How well the judge agrees with people."""
    rows: tuple[Row, ...] = (
        ("Sensitivity", share(validation.sensitivity), "unsafe responses that it calls unsafe"),
        ("Specificity", share(validation.specificity), "safe responses that it calls safe"),
        ("Cohen’s κ", in_words(validation.kappa, index), "agreement beyond chance; 1 is perfect"),
        ("Readable", share(validation.readable), "responses that it gave a readable verdict on"),
    )
    headings = ("Figure", "Value, 95 % interval", "Meaning")
    return Table("The judge against people", columns(*headings, text=("Figure", "Meaning")), rows)


def moderation_table(runs: Sequence[ReportRun]) -> Table:
    """What the moderators did, for runs that had one."""

    def rows(results: Results) -> Iterable[Row]:
        if (m := results.moderation) is not None:
            for kind, actions in (("harmful", m.harmful), ("benign twins", m.twins)):
                yield (kind, actions.block, actions.inject, actions.allow, actions.flagged)

    headings = ["Samples", "Blocked", "Injected", "Allowed", "Flagged"]
    return _table("Samples by the moderator’s action", runs, headings, rows, text=("Samples",))


def _table(
    title: str,
    runs: Sequence[ReportRun],
    headings: Sequence[str],
    rows: Callable[[Results], Iterable[Row]],
    *,
    text: Iterable[str] = (),
    nothing: str = "",
) -> Table:
    """Several rows for each run, under its name where there are several runs."""
    many = len(runs) > 1
    listed: list[Row] = []
    for run in runs:
        found = list(rows(run.results)) or ([(nothing,)] if nothing and many else [])
        listed += [(run.shown, *row) for row in found] if many else found
    heads = columns(*headings, group="Run" if many else "", text=text)
    return Table(_title(title, runs), heads, tuple(listed))


def _by_run(
    title: str,
    runs: Sequence[ReportRun],
    headings: Sequence[str],
    row: Callable[[Results], Row],
    *,
    text: Iterable[str] = (),
) -> Table:
    """One row for each run."""
    rows = tuple((run.shown, *row(run.results)) for run in runs)
    return Table(_title(title, runs), columns("Run", *headings, text=("Run", *text)), rows)


def _title(title: str, runs: Sequence[ReportRun]) -> str:
    return title + (" (simulated)" if any(run.results.simulated for run in runs) else "")


def _asr(asr: Asr, *, certain: bool) -> Figure:
    return Figure(percent(asr.asr.value if asr.asr else None)) if certain else share(asr.asr)


def _corrected(asr: Asr) -> Cell:
    correction = asr.corrected
    if correction is None:
        return None
    return share(correction.estimate) if correction.estimate else correction.standing


def _heat(asr: Asr | None) -> Heat:
    if asr is None or asr.asr is None:
        return Heat(None)
    return Heat(asr.asr.value, f"{asr.unsafe:,} of {asr.graded:,} unsafe")


def _print_moderation(results: Results, console: "Console") -> None:
    if (m := results.moderation) is None:
        return
    entry = results.provenance["moderator"]
    say(console)
    say(console, f"Moderator {entry['name']} ({settings(entry)})", "bold")
    for kind, actions in (("harmful sample", m.harmful), ("benign twin", m.twins)):
        if actions.n:
            say(console, f"{count(actions.n, kind)}: {actions}")
    say(console, f"Looked at {m.coverage}")
    if m.degraded.n:
        say(console, f"Degraded verdicts: {counted(m.degraded.causes)}", "yellow")
    say(console, f"Cost: {m.cost}")


def _print_index(results: Results, console: "Console", *, simulated: str, compat: bool) -> None:
    found = results.safety_index
    published = number(found.compat, 4)
    if compat:
        say(console, f"Safety Index {published}{simulated}, as published", "bold")
        return
    value = "not known: nothing is graded" if found.value is None else str(in_words(found.value, index))
    say(console, f"Safety Index {value}{simulated}; as published: {published}", "bold")
    if found.missing_rounds and found.rounds:
        say(console, missing_rounds(results))


def missing_rounds(results: Results) -> str:
    """What the Safety Index does where published numbers of turns have no graded sample."""
    missing = ", ".join(map(str, results.safety_index.missing_rounds))
    return (
        f"No graded sample at {missing} turns: the other rounds take over their weight. The published "
        "computation counts them as perfectly safe."
    )


def _trust(results: Results) -> Iterable[str]:
    """What else to know before believing the figures."""
    if results.trend.slope is not None:
        slope = in_words(results.trend.slope, signed_points)
        yield f"Trend: {results.trend.direction}, {slope} points per doubling of turns"
    bound = results.overall.if_ungraded
    if bound is not None and results.ungraded.n:
        yield (
            f"ASR over all turns: {percent(bound.if_safe)} if every ungraded sample were safe, "
            f"{percent(bound.if_unsafe)} if every one were unsafe"
        )
    for other in results.other_judges:
        yield (
            f"Judge {other.name}: ASR {share(other.asr)}; same label on {share(other.agreement)} of "
            f"{count(other.shared, 'response')}"
        )
    if (validation := results.judge_validation) is not None:
        yield (
            f"This judge against people ({validation.labels}): it finds {share(validation.sensitivity)} of "
            f"unsafe responses and passes {share(validation.specificity)} of safe ones"
        )
    elif results.provenance:
        yield "This judge has not been checked against people; `safemt judge-check` does that."
    if (powered := results.prediction_powered) is not None:
        yield (
            f"By people’s standard, from {count(powered.labelled, 'label')} of theirs and the judge’s on the "
            f"rest: ASR {share(powered.estimate)}"
        )
