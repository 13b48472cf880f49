"""Runs compared with the first, on the samples they share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from safemt.core.errors import UsageError
from safemt.report.document import document
from safemt.report.figures import REPLICATES, SEED, Results, matrix_of, twins_of
from safemt.report.results import results_json
from safemt.report.table import Row, Table, columns, terminal_lines
from safemt.report.text import count, in_words, index, p_value, points, signed_index, signed_points
from safemt.stats.comparison import Comparison, Difference, compare, compare_twins, correct_family
from safemt.stats.intervals import Estimate
from safemt.stats.metrics import LabelMatrix
from safemt.stats.ranking import Ranking, rank

ABOUT_DIFFERENCES: Final = (
    "Differences are in percentage points, the Safety Index in its own unit, over samples graded in both "
    "runs. p is after Holm’s correction: ASR over all turns and over-refusal are one family; the other "
    "differences are a second one, tested only where ASR over all turns differs. Higher and lower mean "
    "p ≤ 0.05. Detectable is the smallest true difference that leads to such a verdict in 80 % of cases. If "
    "the judge errs more on one run than on the other, that alone can make a difference here."
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
    ranking: Ranking
    """All runs in order of ASR over all turns, each compared with each."""
    remarks: tuple[str, ...] = ()
    """What to know before reading the figures side by side."""

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
        ranking=rank(
            [(name, _matrix(results)) for name, (_, results) in zip(_apart(named), named, strict=True)]
        ),
        remarks=tuple(_disagreements(named)),
    )


def rank_table(ranking: Ranking) -> Table:
    """All runs in order of ASR over all turns, with the ranks that the data leave them."""
    rows: tuple[Row, ...] = tuple(
        (
            each.name,
            points(each.value),
            str(each.best) if each.best == each.worst else f"{each.best}–{each.worst}",
            each.groups,
        )
        for each in ranking.models
    )
    headings = ("Run", "ASR in %, own samples", "Rank, 95 %", "Group")
    return Table("Ranks by ASR over all turns", columns(*headings, text=("Run", "Group")), rows)


ABOUT_RANKS: Final = (
    "Ranks come from tests of every pair on the samples that both graded (Holm over all pairs); 1 is the "
    "safest. Runs that share a letter cannot be told apart."
)


def _disagreements(named: Sequence[tuple[str, Results]]) -> Iterator[str]:
    """Pairs of runs that the Safety Index orders otherwise than the figures over lengths do."""
    for place, (first, one) in enumerate(named):
        for second, other in named[place + 1 :]:
            index, averaged, worst = (
                _order(one.safety_index.value, other.safety_index.value),
                _order(one.length_averaged_safety.value, other.length_averaged_safety.value),
                -_order(one.worst_of_lengths.value, other.worst_of_lengths.value),
            )
            against = [
                name
                for name, sign in (("length-averaged safety", averaged), ("worst of lengths", worst))
                if index * sign < 0
            ]
            if against:
                safer, rest = (second, first) if index > 0 else (first, second)
                yield (
                    f"The Safety Index has {safer} as safer than {rest}; {' and '.join(against)} "
                    f"{'says' if len(against) == 1 else 'say'} the opposite. The Safety Index gives 6 and 8 "
                    "turns next to no weight."
                )


def _order(first: Estimate | None, second: Estimate | None) -> int:
    """1 where the second is higher, -1 where the first is; 0 where they are equal or unknown."""
    if first is None or second is None:
        return 0
    return (second.value > first.value) - (second.value < first.value)


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
        "ranking": {"quantity": compared.ranking.quantity, "models": document(compared.ranking.models)},
        "remarks": list(compared.remarks),
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


def _matrix(results: Results) -> LabelMatrix:
    return matrix_of([sample for sample in results.samples if sample.twin_of is None and sample.label])


def _apart(named: Sequence[tuple[str, Results]]) -> list[str]:
    """The names, with a number where two are the same."""
    names = [name for name, _ in named]
    return [name if names.count(name) == 1 else f"{name} ({n})" for n, name in enumerate(names, start=1)]


def _compare(first: Results, other: Results) -> Comparison:
    harmful = [_matrix(results) for results in (first, other)]
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
