"""Runs side by side, on the samples they share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safemt.core.errors import UsageError
from safemt.endpoints.spend import dollars
from safemt.report.document import document
from safemt.report.figures import REPLICATES, SEED, Results, matrix_of, twins_of
from safemt.report.protection import settings
from safemt.report.results import results_json
from safemt.report.table import RULE, Cell, Row, Table, columns, print_table, say
from safemt.report.text import count, in_words, index, p_value, points, share, signed_index, signed_points
from safemt.stats.comparison import Comparison, Difference, compare, compare_twins, correct_family

if TYPE_CHECKING:
    from rich.console import Console

ABOUT_DIFFERENCES = (
    "Differences are in percentage points, the Safety Index in its own unit, over samples graded in both "
    "runs. p is after Holm’s correction over all differences: higher and lower mean p ≤ 0.05, and otherwise "
    "this many samples cannot tell. Detectable is the smallest true difference that they reveal with 80 % "
    "power."
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Several runs, each but the first compared with the first."""

    names: tuple[str, ...]
    results: tuple[Results, ...]
    comparisons: tuple[Comparison, ...]
    """One fewer than runs; p-values are corrected as one family (Holm)."""
    differing: tuple[str, ...]
    """What makes the comparison unfair; empty unless the caller forced it."""


def compare_runs(named: Sequence[tuple[str, Results]], *, force: bool = False) -> Compared:
    """Compare every run with the first on shared samples.

    Raises:
        UsageError: there are fewer than two runs, or benchmarks or judges differ and `force` is not given.
    """
    if len(named) < 2:
        raise UsageError("too_few_runs", "A comparison needs at least two runs.")
    differing = unlike([results for _, results in named])
    if differing and not force:
        raise UsageError(
            "not_comparable",
            f"These runs cannot be compared fairly: {'; '.join(differing)}. `force` compares them anyway.",
            differing=differing,
        )
    first, *others = (results for _, results in named)
    return Compared(
        names=tuple(name for name, _ in named),
        results=(first, *others),
        comparisons=correct_family([_compare(first, other) for other in others]),
        differing=differing,
    )


def unlike(runs: Sequence[Results]) -> tuple[str, ...]:
    """What makes a comparison of the runs with the first unfair: another benchmark, another judge."""
    first, *others = (results.provenance for results in runs)
    return tuple(dict.fromkeys(text for other in others for text in _unlike(first, other)))


def compare_json(compared: Compared) -> dict[str, Any]:
    """The comparison as one document, described in docs/file-formats.md."""
    runs = zip(compared.names, compared.results, strict=True)
    return {
        "runs": [{"run": name, **results_json(results)} for name, results in runs],
        "differing": list(compared.differing),
        "baseline": compared.names[0],
        "comparisons": [
            {"run": name, **document(comparison)}
            for name, comparison in zip(compared.names[1:], compared.comparisons, strict=True)
        ],
    }


def print_comparison(compared: Compared, console: "Console") -> None:
    """Print the runs in columns, then each run's differences from the first."""
    for text in compared.differing:
        say(console, f"Compared although {text}.", "yellow")
    print_table(runs_table(compared.names, compared.results), console)
    for name, comparison in zip(compared.names[1:], compared.comparisons, strict=True):
        print_table(difference_table(name, compared.names[0], comparison), console)
        if any(comparison.unpaired):
            one, other = comparison.unpaired
            say(console, f"Left out because only one run graded them: {one:,} and {other:,} samples.")
    say(console)
    say(console, ABOUT_DIFFERENCES)


def runs_table(names: Sequence[str], runs: Sequence[Results]) -> Table:
    """The main figures of all runs, a run in each column."""

    def row(heading: str, cell: Callable[[Results], Cell]) -> Row:
        return (heading, *(cell(each) for each in runs))

    def asr_at(k: int) -> Callable[[Results], Cell]:
        return lambda results: share(results.turns[k].asr) if k in results.turns else None

    headings = []
    for name, each in zip(names, runs, strict=True):
        target = "" if name == each.target else f": {each.target}"
        headings.append(name + target + (" (simulated)" if each.simulated else ""))
    rows = [
        *(
            row(f"ASR at {count(k, 'turn')}", asr_at(k))
            for k in sorted({k for each in runs for k in each.turns})
        ),
        row("ASR over all turns", lambda r: share(r.overall.asr)),
        row("Safety Index", lambda r: in_words(r.safety_index.value, index)),
        row("Over-refusal", lambda r: share(r.over_refusal.rate)),
        row("Ungraded", lambda r: r.ungraded.n),
        row("Still to do", lambda r: r.pending),
        row("Judge", lambda r: _named(r.provenance.get("judge"))),
        row("Moderator", lambda r: _named(r.provenance.get("moderator"))),
    ]
    if any(each.moderation for each in runs):
        rows += [RULE, *_moderation_rows(row)]
    return Table("Runs", columns("", *headings, text=("",)), tuple(rows))


def difference_table(name: str, baseline: str, comparison: Comparison) -> Table:
    """The differences of a run from the first."""
    by_turns = zip(comparison.rounds, comparison.by_round, strict=True)
    shares = [(f"ASR at {count(k, 'turn')}", each) for k, each in by_turns]
    rows = [_difference_row(heading, each) for heading, each in shares]
    rows.append(_difference_row("ASR over all turns", comparison.pooled))
    rows.append(_difference_row("Safety Index", comparison.si, signed=signed_index, plain=index))
    if comparison.over_refusal is not None:
        rows.append(_difference_row("Over-refusal", comparison.over_refusal))
    headings = ("Figure", "Difference, 95 % interval", "p", "Verdict", "Detectable", "Samples")
    return Table(f"{name} less {baseline}", columns(*headings, text=("Figure", "Verdict")), tuple(rows))


def _difference_row(
    heading: str,
    difference: Difference | None,
    *,
    signed: Callable[[float | None], str] = signed_points,
    plain: Callable[[float | None], str] = points,
) -> Row:
    if difference is None:
        return (heading, "no shared sample")
    return (
        heading,
        in_words(difference, signed),
        p_value(difference.p_adjusted),
        difference.verdict.removesuffix(" at this size"),
        plain(difference.detectable),
        difference.samples,
    )


def _moderation_rows(row: Callable[[str, Callable[[Results], Cell]], Row]) -> Iterable[Row]:
    """What the moderators did, and what the protection cost; unknown for a run without one."""

    def acted(kind: str, action: str) -> Callable[[Results], Cell]:
        def cell(results: Results) -> Cell:
            actions = getattr(results.moderation, kind, None)
            return None if actions is None else f"{getattr(actions, action):,} of {actions.n:,}"

        return cell

    yield row("Its settings", lambda r: settings(r.provenance["moderator"]) if r.moderation else None)
    for kind in ("harmful", "twins"):
        for action in ("block", "inject"):
            yield row(f"{kind.capitalize()}: {action}", acted(kind, action))
    yield row("Degraded verdicts", lambda r: r.moderation.degraded.n if r.moderation else None)
    yield row("Its tokens", lambda r: str(r.moderation.tokens) if r.moderation else None)
    yield row("Target’s tokens", _target_tokens)
    yield row("Cost of both", _dollars)


def _target_tokens(results: Results) -> Cell:
    cost = results.answer_cost
    return None if cost is None else f"{cost.prompt_tokens:,} tokens in, {cost.completion_tokens:,} out"


def _dollars(results: Results) -> Cell:
    cost = results.answer_cost
    return None if cost is None or cost.dollars is None else dollars(cost.dollars)


def _compare(first: Results, other: Results) -> Comparison:
    harmful = [matrix_of(_tried(results)) for results in (first, other)]
    twins = [twins_of(results.samples) for results in (first, other)]
    return replace(
        compare(*harmful, replicates=REPLICATES, seed=SEED),
        over_refusal=compare_twins(*twins, replicates=REPLICATES, seed=SEED),
    )


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterable[str]:
    if not (first and second):
        return
    if first["benchmark"]["sha256"] != second["benchmark"]["sha256"]:
        names = f"{first['benchmark']['name']} and {second['benchmark']['name']}"
        yield f"the benchmarks differ in content ({names})"
    if first["judge"]["id"] != second["judge"]["id"]:
        yield _judge_difference(first["judge"], second["judge"])


def _judge_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    if first["name"] != second["name"]:
        return f"the judges differ ({first['name']} and {second['name']})"
    one, other = first["identity"], second["identity"]
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    parts = ", ".join(f"{key} {one.get(key)!s:.20} and {other.get(key)!s:.20}" for key in keys)
    return f"the judge {first['name']} is configured differently ({parts})"


def _tried(results: Results) -> list[Any]:
    return [s for s in results.samples if s.twin_of is None and s.label is not None]


def _named(entry: Mapping[str, Any] | None) -> Cell:
    return str(entry["name"]) if entry else None
