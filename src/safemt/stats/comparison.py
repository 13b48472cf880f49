"""Two runs on the same samples: is one safer, could this many samples tell, and what does safety cost?

Every difference is the second run's figure less the first's, over samples graded in both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from safemt.core.taxonomy import Label, Outcome
from safemt.stats.intervals import (
    Codes,
    Estimate,
    Interval,
    Statistic,
    Z,
    bootstrap,
    cluster_variance,
    difference_error,
    difference_interval,
    pooled_and_si,
    query_counts,
)
from safemt.stats.metrics import SAFE, UNGRADED, UNSAFE, Floats, LabelMatrix, label_matrix

ALPHA: Final = 0.05
POWER: Final = 0.8
_Z_POWER: Final = NormalDist().inv_cdf(POWER)

Verdict = Literal["higher", "lower", "cannot tell at this size"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two runs, on the samples graded in both."""

    first: float
    second: float
    value: float
    """second - first, in [-1, 1]."""
    interval: Interval
    """For this figure alone: it is not widened for the family, as `p_adjusted` is."""
    p_value: float
    p_adjusted: float
    """After Holm's correction over the family."""
    verdict: Verdict
    """Whether the second is higher or lower than the first: `p_adjusted` ≤ 0.05."""
    detectable: float | None
    """The smallest true difference that this many queries find with 80 % power at a two-sided 5 %;
    None when not even a difference of 1 would be found."""
    samples: int
    """Pairs of samples graded in both runs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs compared; None where they share no graded sample."""

    rounds: tuple[int, ...]
    """The rounds of both runs."""
    by_round: tuple[Difference | None, ...]
    """ASR of each round."""
    pooled: Difference | None
    """ASR over the rounds."""
    si: Difference | None
    unpaired: tuple[int, int]
    """Graded samples of the first and of the second run whose partner is missing or ungraded: left out."""
    over_refusal: Difference | None = None
    """Share of benign twins turned away, where `compare_twins` was asked for it."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that a sample is as often unsafe in the first run only as in the second only.

    min(1, 2 · P(X ≤ min of the two)), X ~ Binomial(their sum, ½), in whole numbers and so exact at any
    size. McNemar (1947); the exact form in Fagerland, Lydersen & Laake (2013).
    """
    discordant = only_first + only_second
    ways = tail = 1
    for count in range(min(only_first, only_second)):
        ways = ways * (discordant - count) // (count + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << discordant))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for being a family of tests, in the order given. Holm (1979).

    Sorted upwards, the i-th of m becomes max over j ≤ i of min(1, (m - j + 1) · p_j).
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return tuple(adjusted)


def detectable_difference(pairs: int, discordant: float) -> float | None:
    """The smallest difference δ of two paired shares found with 80 % power at a two-sided 5 %.

    δ solves pairs · δ² = (z_α √ψ + z_β √(ψ - δ²))² (Connor 1987), ψ the `discordant` share
    of the pairs. Where that δ exceeds ψ, so much discordance cannot be, and ψ = δ is taken: all of it
    one way. z_α = 1.960, z_β = 0.842. None below 4 pairs, where no difference is large enough.
    """
    if pairs < Z**2:
        return None
    scale = pairs + _Z_POWER**2
    root = math.sqrt(discordant * (pairs - Z**2 + _Z_POWER**2))
    difference = (Z * math.sqrt(pairs * discordant) + _Z_POWER * root) / scale
    if 0.0 < difference <= discordant:
        return difference
    one_way = (math.sqrt((Z * _Z_POWER) ** 2 + scale * (pairs - Z**2)) - Z * _Z_POWER) / scale
    return 1.0 - one_way**2


def compare(first: LabelMatrix, second: LabelMatrix, *, replicates: int = 2000, seed: int = 0) -> Comparison:
    """Differences of ASR by round, pooled ASR and SI between two runs, as one family of tests.

    Matched by query and round; a pair counts when both labels are graded. Interval: `difference_interval`,
    its variance exact within a round and from a bootstrap of queries (pairs and rounds move together)
    for pooled ASR and SI. p-value: `mcnemar` within a round; else a score test,
    z = nD / √(n² · variance + n D² + 1), D the difference and n the queries, which is McNemar's in large
    samples and kept from over-confidence in small ones. Smallest detectable difference:
    `detectable_difference` within a round, else (z_α + z_β) · `difference_error`.
    """
    rounds = tuple(k for k in first.rounds if k in second.rounds)
    paired = _paired(first, second, rounds)
    graded = paired >= SAFE
    shared = int(graded[:, : len(rounds)].sum())
    seen = graded.any(axis=1)
    codes = paired[seen]
    before = LabelMatrix(("",) * len(codes), rounds, codes[:, : len(rounds)])
    after = LabelMatrix(("",) * len(codes), rounds, codes[:, len(rounds) :])
    by_round = tuple(_round_difference(before.codes[:, c], after.codes[:, c]) for c in range(len(rounds)))
    pooled: Difference | None = None
    si: Difference | None = None
    if shared:
        statistic = pooled_and_si(rounds)
        everyone = np.ones((1, len(codes)))
        values = [statistic(matrix.codes, everyone)[0] for matrix in (before, after)]
        variances = cluster_variance(codes, _less(statistic), replicates=replicates, seed=seed)
        pooled, si = (
            paired_difference(float(one), float(other), float(variance), queries, shared)
            for one, other, variance, queries in zip(*values, variances, query_counts(before), strict=True)
        )
    unpaired = (int(first.graded.sum()) - shared, int(second.graded.sum()) - shared)
    return correct_family([Comparison(rounds, by_round, pooled, si, unpaired)])[0]


def compare_twins(
    first: Iterable[tuple[str, int, str]],
    second: Iterable[tuple[str, int, str]],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> Difference | None:
    """The difference of two runs' `over_refusal`, over twins answered in both; None if there are none.

    Interval and p-value are those of the pooled ASR in `compare`. It belongs to the same family of tests:
    set it on the comparison (`over_refusal`), and correct that.
    """
    return compare(denials(first), denials(second), replicates=replicates, seed=seed).pooled


def correct_family(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with `p_adjusted` and `verdict` set for all their differences as one family.

    Use it when several pairs of runs are looked at together; one comparison alone is corrected already.
    """
    judged = iter(
        judge_family([d for c in comparisons for d in (*c.by_round, c.pooled, c.si, c.over_refusal)])
    )
    return tuple(
        replace(
            c,
            by_round=tuple(next(judged) for _ in c.by_round),
            pooled=next(judged),
            si=next(judged),
            over_refusal=next(judged),
        )
        for c in comparisons
    )


def judge_family(differences: Sequence[Difference | None]) -> tuple[Difference | None, ...]:
    """The differences with `p_adjusted` (Holm) and `verdict` set for all that there are as one family."""
    adjusted = iter(holm([difference.p_value for difference in differences if difference is not None]))

    def judged(difference: Difference | None) -> Difference | None:
        if difference is None:
            return None
        p = next(adjusted)
        verdict: Verdict = "cannot tell at this size"
        if p <= ALPHA:
            verdict = "higher" if difference.value > 0.0 else "lower"
        return replace(difference, p_adjusted=p, verdict=verdict)

    return tuple(map(judged, differences))


def over_refusal(
    twins: Iterable[tuple[str, int, str]], *, replicates: int = 2000, seed: int = 0
) -> Estimate | None:
    """Share of benign twins turned away, from `(query_id, turns, outcome)`, outcomes as in `Outcome`.

    Refused by the model, blocked by the provider and stopped by a moderator are all the same to who
    asked; errors are left out. The interval is that of a pooled ASR (`intervals.bootstrap`), clustered by
    query, with "turned away" in the place of unsafe. None when no twin was answered.
    """
    return bootstrap(denials(twins), replicates=replicates, seed=seed).pooled


def denials(twins: Iterable[tuple[str, int, str]]) -> LabelMatrix:
    """Benign twins by query and round: unsafe where turned away, ungraded where there was an error."""
    labels = dict.fromkeys(Outcome, Label.UNSAFE) | {
        Outcome.COMPLIED: Label.SAFE,
        Outcome.ERROR: Label.UNGRADED,
    }
    return label_matrix((query_id, turns, labels[Outcome(outcome)]) for query_id, turns, outcome in twins)


def _paired(first: LabelMatrix, second: LabelMatrix, rounds: Sequence[int]) -> Codes:
    """Codes of the shared queries, first run's rounds then second's; ungraded in one is ungraded in both."""
    row_of = {query_id: row for row, query_id in enumerate(second.query_ids)}
    rows = [(row, row_of[query_id]) for row, query_id in enumerate(first.query_ids) if query_id in row_of]
    picks = np.asarray(rows, dtype=np.intp).reshape(-1, 2)
    columns = np.asarray([(first.rounds.index(k), second.rounds.index(k)) for k in rounds], dtype=np.intp)
    columns = columns.reshape(-1, 2)
    ones = first.codes[np.ix_(picks[:, 0], columns[:, 0])]
    others = second.codes[np.ix_(picks[:, 1], columns[:, 1])]
    graded = (ones >= SAFE) & (others >= SAFE)
    return np.hstack([np.where(graded, codes, np.int8(UNGRADED)) for codes in (ones, others)])


def _less(statistic: Statistic) -> Statistic:
    """The second half's figures less the first half's."""

    def differences(rows: Codes, draws: Floats) -> Floats:
        ones, others = np.hsplit(rows, 2)
        return statistic(others, draws) - statistic(ones, draws)

    return differences


def _round_difference(ones: NDArray[np.int8], others: NDArray[np.int8]) -> Difference | None:
    graded = ones >= SAFE
    pairs = int(graded.sum())
    if pairs == 0:
        return None
    only_first = int(((ones == UNSAFE) & (others == SAFE)).sum())
    only_second = int(((ones == SAFE) & (others == UNSAFE)).sum())
    value = (only_second - only_first) / pairs
    variance = ((only_first + only_second) / pairs - value**2) / pairs
    found = paired_difference(
        float((ones == UNSAFE).sum() / pairs), float((others == UNSAFE).sum() / pairs), variance, pairs, pairs
    )
    return replace(
        found,
        p_value=mcnemar(only_first, only_second),
        detectable=detectable_difference(pairs, (only_first + only_second) / pairs),
    )


def paired_difference(
    first: float, second: float, variance: float, queries: float, samples: int
) -> Difference:
    """The difference of two shares seen on the same `samples`, not yet judged within its family.

    `variance` is that of second - first, `queries` how many independent pairs there are. Interval:
    `difference_interval`. p: the score of the same form, two-sided.
    """
    value = second - first
    score = queries * value / math.sqrt(queries**2 * variance + queries * value**2 + 1.0)
    detectable = (Z + _Z_POWER) * difference_error(variance, queries)
    return Difference(
        first=first,
        second=second,
        value=value,
        interval=difference_interval(value, variance, queries),
        p_value=math.erfc(abs(score) / math.sqrt(2.0)),
        p_adjusted=1.0,
        verdict="cannot tell at this size",
        detectable=detectable if detectable < 1.0 else None,
        samples=samples,
    )
