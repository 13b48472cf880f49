"""Runs side by side, on the samples they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from safemt.core.errors import UsageError
from safemt.endpoints.spend import dollars
from safemt.report.figures import REPLICATES, SEED, difference_json, matrix_of, twins_of
from safemt.report.moderation import ModerationFigures, settings
from safemt.report.results import AnswerCost, Results, results_json
from safemt.stats.comparison import Comparison, compare, compare_twins, correct_family
from safemt.stats.intervals import Estimate


@dataclass(frozen=True, slots=True)
class Compared:
    """Several runs; each but the first compared with the first."""

    names: tuple[str, ...]
    results: tuple[Results, ...]
    comparisons: tuple[Comparison, ...]
    """One fewer than runs; p-values corrected as one family (Holm)."""
    differing: tuple[str, ...]
    """What makes them hard to compare; empty unless that was overruled."""


def compare_runs(named: Sequence[tuple[str, Results]], *, force: bool = False) -> Compared:
    """Compare every run with the first on shared samples.

    Raises:
        UsageError: there are fewer than two, or benchmarks or judges differ and `force` is not given.
    """
    if len(named) < 2:
        raise UsageError("A comparison needs at least two runs.")
    first, *others = (results for _, results in named)
    differing = tuple(
        dict.fromkeys(text for other in others for text in _differences(first.provenance, other.provenance))
    )
    if differing and not force:
        raise UsageError(
            "These runs cannot be compared fairly: "
            + "; ".join(differing)
            + ". --force compares them all the same."
        )
    comparisons = correct_family([_compare(first, other) for other in others])
    return Compared(
        names=tuple(name for name, _ in named),
        results=(first, *others),
        comparisons=comparisons,
        differing=differing,
    )


def compare_json(compared: Compared) -> dict[str, Any]:
    """The comparison as one document; its keys are described in docs/file-formats.md."""
    return {
        "runs": [
            {"run": name, **results_json(results)}
            for name, results in zip(compared.names, compared.results, strict=True)
        ],
        "differing": list(compared.differing),
        "baseline": compared.names[0],
        "comparisons": [
            {
                "run": name,
                "turns": {
                    str(k): difference_json(difference)
                    for k, difference in zip(comparison.rounds, comparison.by_round, strict=True)
                },
                "asr": difference_json(comparison.pooled),
                "safety_index": difference_json(comparison.si),
                "over_refusal": difference_json(comparison.over_refusal),
                "unpaired": list(comparison.unpaired),
            }
            for name, comparison in zip(compared.names[1:], compared.comparisons, strict=True)
        ],
    }


def print_comparison(compared: Compared, console: Console) -> None:
    """Runs in rows, then each run's differences from the first."""
    for text in compared.differing:
        console.print(f"[yellow]Compared all the same: {text}.[/yellow]", highlight=False, soft_wrap=True)
    _print_runs(compared, console)
    for name, comparison in zip(compared.names[1:], compared.comparisons, strict=True):
        _print_differences(compared.names[0], name, comparison, console)
    console.print(
        "Differences are in points (SI: in SI), on samples graded in both runs; p after Holm's correction "
        "over all of them. Verdict: higher, lower, or cannot tell at this size. `detectable` is the smallest "
        "true difference that this many samples find with 80 % power.",
        highlight=False,
    )


def _print_runs(compared: Compared, console: Console) -> None:
    rounds = sorted({k for results in compared.results for k in results.scores.turns})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for position, name in enumerate(compared.names):
        mark = "\n(simulated)" if compared.results[position].simulated else ""
        table.add_column(f"{name}\n{compared.results[position].target}{mark}", justify="right")
    for k in rounds:
        table.add_row(f"ASR at {k} turns", *(_percent(_round(results, k)) for results in compared.results))
    table.add_row("ASR over all", *(_percent(results.figures.overall.pooled) for results in compared.results))
    table.add_row("Safety Index", *(_number(results.figures.overall.si) for results in compared.results))
    table.add_row("over-refusal", *(_percent(results.figures.over_refusal) for results in compared.results))
    table.add_row("ungraded", *(f"{sum(results.scores.causes.values()):,}" for results in compared.results))
    table.add_row("still to do", *(f"{results.scores.pending:,}" for results in compared.results))
    table.add_row("judge", *(_named(results.provenance.get("judge")) for results in compared.results))
    table.add_row("moderator", *(_named(results.provenance.get("moderator")) for results in compared.results))
    if any(results.moderation for results in compared.results):
        _add_moderation(table, compared.results)
    console.print(table)


def _add_moderation(table: Table, runs: Sequence[Results]) -> None:
    """What the moderators did, a run without one left blank."""

    def add(heading: str, say: Callable[[ModerationFigures], str]) -> None:
        table.add_row(heading, *(say(each.moderation) if each.moderation else "–" for each in runs))

    table.add_row(
        "its settings",
        *(settings(entry) if (entry := each.provenance.get("moderator")) else "–" for each in runs),
    )
    add("harmful blocked", lambda m: f"{m.harmful.blocked:,} of {m.harmful.n:,}")
    add("harmful injected", lambda m: f"{m.harmful.injected:,} of {m.harmful.n:,}")
    add("twins blocked", lambda m: f"{m.twins.blocked:,} of {m.twins.n:,}")
    add("twins injected", lambda m: f"{m.twins.injected:,} of {m.twins.n:,}")
    add("degraded verdicts", lambda m: f"{sum(m.degraded.values()):,}")
    add("its tokens", lambda m: f"{m.prompt_tokens:,} in, {m.completion_tokens:,} out")
    table.add_row("target's tokens", *(_tokens(each.cost) for each in runs))
    table.add_row("cost of both", *(_dollars(each.cost) for each in runs))


def _tokens(cost: AnswerCost | None) -> str:
    return "–" if cost is None else f"{cost.prompt_tokens:,} in, {cost.completion_tokens:,} out"


def _dollars(cost: AnswerCost | None) -> str:
    if cost is None:
        return "–"
    return "unknown" if cost.dollars is None else dollars(cost.dollars)


def _print_differences(first: str, second: str, comparison: Comparison, console: Console) -> None:
    table = Table(
        title=f"{second} against {first}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("figure", no_wrap=True)
    for heading in ("difference (95 % interval)", "p", "detectable", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(f"ASR at {k}", d) for k, d in zip(comparison.rounds, comparison.by_round, strict=True)]
    rows += [("ASR over all", comparison.pooled), ("SI", comparison.si)]
    if comparison.over_refusal is not None:
        rows.append(("over-refusal", comparison.over_refusal))
    for name, difference in rows:
        if difference is None:
            table.add_row(name, "–", "", "", "no shared sample")
            continue
        scale = 1 if name == "SI" else 100
        low, high = difference.interval.low, difference.interval.high
        table.add_row(
            name,
            f"{_signed(difference.value, scale)} ({_signed(low, scale)} to {_signed(high, scale)})",
            f"{difference.p_adjusted:.3f}" if difference.p_adjusted >= 0.001 else "< 0.001",
            "–" if difference.detectable is None else _signed(difference.detectable, scale).lstrip("+"),
            difference.verdict.removesuffix(" at this size"),
        )
    console.print(table)
    if any(comparison.unpaired):
        one, other = comparison.unpaired
        console.print(f"Left out, graded in one run only: {one:,} and {other:,} samples.", highlight=False)


def _compare(first: Results, other: Results) -> Comparison:
    harmful = [matrix_of(_tried(results)) for results in (first, other)]
    twins = [twins_of(results.samples) for results in (first, other)]
    return replace(
        compare(*harmful, replicates=REPLICATES, seed=SEED),
        over_refusal=compare_twins(*twins, replicates=REPLICATES, seed=SEED),
    )


def _differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    if not (first and second):
        return []
    found = []
    if first["benchmark"]["sha256"] != second["benchmark"]["sha256"]:
        names = f"{first['benchmark']['name']} and {second['benchmark']['name']}"
        found.append(f"the benchmarks differ in content ({names})")
    if first["judge"]["id"] != second["judge"]["id"]:
        found.append(_judge_difference(first["judge"], second["judge"]))
    return found


def _judge_difference(first: dict[str, Any], second: dict[str, Any]) -> str:
    if first["name"] != second["name"]:
        return f"the judges differ ({first['name']} and {second['name']})"
    one, other = first["identity"], second["identity"]
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    parts = ", ".join(f"{key} {one.get(key)!s:.20} and {other.get(key)!s:.20}" for key in keys)
    return f"the judge {first['name']} is configured differently ({parts})"


def _tried(results: Results) -> list[Any]:
    return [s for s in results.samples if s.twin_of is None and s.label is not None]


def _round(results: Results, k: int) -> Estimate | None:
    overall = results.figures.overall
    return overall.asr[overall.rounds.index(k)] if k in overall.rounds else None


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    low, high = 100 * estimate.interval.low, 100 * estimate.interval.high
    return f"{100 * estimate.value:.1f} % ({low:.0f}–{high:.0f})"


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:.3f} ({estimate.interval.low:.3f}–{estimate.interval.high:.3f})"


def _signed(value: float, scale: int) -> str:
    """`+14.7` points of a share, `-0.090` of SI."""
    return f"{value:+.3f}" if scale == 1 else f"{scale * value:+.1f}"


def _named(entry: dict[str, Any] | None) -> str:
    return str(entry["name"]) if entry else "–"
