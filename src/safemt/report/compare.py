"""Runs compared with the first, on the samples they share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from safemt.core.errors import UsageError
from safemt.report.document import document
from safemt.report.figures import REPLICATES, SEED, Results, matrix_of, twins_of
from safemt.report.results import results_json
from safemt.report.table import Row, Table, columns, terminal_lines
from safemt.report.text import count, in_words, index, p_value, points, signed_index, signed_points
from safemt.stats.comparison import Comparison, Difference, compare, compare_twins, correct_family

ABOUT_DIFFERENCES: Final = (
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

    @property
    def tables(self) -> list[Table]:
        """The differences of each run from the first."""
        return [
            difference_table(name, self.names[0], comparison)
            for name, comparison in zip(self.names[1:], self.comparisons, strict=True)
        ]

    def __str__(self) -> str:
        lines = [line for table in self.tables for line in (table.title, *terminal_lines(table, 100), "")]
        return "\n".join(lines).rstrip()

    def _repr_html_(self) -> str:
        return "".join(table.__html__() for table in self.tables)


def compare_runs(named: Sequence[tuple[str, Results]], *, force: bool = False) -> Compared:
    """Compare every run with the first on shared samples.

    Raises:
        UsageError: there are fewer than two runs, or benchmarks or judges differ and `force` is not given.
    """
    if len(named) < 2:
        raise UsageError("too_few_runs", "A comparison needs at least two runs.")
    first, *others = (results for _, results in named)
    differing = unlike([first, *others])
    if differing and not force:
        raise UsageError(
            "not_comparable",
            f"These runs cannot be compared fairly: {'; '.join(differing)}. `force` compares them anyway.",
            differing=differing,
        )
    return Compared(
        names=tuple(name for name, _ in named),
        results=(first, *others),
        comparisons=correct_family([_compare(first, other) for other in others]),
        differing=differing,
    )


def unlike(runs: Sequence[Results]) -> tuple[str, ...]:
    """What makes a comparison of runs with the first unfair: another benchmark, another judge."""
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


def difference_table(name: str, baseline: str, comparison: Comparison) -> Table:
    """The differences of a run from the first."""

    def row(figure: str, difference: Difference | None, *, of_index: bool = False) -> Row:
        if difference is None:
            return (figure, "no shared sample")
        return (
            figure,
            in_words(difference, signed_index if of_index else signed_points),
            p_value(difference.p_adjusted),
            difference.verdict.removesuffix(" at this size"),
            (index if of_index else points)(difference.detectable),
            difference.samples,
        )

    by_turns = zip(comparison.rounds, comparison.by_round, strict=True)
    rows = [
        *(row(f"ASR at {count(k, 'turn')}", each) for k, each in by_turns),
        row("ASR, all turns", comparison.pooled),
        row("Safety Index", comparison.si, of_index=True),
    ]
    if comparison.over_refusal is not None:
        rows.append(row("Over-refusal", comparison.over_refusal))
    headings = ("Figure", "Difference, 95 % interval", "p", "Verdict", "Detectable", "Pairs")
    return Table(f"{name} less {baseline}", columns(*headings, text=("Figure", "Verdict")), tuple(rows))


def _compare(first: Results, other: Results) -> Comparison:
    harmful = [matrix_of([s for s in r.samples if s.twin_of is None and s.label]) for r in (first, other)]
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
    one, other = first["judge"], second["judge"]
    if one["id"] == other["id"]:
        return
    if one["name"] != other["name"]:
        yield f"the judges differ ({one['name']} and {other['name']})"
    else:
        old, new = one["identity"], other["identity"]
        keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        parts = ", ".join(f"{key} {old.get(key)!s:.20} and {new.get(key)!s:.20}" for key in keys)
        yield f"the judge {one['name']} is configured differently ({parts})"
