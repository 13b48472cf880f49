"""Confidence intervals for ASR and the Safety Index, clustered by query.

The rounds of one query are grown from the same question and image, so they are not independent:
the unit of sampling is the query, and all its rounds move together. Two ingredients:

* **Variance** from a bootstrap that draws queries with replacement (Davison & Hinkley 1997, §3.8;
  Field & Welsh 2007). Queries with the same labels are interchangeable, so the draw is one
  multinomial over the distinct rows, and each replicate is a product of small matrices.
* **Shape** from the modified Jeffreys interval (Brown, Cai & DasGupta 2001) with an effective number of
  queries in the place of n (Kott & Carr 1997; Franco, Little, Louis & Slud 2019 recommend this for
  clustered proportions), and that number held towards the plain count of queries while events are few.

Neither percentile nor BCa limits are used. Simulated at 34 to 2,000 queries and rates of 2 to 98 %,
they cover SI and pooled ASR in as little as 55 % of cases instead of 95 %, and say `[0, 0]` when every
label is safe. The intervals here cover SI in 93-98 %, and pooled ASR in 93-98 %, or more where events
are few and the rounds of a query unrelated; `tests/core/test_intervals.py` repeats the simulation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from safemt.core.errors import UsageError
from safemt.stats.beta import beta_quantile
from safemt.stats.metrics import (
    UNGRADED,
    Floats,
    LabelMatrix,
    instability,
    round_weights,
    safety_index,
)

LEVEL: Final = 0.95
"""The confidence level of every interval."""
Z: Final = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0)

# Weight, in queries, of the assumption that a query is one yes or no, while events are few.
# The smallest value that keeps coverage of ASR and SI above 93 % from 34 queries on, by simulation.
_PRIOR_QUERIES: Final = 0.5

# Replicates are made in chunks of at most this many cells (32 MB of counts), whatever the data.
_CHUNK_CELLS: Final = 1 << 22
_ROUNDING: Final = 1e-9

Codes = NDArray[np.int8]
Statistic = Callable[[Codes, Floats], Floats]
"""From distinct rows (U, C) and how often each is drawn (B, U) to the figures of each draw (B, S)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval at `LEVEL`, ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """ASR by round, pooled ASR and SI of one label matrix, each with its interval.

    None where no sample is graded. With a single query the pooled and SI intervals are [0, 1]:
    one query shows nothing of how queries differ.
    """

    rounds: tuple[int, ...]
    asr: tuple[Estimate | None, ...]
    """One per round; shares in [0, 1]."""
    graded: tuple[int, ...]
    """Graded samples per round."""
    pooled: Estimate | None
    """Unsafe / graded over all rounds."""
    pooled_size: float
    """How many independent samples the pooled ASR is worth; 0 without an estimate."""
    si: Estimate | None


def share_interval(share: float, size: float) -> Interval:
    """The modified Jeffreys interval of a share seen in `size` independent observations (need not be whole).

    Quantiles of Beta(x + ½, n - x + ½), x = share · size, n = size; with no more than one event the lower end
    is 0, and with none the upper end is 1 - 0.025^(1/n); likewise at the other side. [0, 1] for n = 0. Brown,
    Cai & DasGupta (2001), §4.1. It covers at least 92 % of the time from 34 observations on, where Wilson's
    interval falls to 84 % when events are rare.
    """
    if size <= 0.0:
        return Interval(0.0, 1.0)
    low = _lower_end(share * size, size)
    high = 1.0 - _lower_end((1.0 - share) * size, size)
    return Interval(low=min(share, low), high=max(share, high))


def _lower_end(events: float, size: float) -> float:
    tail = (1.0 - LEVEL) / 2.0
    rest = max(0.0, size - events)
    if rest < _ROUNDING and size > 1.0:
        return float(tail ** (1.0 / size))
    if events <= 1.0 + _ROUNDING:
        return 0.0
    return beta_quantile(tail, events + 0.5, rest + 0.5)


def binomial_interval(successes: int, n: int) -> Interval:
    """`share_interval` for `successes` of `n` independent trials; [0, 1] when n is 0.

    Raises:
        UsageError: there are more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= n:
        raise UsageError(
            "impossible_count", f"{successes} successes of {n} trials: give 0 ≤ successes ≤ trials."
        )
    return share_interval(successes / n if n else 0.0, n)


def proportion(successes: int, n: int) -> Estimate | None:
    """successes / n with its `binomial_interval`; None when n is 0."""
    return Estimate(successes / n, binomial_interval(successes, n)) if n else None


def effective_size(share: float, variance: float, queries: float) -> float:
    """The number n of independent observations that would give `share` the same `variance`.

    n = queries / ρ with ρ = (queries² · variance + κ) / (queries · p(1-p) + κ), κ = ½ query. As κ → 0
    this is p(1-p) / variance, the usual effective size (Kish 1965); κ holds ρ at 1, one query one
    observation, when the data show next to no events and so no variance.
    """
    events = queries * share * (1.0 - share)
    ratio = (queries**2 * variance + _PRIOR_QUERIES) / (events + _PRIOR_QUERIES)
    return queries / ratio


def difference_error(variance: float, queries: float) -> float:
    """Standard error of a mean of paired differences in [-1, 1] from its `variance`, never 0.

    √(queries² · variance + 1) / (queries + 2): half a query is added at either extreme, as Agresti & Min
    (2005) add ½ to each cell of a paired table, so that no difference seen is not taken for none there.
    """
    return math.sqrt(queries**2 * variance + 1.0) / (queries + 2.0)


def difference_interval(value: float, variance: float, queries: float) -> Interval:
    """Interval for a mean of paired differences in [-1, 1]: Agresti & Min (2005), clustered by query.

    value · queries / (queries + 2) ± z · `difference_error`, clipped; [-1, 1] for a single query.
    """
    if queries <= 1.0:
        return Interval(-1.0, 1.0)
    centre = value * queries / (queries + 2.0)
    half = Z * difference_error(variance, queries)
    return Interval(low=max(-1.0, min(value, centre - half)), high=min(1.0, max(value, centre + half)))


def distinct(codes: Codes) -> tuple[Codes, NDArray[np.int64]]:
    """The distinct rows of `codes` and how many rows are alike: shapes (U, C) and (U,)."""
    rows, counts = np.unique(codes, axis=0, return_counts=True)
    return rows, counts.astype(np.int64)


def cluster_variance(codes: Codes, statistic: Statistic, *, replicates: int, seed: int) -> Floats:
    """Bootstrap variance of each figure of `statistic` when rows of `codes` are drawn anew; shape (S,).

    Rows are queries: as many are drawn, with replacement, as there are. The order of rows does not
    matter; equal seeds give equal results. `statistic` must be finite for every draw.
    """
    if replicates < 2:
        raise UsageError(f"{replicates} bootstrap replicates show no variance: ask for 2 or more.")
    rows, counts = distinct(codes)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // len(rows))
    figures = []
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        draws = generator.multinomial(len(codes), counts / len(codes), size=size)
        figures.append(statistic(rows, draws.astype(np.float64)))
    variance: Floats = np.concatenate(figures).var(axis=0, ddof=1)
    return variance


def pooled_and_si(rounds: Sequence[int]) -> Statistic:
    """The statistic (pooled ASR, SI) of reweighted queries; each must have a graded sample."""
    round_weight = round_weights(rounds)

    def statistic(rows: Codes, draws: Floats) -> Floats:
        matrix = LabelMatrix(query_ids=("",) * len(rows), rounds=tuple(rounds), codes=rows)
        unsafe, graded = draws @ matrix.unsafe, draws @ matrix.graded
        asr = unsafe / np.maximum(graded, 1.0)
        weight = round_weight * (graded > 0)
        attack_free = 1.0 - (weight * asr).sum(axis=1) / weight.sum(axis=1)
        steadiness = 1.0 - draws @ instability(matrix) / draws.sum(axis=1)
        return np.stack([unsafe.sum(axis=1) / graded.sum(axis=1), attack_free * steadiness], axis=1)

    return statistic


def query_counts(matrix: LabelMatrix) -> tuple[float, float]:
    """How many queries of one kind stand behind the pooled ASR and behind SI; uneven rounds count less.

    Pooled: (Σ_q m_q)² / Σ_q m_q², m_q the graded samples of query q (Kish 1965). SI: with n_k the
    graded samples of round k, (Σ_k weight_k / √n_k)⁻², as if a query were unsafe in all rounds or none.
    Both are the number of queries when every round of every query is graded. At least one sample must be.
    """
    per_query: Floats = matrix.graded.sum(axis=1)
    per_round: Floats = matrix.graded.sum(axis=0)
    weights = round_weights([k for k, n in zip(matrix.rounds, per_round.tolist(), strict=True) if n > 0])
    pooled = per_query.sum() ** 2 / (per_query**2).sum()
    return float(pooled), float((weights / np.sqrt(per_round[per_round > 0])).sum() ** -2.0)


def graded_queries(matrix: LabelMatrix) -> LabelMatrix:
    """The queries with at least one graded sample."""
    kept = np.flatnonzero(matrix.graded.any(axis=1))
    ids = tuple(matrix.query_ids[row] for row in kept)
    return LabelMatrix(query_ids=ids, rounds=matrix.rounds, codes=matrix.codes[kept])


def bootstrap(matrix: LabelMatrix, *, replicates: int = 2000, seed: int = 0) -> Uncertainty:
    """ASR of each round, pooled ASR and SI with 95 % intervals, clustered by query.

    A round holds one sample per query, so there is nothing to cluster: `binomial_interval`. Pooled ASR
    and SI take their variance from the clustered bootstrap and their shape from `share_interval` at
    their `effective_size`. Any grouping (scenario, method) is the same call on a smaller matrix.
    Sources: see the module. Ungraded samples are left out; `trend.ungraded_bounds` shows what they hide.
    """
    seen = graded_queries(matrix)
    graded = seen.graded.sum(axis=0)
    unsafe = seen.unsafe.sum(axis=0)
    asr = tuple(proportion(int(hits), int(n)) for hits, n in zip(unsafe, graded, strict=True))
    pooled: Estimate | None = None
    si: Estimate | None = None
    pooled_size = 0.0
    index = safety_index(seen).value
    if index is not None:
        # Absent and ungraded are the same thing here; as one code they make fewer distinct rows.
        codes = np.maximum(seen.codes, UNGRADED)
        share = float(unsafe.sum() / graded.sum())
        sizes = (0.0, 0.0)
        if len(seen.query_ids) > 1:
            variances = cluster_variance(codes, pooled_and_si(seen.rounds), replicates=replicates, seed=seed)
            counts = query_counts(seen)
            sizes = (
                effective_size(share, float(variances[0]), counts[0]),
                effective_size(index, float(variances[1]), counts[1]),
            )
        pooled_size = sizes[0]
        pooled = Estimate(share, share_interval(share, pooled_size))
        si = Estimate(index, share_interval(index, sizes[1]))
    return Uncertainty(
        rounds=matrix.rounds,
        asr=asr,
        graded=tuple(int(n) for n in graded),
        pooled=pooled,
        pooled_size=pooled_size,
        si=si,
    )
