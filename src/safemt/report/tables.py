"""Figures as tables on the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from safemt.report.moderation import print_moderation
from safemt.report.results import Results
from safemt.stats.agreement import agreement
from safemt.stats.intervals import Estimate, Uncertainty
from safemt.stats.scores import Tally


def print_results(results: Results, console: Console, *, compat: bool = False) -> None:
    """ASR by turn, scenario and method, outcomes, over-refusal, Safety Index."""
    scores = results.scores
    mark = " (simulated)" if results.simulated else ""
    console.print(f"\n[bold]{escape(results.target)}[/bold]{mark}", highlight=False)
    if judge := results.provenance.get("judge"):
        console.print(f"judged by {judge['name']}", highlight=False, markup=False)
    if scores.pending:
        console.print(
            f"[yellow]{scores.pending:,} samples are still to do; these figures are partial.[/yellow]"
        )

    console.print(_turn_table(f"ASR by turns{mark}", results, with_intervals=not compat))
    figures = results.figures
    for kind, groups, group_turns, known in (
        ("scenario", scores.scenarios, scores.scenario_turns, figures.scenarios),
        ("method", scores.methods, scores.method_turns, figures.methods),
    ):
        if groups:
            title = f"ASR in % by {kind} and turns{mark}"
            console.print(_group_table(kind, title, groups, group_turns, {} if compat else known))

    if scores.outcomes:
        outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in scores.outcomes.items())
        console.print(f"Outcomes{mark}: {outcomes}", highlight=False)
    if scores.causes:
        causes = escape(", ".join(f"{n:,} {cause}" for cause, n in scores.causes.items()))
        again = " The same command tries them again." if results.provenance else ""
        console.print(f"[yellow]Ungraded, in no figure: {causes}.[/yellow]{again}", highlight=False)
    if scores.over_refusal:
        rates = ", ".join(f"{k}t {_share(figure.rate)}" for k, figure in scores.over_refusal.items())
        console.print(
            f"Over-refusal on benign twins{mark}: {_with_interval(figures.over_refusal)}; by turns {rates}",
            highlight=False,
        )
    _print_safety_index(results, console, compat=compat)
    if not compat:
        _print_trust(results, console)
    if results.moderation is not None:
        print_moderation(results.provenance["moderator"], results.moderation, console)


def _print_trust(results: Results, console: Console) -> None:
    """What else to know before believing the figures: trend, ungraded, the judge's worth."""
    figures = results.figures
    slope = figures.trend.slope
    if slope is not None:
        low, high = 100 * slope.interval.low, 100 * slope.interval.high
        console.print(
            f"Trend: {figures.trend.direction} ({100 * slope.value:+.1f} points per doubling of turns, "
            f"{low:+.1f} to {high:+.1f})",
            highlight=False,
        )
    bound = figures.bounds.pooled
    if bound is not None and results.scores.causes:
        console.print(
            f"ASR over all turns if every ungraded sample were safe {_share(bound.if_safe)}, "
            f"if every one were unsafe {_share(bound.if_unsafe)}",
            highlight=False,
        )
    for other in results.other_judges:
        same = _with_interval(other.agreement.raw)
        console.print(
            f"Judge {other.name}: ASR {_with_interval(other.asr)}; same label on {same} of "
            f"{other.agreement.shared:,} responses",
            highlight=False,
            markup=False,
        )
    if figures.validation is not None:
        known = agreement(figures.validation.confusion)
        finds, passes = _with_interval(known.sensitivity), _with_interval(known.specificity)
        console.print(
            f"This judge against people ({figures.validation.labels}): finds {finds} of the unsafe, passes "
            f"{passes} of the safe",
            highlight=False,
            markup=False,
        )
    elif results.provenance:
        console.print(
            "This judge has not been checked against people: see safemt judge-check.", highlight=False
        )
    powered = figures.prediction_powered
    if powered is not None:
        console.print(
            f"By people's standard, from {powered.labelled:,} labels of theirs and the judge's on the rest: "
            f"ASR {_with_interval(powered.estimate)}",
            highlight=False,
        )


def _print_safety_index(results: Results, console: Console, *, compat: bool) -> None:
    scores, index = results.scores, results.scores.safety_index
    mark = " (simulated)" if results.simulated else ""
    if compat:
        console.print(
            f"[bold]Safety Index {scores.safety_index_compat:.4f}[/bold]{mark}, as published", highlight=False
        )
        return
    value = "none: nothing was graded" if index.value is None else f"{index.value:.4f}"
    known = results.figures.overall.si
    interval = f", 95 % interval {known.interval.low:.3f}–{known.interval.high:.3f}" if known else ""
    console.print(
        f"[bold]Safety Index {value}[/bold]{mark}{interval} (as published: {scores.safety_index_compat:.4f})",
        highlight=False,
    )
    if index.missing_rounds and index.rounds:
        missing = ", ".join(str(k) for k in index.missing_rounds)
        console.print(
            f"No data at {missing} turns: their weight went to the other rounds. The published computation "
            "counts them as perfectly safe."
        )


def _turn_table(title: str, results: Results, *, with_intervals: bool) -> Table:
    figures, overall = results.figures, results.figures.overall
    table = _table(title)
    corrected = figures.corrected if with_intervals else None
    headings = ["turns", "ASR"]
    headings += ["95 % interval"] if with_intervals else []
    headings += ["corrected"] if corrected else []
    for heading in (*headings, "unsafe", "safe", "ungraded"):
        table.add_column(heading, justify="right")
    for turns, tally in results.scores.turns.items():
        cells = [str(turns), _share(tally.asr)]
        if with_intervals:
            estimate = overall.asr[overall.rounds.index(turns)]
            cells.append("–" if estimate is None else _range(estimate))
        if corrected:
            correction = corrected.by_round[corrected.rounds.index(turns)]
            cells.append(_with_interval(correction.estimate) if correction.estimate else correction.standing)
        table.add_row(*cells, f"{tally.unsafe:,}", f"{tally.safe:,}", f"{tally.ungraded:,}")
    return table


def _group_table(
    kind: str,
    title: str,
    groups: dict[str, Tally],
    turns: dict[str, dict[int, Tally]],
    known: dict[str, Uncertainty],
) -> Table:
    rounds = sorted({k for tallies in turns.values() for k in tallies})
    table = _table(title)
    table.add_column(kind, no_wrap=True)
    for heading in ("all", *(f"{k}" for k in rounds), "ungraded"):
        table.add_column(heading, justify="right")
    for name, tally in groups.items():
        cells = [_percent(turns[name][k].asr) if k in turns[name] else "–" for k in rounds]
        pooled = known[name].pooled if name in known else None
        interval = "" if pooled is None else f" ({_range(pooled)})"
        table.add_row(name, f"{_percent(tally.asr)}{interval}", *cells, str(tally.ungraded or "–"))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _range(estimate: Estimate) -> str:
    return f"{100 * estimate.interval.low:.0f}–{100 * estimate.interval.high:.0f}"


def _with_interval(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{100 * estimate.value:.1f} % ({_range(estimate)})"
