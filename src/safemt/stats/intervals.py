"""Confidence intervals for ASR and the Safety Index, clustered by query.

The rounds of a query are grown from the same question and image, so they are not independent: the unit of
sampling is the query with all its rounds. An interval has two parts:

* **Variance**, from a bootstrap that draws queries with replacement (Davison & Hinkley 1997, §3.8; Field &
  Welsh 2007). Queries with the same labels are interchangeable, so a draw is one multinomial over the
  distinct rows, and a replicate is a product of small matrices.
* **Shape**, from Wilson's score interval (Wilson 1927) with an effective number of queries instead of n
  (Kott & Carr 1997; recommended by Franco, Little, Louis & Slud 2019 for clustered proportions). That number
  is drawn towards the plain count of queries while events are few.

Percentile and BCa limits are not used. In simulations with 34 to 2,000 queries and rates of 2 to 98 % they
cover SI and pooled ASR in as little as 55 % of cases instead of 95 %, and give `[0, 0]` when every label is
safe. The intervals here cover SI and pooled ASR in 93-98 %, and pooled ASR in more where events are few and
the rounds of a query unrelated; `tests/stats/test_intervals.py` repeats the simulation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from safemt.core.errors import UsageError
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

# Weight, in queries, of the assumption that a query is a single yes or no; it matters while events are few.
# The smallest value that keeps the coverage of ASR and SI above 93 % from 34 queries on, in simulations.
_PRIOR_QUERIES: Final = 0.5

# Replicates are made in chunks of at most this many cells: 32 MB of counts.
_CHUNK_CELLS: Final = 1 << 22

Codes = NDArray[np.int8]
Statistic = Callable[[Codes, Floats], Floats]
"""From the distinct rows (U, C) and how often each is drawn (B, U) to the figures of each draw (B, S)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval at `LEVEL`; it includes its ends."""

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

    None where no sample is graded. With a single query the intervals of pooled ASR and SI are [0, 1], as one
    query does not show how queries differ.
    """

    rounds: tuple[int, ...]
    asr: tuple[Estimate | None, ...]
    """One per round; shares in [0, 1]."""
    graded: tuple[int, ...]
    """Graded samples per round."""
    pooled: Estimate | None
    """Unsafe / graded over all rounds."""
    pooled_size: float
    """The number of independent samples that the pooled ASR is worth; 0 without an estimate."""
    si: Estimate | None


def score_interval(share: float, size: float) -> Interval:
    """Wilson's interval (1927) for a share of `size` independent observations, which need not be whole.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n); for n = 0 its limit, [0, 1].
    """
    if size <= 0.0:
        return Interval(0.0, 1.0)
    scale = 1.0 + Z**2 / size
    centre = (share + Z**2 / (2.0 * size)) / scale
    half = Z * math.sqrt(max(0.0, share * (1.0 - share)) / size + Z**2 / (4.0 * size**2)) / scale
    return Interval(low=min(share, max(0.0, centre - half)), high=max(share, min(1.0, centre + half)))


def wilson(successes: int, n: int) -> Interval:
    """Wilson's interval (1927) for `successes` of `n` independent trials; [0, 1] if n is 0.

    Raises:
        UsageError: `impossible_counts`: there are more successes than trials.
    """
    if not 0 <= successes <= n:
        raise UsageError("impossible_counts", f"{successes} successes of {n} trials are impossible.")
    return score_interval(successes / n if n else 0.0, n)


def proportion(successes: int, n: int) -> Estimate | None:
    """successes / n with Wilson's interval; None if n is 0."""
    return Estimate(successes / n, wilson(successes, n)) if n else None


def effective_size(share: float, variance: float, queries: float) -> float:
    """The number n of independent observations that would give `share` the same `variance`.

    n = queries / ρ with ρ = (queries² · variance + κ) / (queries · p(1-p) + κ) and κ = ½ query. For κ → 0 it
    is p(1-p) / variance, the usual effective size (Kish 1965). κ keeps ρ near 1, one observation per query,
    when the data show hardly any events and so no variance.
    """
    events = queries * share * (1.0 - share)
    ratio = (queries**2 * variance + _PRIOR_QUERIES) / (events + _PRIOR_QUERIES)
    return queries / ratio


def share_estimate(share: float, variance: float, queries: float) -> Estimate:
    """A share with Wilson's interval at its `effective_size`; [0, 1] if there is a single query."""
    size = effective_size(share, variance, queries) if queries > 1.0 else 0.0
    return Estimate(share, score_interval(share, size))


def difference_error(variance: float, queries: float) -> float:
    """Standard error of a mean of paired differences in [-1, 1] from its `variance`; never 0.

    √(queries² · variance + 1) / (queries + 2): half a query is added at either extreme, as Agresti & Min
    (2005) add ½ to each cell of a paired table, so seeing no difference does not prove that there is none.
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
    """The distinct rows of `codes`, (U, C), and how often each occurs, (U,)."""
    rows, counts = np.unique(codes, axis=0, return_counts=True)
    return rows, counts.astype(np.int64)


def cluster_variance(codes: Codes, statistic: Statistic, *, replicates: int, seed: int) -> Floats:
    """Bootstrap variance of each figure of `statistic` over the rows of `codes`; shape (S,).

    Rows are queries, drawn with replacement, as many as there are. The order of the rows does not matter;
    equal seeds give equal results. `statistic` must be finite for every draw.

    Raises:
        UsageError: `too_few_replicates`: fewer than 2.
    """
    if replicates < 2:
        raise UsageError("too_few_replicates", f"{replicates} bootstrap replicates are too few: use 2.")
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
    """The statistic (pooled ASR, SI) of reweighted queries, each with a graded sample."""
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
    """The number of equal queries that pooled ASR and SI are worth; uneven rounds count less.

    Pooled ASR: (Σ_q m_q)² / Σ_q m_q², m_q being the graded samples of query q (Kish 1965). SI:
    (Σ_k weight_k / √n_k)⁻², n_k being the graded samples of round k, as if a query were unsafe in all rounds
    or none. Both equal the number of queries if every round of every query is graded. At least one sample
    must be graded.
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
    """Compute ASR of each round, pooled ASR and SI with 95 % intervals, clustered by query.

    A round holds one sample per query, so it has Wilson's interval. Pooled ASR and SI take their variance
    from the clustered bootstrap and their shape from `score_interval` at their `effective_size` (sources: see
    the module). For a scenario or method, pass its part of the matrix. Ungraded samples are left out;
    `trend.ungraded_bounds` shows how much they could change.
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
        # Absent and ungraded are equivalent here; one code for both makes fewer distinct rows.
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
        pooled = Estimate(share, score_interval(share, pooled_size))
        si = Estimate(index, score_interval(index, sizes[1]))
    return Uncertainty(
        rounds=matrix.rounds,
        asr=asr,
        graded=tuple(int(n) for n in graded),
        pooled=pooled,
        pooled_size=pooled_size,
        si=si,
    )
