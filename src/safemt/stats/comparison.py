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
    bootstrap,
    cluster_variance,
    difference_interval,
    pooled_and_si,
    query_counts,
)
from safemt.stats.metrics import SAFE, UNGRADED, UNSAFE, Floats, LabelMatrix, label_matrix

ALPHA: Final = 0.05
POWER: Final = 0.8
_Z_POWER: Final = NormalDist().inv_cdf(POWER)

Verdict = Literal["higher", "lower", "cannot tell at this size", "too few to tell", "not tested"]


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
    """Whether the second is higher or lower than the first: `p_adjusted` ≤ 0.05. `too few to tell` below
    `needed` pairs: then not even a difference of 1 could give a verdict. `not tested`: p is small, but this
    figure counts only where the primary ASR differs."""
    detectable: float | None
    """The smallest true difference that leads to a verdict in 80 % of cases at this size and in this family;
    None when no difference does."""
    samples: int
    """Pairs of samples graded in both runs."""
    pairs: float
    """Independent pairs: queries."""
    discordant: float
    """The mean square of the pairs' differences; for yes and no, the share of pairs that differ."""
    exact: bool
    """Whether p is the mid-p of McNemar's test (one round), not of the score test."""
    needed: int = 0
    """From how many pairs on a verdict is possible in this family."""
    primary: bool = False
    """Whether it is one of the primary comparisons, which form a family of their own."""


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


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a model lets through and what it turns away, both shares in [0, 1]; the lower both, the better."""

    asr: Estimate | None
    over_refusal: Estimate | None


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided mid-p of McNemar's test, from the pairs unsafe in one run only.

    P(X < m) + ½ P(X = m), doubled, X ~ Binomial(b + c, ½), m the smaller of b and c; in whole numbers and so
    exact at any size. McNemar (1947); the mid-p keeps its level and has the power that the exact form lacks
    (Fagerland, Lydersen & Laake 2013).
    """
    discordant = only_first + only_second
    ways, below = 1, 0
    for count in range(min(only_first, only_second)):
        below += ways
        ways = ways * (discordant - count) // (count + 1)
    return min(1.0, (2 * below + ways) / (1 << discordant))


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


def detectable_difference(pairs: float, discordant: float, *, alpha: float = ALPHA) -> float | None:
    """The smallest difference δ of two paired shares found with 80 % power at a two-sided level `alpha`.

    δ solves pairs · δ² = (z_α √ψ + z_β √(ψ - δ²))² (Connor 1987), ψ the `discordant` share of the pairs.
    Where that δ exceeds ψ, so much discordance cannot be, and ψ = δ is taken: all of it one way. None where
    no difference is large enough.
    """
    z = _z_of(alpha)
    if pairs < z**2:
        return None
    scale = pairs + _Z_POWER**2
    root = math.sqrt(discordant * (pairs - z**2 + _Z_POWER**2))
    difference = (z * math.sqrt(pairs * discordant) + _Z_POWER * root) / scale
    if 0.0 < difference <= discordant:
        return difference
    one_way = (math.sqrt((z * _Z_POWER) ** 2 + scale * (pairs - z**2)) - z * _Z_POWER) / scale
    return 1.0 - one_way**2


def detectable_by_score(
    pairs: float, variance: float, *, per_pair: float = 1.0, alpha: float = ALPHA
) -> float | None:
    """The smallest mean δ of paired differences that the score test finds with 80 % power at level `alpha`.

    δ solves n δ = z_α √(n (σ² + δ²) + 1) + z_β √n σ, n the `pairs` and σ² the `variance` of one pair's
    difference, or δ / m - δ² if that is more: the variance when each of the m samples of a pair turns or does
    not. None where no difference up to 1 is large enough.
    """
    z = _z_of(alpha)

    def short(delta: float) -> bool:
        spread = max(variance, delta / per_pair - delta**2, 0.0)
        noise = z * math.sqrt(pairs * (spread + delta**2) + 1.0) + _Z_POWER * math.sqrt(pairs * spread)
        return pairs * delta < noise

    if short(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if short(middle) else (low, middle)
    return high


def needed_pairs(*, alpha: float, exact: bool) -> int:
    """From how many pairs on the largest difference, 1, gives a p of `alpha` or less.

    All n pairs differ one way: McNemar's mid-p is 2^-n, the score n / √(n + 1).
    """
    if exact:
        return math.ceil(math.log2(1.0 / alpha) - 1e-9)
    z = _z_of(alpha)
    return math.ceil((z**2 + math.sqrt(z**4 + 4.0 * z**2)) / 2.0 - 1e-9)


def _z_of(alpha: float) -> float:
    return NormalDist().inv_cdf(1.0 - alpha / 2.0)


def compare(
    first: LabelMatrix,
    second: LabelMatrix,
    *,
    primary: int | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Differences of ASR by round, pooled ASR and SI between two runs, as one family of tests.

    Matched by query and round; a pair counts when both labels are graded. Interval: `difference_interval`,
    its variance exact within a round and from a bootstrap of queries (pairs and rounds move together)
    for pooled ASR and SI. p-value: `mcnemar` within a round; else a score test,
    z = nD / √(n² · variance + n D² + 1), D the difference and n the queries, which is McNemar's in large
    samples and kept from over-confidence in small ones. The pooled ASR is the primary comparison, or the ASR
    of the round `primary`: `correct_family` says what that means.
    """
    before, after = shared(first, second)
    rounds = before.rounds
    codes = np.hstack([before.codes, after.codes])
    samples = int(before.graded.sum())
    by_round = tuple(_round_difference(before.codes[:, c], after.codes[:, c]) for c in range(len(rounds)))
    pooled: Difference | None = None
    si: Difference | None = None
    if samples:
        statistic = pooled_and_si(rounds)
        everyone = np.ones((1, len(codes)))
        values = [statistic(matrix.codes, everyone)[0] for matrix in (before, after)]
        variances = cluster_variance(codes, _less(statistic), replicates=replicates, seed=seed)
        pooled, si = (
            paired_difference(float(one), float(other), float(variance), queries, samples)
            for one, other, variance, queries in zip(*values, variances, query_counts(before), strict=True)
        )
    unpaired = (int(first.graded.sum()) - samples, int(second.graded.sum()) - samples)
    if primary in rounds:
        place = rounds.index(primary)
        by_round = tuple(_primary(d) if c == place else d for c, d in enumerate(by_round))
    else:
        pooled = _primary(pooled)
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
    """The comparisons with `p_adjusted`, `verdict` and `detectable` set for all their differences.

    The primary differences (ASR and over-refusal of each comparison) are one family, corrected by Holm. The
    others are a second family, and count only where the primary ASR differs (a gatekeeper: Westfall & Krishen
    2001), so that equal models are called different in at most 5 % of cases, and looking at rounds costs the
    primary comparison no power. Use it when several pairs of runs are looked at together; one comparison
    alone is corrected already.
    """
    listed = [d for c in comparisons for d in (*c.by_round, c.pooled, c.si, c.over_refusal)]
    judged = iter(judge_family(listed))
    found = []
    for c in comparisons:
        *by_round, pooled, si = (next(judged) for _ in (*c.by_round, c.pooled, c.si))
        keeper = next((d for d in (pooled, *by_round) if d is not None and d.primary), None)
        found.append(
            replace(
                c,
                by_round=tuple(_gated(d, keeper) for d in by_round),
                pooled=_gated(pooled, keeper),
                si=_gated(si, keeper),
                over_refusal=next(judged),
            )
        )
    return tuple(found)


def _gated(difference: Difference | None, keeper: Difference | None) -> Difference | None:
    """A difference whose verdict counts only where its `keeper` has one."""
    if difference is None or keeper is None or keeper.p_adjusted <= ALPHA:
        return difference
    told = difference.primary or difference.verdict not in ("higher", "lower")
    return difference if told else replace(difference, verdict="not tested")


def judge_family(differences: Sequence[Difference | None]) -> tuple[Difference | None, ...]:
    """The differences with p-values adjusted (Holm 1979), verdicts and detectable differences.

    Primary differences are one family, the others another. What is detectable is what a verdict would find if
    it came first in its family: at level 0.05 divided by the number of differences in it.
    """
    judged = list(differences)
    for primary in (True, False):
        family = [(n, d) for n, d in enumerate(differences) if d is not None and d.primary is primary]
        adjusted = holm([difference.p_value for _, difference in family])
        for (place, difference), p in zip(family, adjusted, strict=True):
            judged[place] = _judged(difference, p, ALPHA / len(family))
    return tuple(judged)


def _judged(difference: Difference, p_adjusted: float, alpha: float) -> Difference:
    needed = needed_pairs(alpha=alpha, exact=difference.exact)
    verdict: Verdict = "cannot tell at this size"
    if difference.pairs < needed:
        verdict = "too few to tell"
    elif p_adjusted <= ALPHA:
        verdict = "higher" if difference.value > 0.0 else "lower"
    detectable: float | None = None
    if difference.pairs >= needed and difference.exact:
        detectable = detectable_difference(difference.pairs, difference.discordant, alpha=alpha)
    elif difference.pairs >= needed:
        detectable = detectable_by_score(
            difference.pairs,
            max(0.0, difference.discordant - difference.value**2),
            per_pair=max(1.0, difference.samples / difference.pairs),
            alpha=alpha,
        )
    return replace(difference, p_adjusted=p_adjusted, verdict=verdict, detectable=detectable, needed=needed)


def _primary(difference: Difference | None) -> Difference | None:
    return None if difference is None else replace(difference, primary=True)


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


def operating_point(
    harmful: LabelMatrix, twins: Iterable[tuple[str, int, str]], *, replicates: int = 2000, seed: int = 0
) -> OperatingPoint:
    """Pooled ASR on harmful samples beside `over_refusal` on benign twins."""
    return OperatingPoint(
        asr=bootstrap(harmful, replicates=replicates, seed=seed).pooled,
        over_refusal=over_refusal(twins, replicates=replicates, seed=seed),
    )


def shared(first: LabelMatrix, second: LabelMatrix) -> tuple[LabelMatrix, LabelMatrix]:
    """Both runs on the queries and rounds of both; what is ungraded in one is ungraded in both.

    Queries without a shared graded sample are left out.
    """
    rounds = tuple(k for k in first.rounds if k in second.rounds)
    row_of = {query_id: row for row, query_id in enumerate(second.query_ids)}
    both = [(row, row_of[query_id]) for row, query_id in enumerate(first.query_ids) if query_id in row_of]
    rows = np.asarray(both, dtype=np.intp).reshape(-1, 2)
    columns = [np.asarray([m.rounds.index(k) for k in rounds], dtype=np.intp) for m in (first, second)]
    codes = [
        matrix.codes[np.ix_(rows[:, side], columns[side])] for side, matrix in enumerate((first, second))
    ]
    graded = (codes[0] >= SAFE) & (codes[1] >= SAFE)
    kept = graded.any(axis=1)
    names = tuple(first.query_ids[row] for row in rows[kept, 0])
    one, other = (
        LabelMatrix(names, rounds, np.where(graded, each, np.int8(UNGRADED))[kept]) for each in codes
    )
    return one, other


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
    only_first = int(((ones == UNSAFE) & (others != UNSAFE) & graded).sum())
    only_second = int(((ones != UNSAFE) & (others == UNSAFE) & graded).sum())
    value = (only_second - only_first) / pairs
    variance = ((only_first + only_second) / pairs - value**2) / pairs
    found = paired_difference(
        float(((ones == UNSAFE) & graded).sum() / pairs),
        float(((others == UNSAFE) & graded).sum() / pairs),
        variance,
        pairs,
        pairs,
    )
    return replace(found, p_value=mcnemar(only_first, only_second), exact=True)


def paired_difference(
    first: float, second: float, variance: float, queries: float, samples: int
) -> Difference:
    """The difference of two shares seen on the same `samples`, not yet judged within its family.

    `variance` is that of second - first, `queries` how many independent pairs there are. Interval:
    `difference_interval`, or [-1, 1] where so few pairs never give a verdict. p: the score of the same form,
    two-sided.
    """
    value = second - first
    score = queries * value / math.sqrt(queries**2 * variance + queries * value**2 + 1.0)
    few = queries < needed_pairs(alpha=ALPHA, exact=False)
    return Difference(
        first=first,
        second=second,
        value=value,
        interval=Interval(-1.0, 1.0) if few else difference_interval(value, variance, queries),
        p_value=math.erfc(abs(score) / math.sqrt(2.0)),
        p_adjusted=1.0,
        verdict="cannot tell at this size",
        detectable=None,
        samples=samples,
        pairs=queries,
        discordant=queries * variance + value**2,
        exact=False,
    )
