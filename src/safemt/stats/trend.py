"""How ASR changes with turns, when queries first turn unsafe, and how much ungraded samples could change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from safemt.stats.intervals import (
    Codes,
    Estimate,
    Interval,
    Statistic,
    cluster_variance,
    difference_interval,
    proportion,
)
from safemt.stats.metrics import SAFE, UNGRADED, UNSAFE, Floats, LabelMatrix, asr_by_round, safety_index

Direction = Literal["rises", "falls", "cannot tell at this size"]


@dataclass(frozen=True, slots=True)
class Trend:
    """How ASR changes with turns."""

    slope: Estimate | None
    """Change of ASR per doubling of the turns; None if no query is graded in two rounds."""
    direction: Direction
    """Whether the slope's interval lies above or below 0."""
    queries: int
    """Queries graded in two or more rounds; only these show a change."""


@dataclass(frozen=True, slots=True)
class FirstUnsafe:
    """In which round queries first turn unsafe: shares that, with `never`, add up to 1."""

    rounds: tuple[int, ...]
    by_round: tuple[Estimate | None, ...]
    """One per round; None if no query has a graded sample."""
    never: Estimate | None
    """Unsafe in none of its graded rounds."""
    queries: int
    """Queries with a graded sample."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure with all ungraded samples read as safe, and as unsafe."""

    if_safe: float
    if_unsafe: float


@dataclass(frozen=True, slots=True)
class UngradedBounds:
    """ASR and SI if every ungraded sample were safe, and if every one were unsafe.

    The bounds of ASR are strict. Those of SI are not: SI also depends on how much queries waver, so a mixture
    can lie slightly below `if_unsafe`. None where there is no sample.
    """

    rounds: tuple[int, ...]
    ungraded: tuple[int, ...]
    """Ungraded samples per round."""
    asr: tuple[Bound | None, ...]
    pooled: Bound | None
    si: Bound | None


def trend(matrix: LabelMatrix, *, replicates: int = 2000, seed: int = 0) -> Trend:
    """Least-squares slope of ASR over log2(turns) within queries, with a 95 % interval clustered by query.

    slope = Σ_q Σ_k (x_k - x̄_q) u_qk / Σ_q Σ_k (x_k - x̄_q)², with x = log2 k and u = 1 where unsafe, over the
    graded rounds of each query (the within or fixed-effects estimator, e.g. Wooldridge 2010, §10.5). With
    complete data it equals the slope of the plain regression; with gaps it does not confuse a change of
    queries with a change of turns. The interval is a `difference_interval` of the slope as a share of the
    steepest possible one, with the variance of the bootstrap. Rounds must be 1 or more.
    """
    rise, spread, steepest = _slopes(matrix.codes, matrix.rounds)
    moving = spread > 0.0
    queries = int(moving.sum())
    if queries == 0:
        return Trend(slope=None, direction="cannot tell at this size", queries=0)
    rise, spread = rise[moving], spread[moving]
    slope = float(rise.sum() / spread.sum())
    limit = float(steepest[moving].sum() / spread.sum())
    variances = cluster_variance(
        np.maximum(matrix.codes[moving], UNGRADED), _slope(matrix.rounds), replicates=replicates, seed=seed
    )
    size = float(spread.sum() ** 2 / (spread**2).sum())
    share = difference_interval(slope / limit, float(variances[0]) / limit**2, size)
    interval = Interval(low=share.low * limit, high=share.high * limit)
    direction: Direction = "cannot tell at this size"
    if interval.low > 0.0:
        direction = "rises"
    elif interval.high < 0.0:
        direction = "falls"
    return Trend(slope=Estimate(slope, interval), direction=direction, queries=queries)


def first_unsafe(matrix: LabelMatrix) -> FirstUnsafe:
    """Share of queries whose first unsafe graded round is k, for each k, and of those never unsafe.

    Each query counts once, so each share has Wilson's interval (1927). A query with ungraded earlier rounds
    may have turned unsafe before the round in which it is counted.
    """
    seen = matrix.graded.any(axis=1)
    queries = int(seen.sum())
    unsafe = matrix.unsafe[seen]
    first = (unsafe * (np.cumsum(unsafe, axis=1) == 1)).sum(axis=0)
    return FirstUnsafe(
        rounds=matrix.rounds,
        by_round=tuple(proportion(int(count), queries) for count in first),
        never=proportion(queries - int(first.sum()), queries),
        queries=queries,
    )


def ungraded_bounds(matrix: LabelMatrix) -> UngradedBounds:
    """`asr_by_round`, pooled ASR and `safety_index` with all ungraded samples read as safe, and as unsafe.

    These are the worst-case bounds of Manski (1989), which do not depend on why a sample is ungraded. Absent
    samples stay absent.
    """
    ungraded = matrix.codes == UNGRADED
    readings = [
        LabelMatrix(matrix.query_ids, matrix.rounds, np.where(ungraded, np.int8(code), matrix.codes))
        for code in (SAFE, UNSAFE)
    ]
    by_round = [asr_by_round(reading) for reading in readings]
    asr = tuple(
        None if math.isnan(low) else Bound(if_safe=float(low), if_unsafe=float(high))
        for low, high in zip(*by_round, strict=True)
    )
    pooled: Bound | None = None
    si: Bound | None = None
    samples = float(readings[0].graded.sum())
    indices = [safety_index(reading).value for reading in readings]
    if indices[0] is not None and indices[1] is not None:
        shares = [float(reading.unsafe.sum()) / samples for reading in readings]
        pooled = Bound(if_safe=shares[0], if_unsafe=shares[1])
        si = Bound(if_safe=indices[0], if_unsafe=indices[1])
    return UngradedBounds(
        rounds=matrix.rounds,
        ungraded=tuple(int(count) for count in ungraded.sum(axis=0)),
        asr=asr,
        pooled=pooled,
        si=si,
    )


def _slopes(codes: Codes, rounds: Sequence[int]) -> tuple[Floats, Floats, Floats]:
    """For each query, Σ (x - x̄) u, Σ (x - x̄)² and the largest possible Σ (x - x̄) u; each (Q,)."""
    x: Floats = np.log2(np.asarray(rounds, dtype=np.float64))
    graded = codes >= SAFE
    mean = (graded * x).sum(axis=1) / np.maximum(graded.sum(axis=1), 1)
    apart = np.where(graded, x - mean[:, np.newaxis], 0.0)
    rise: Floats = (apart * (codes == UNSAFE)).sum(axis=1)
    spread: Floats = (apart**2).sum(axis=1)
    steepest: Floats = np.maximum(apart, 0.0).sum(axis=1)
    return rise, spread, steepest


def _slope(rounds: Sequence[int]) -> Statistic:
    """The statistic (slope,) of reweighted queries, each graded in two rounds."""

    def statistic(rows: Codes, draws: Floats) -> Floats:
        rise, spread, _ = _slopes(rows, rounds)
        slopes: Floats = (draws @ rise / (draws @ spread))[:, np.newaxis]
        return slopes

    return statistic
