"""Figures as tables on the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table

from safemt.core.scores import Tally
from safemt.report.results import Results


def print_results(results: Results, console: Console, *, compat: bool = False) -> None:
    """ASR by turn, scenario and method, outcomes, over-refusal, Safety Index."""
    scores = results.scores
    mark = " (simulated)" if results.simulated else ""
    console.print(f"\n[bold]{results.target}[/bold]{mark}", highlight=False)
    if judge := results.provenance.get("judge"):
        console.print(f"judged by {judge['name']}", highlight=False)
    if scores.pending:
        console.print(
            f"[yellow]{scores.pending:,} samples are still to do; these figures are partial.[/yellow]"
        )

    by_turn = _table(f"ASR by turns{mark}")
    for heading in ("turns", "ASR", "unsafe", "safe", "ungraded"):
        by_turn.add_column(heading, justify="right")
    for turns, tally in scores.turns.items():
        by_turn.add_row(str(turns), _share(tally.asr), *_counts(tally))
    console.print(by_turn)

    _print_groups("scenario", scores.scenarios, scores.scenario_turns, console)
    _print_groups("method", scores.methods, scores.method_turns, console)

    if scores.outcomes:
        outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in scores.outcomes.items())
        console.print(f"Outcomes: {outcomes}", highlight=False)
    if scores.causes:
        causes = ", ".join(f"{n:,} {cause}" for cause, n in scores.causes.items())
        console.print(
            f"[yellow]Ungraded, in no figure: {causes}.[/yellow] The same command tries them again."
        )
    if scores.over_refusal:
        rates = ", ".join(f"{k}t {_share(figure.rate)}" for k, figure in scores.over_refusal.items())
        console.print(f"Over-refusal on benign twins, by turns: {rates}", highlight=False, soft_wrap=True)
    _print_safety_index(results, console, compat=compat)


def _print_safety_index(results: Results, console: Console, *, compat: bool) -> None:
    scores, index = results.scores, results.scores.safety_index
    mark = " (simulated)" if results.simulated else ""
    if compat:
        console.print(
            f"[bold]Safety Index {scores.safety_index_compat:.4f}[/bold]{mark}, as published", highlight=False
        )
        return
    value = "none: nothing was graded" if index.value is None else f"{index.value:.4f}"
    console.print(
        f"[bold]Safety Index {value}[/bold]{mark} (as published: {scores.safety_index_compat:.4f})",
        highlight=False,
    )
    if index.missing_rounds and index.rounds:
        missing = ", ".join(str(k) for k in index.missing_rounds)
        console.print(
            f"No data at {missing} turns: their weight went to the other rounds. The published computation "
            "counts them as perfectly safe."
        )


def _print_groups(
    kind: str, groups: dict[str, Tally], turns: dict[str, dict[int, Tally]], console: Console
) -> None:
    if not groups:
        return
    rounds = sorted({k for tallies in turns.values() for k in tallies})
    table = _table(f"ASR in % by {kind} and turns")
    table.add_column(kind, no_wrap=True)
    for heading in ("all", *(f"{k}" for k in rounds), "ungraded"):
        table.add_column(heading, justify="right")
    for name, tally in groups.items():
        cells = [_percent(turns[name][k].asr) if k in turns[name] else "–" for k in rounds]
        table.add_row(name, _percent(tally.asr), *cells, str(tally.ungraded or "–"))
    console.print(table)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _counts(tally: Tally) -> tuple[str, str, str]:
    return (f"{tally.unsafe:,}", f"{tally.safe:,}", f"{tally.ungraded:,}")
