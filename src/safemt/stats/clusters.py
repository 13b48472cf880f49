"""Figures over clusters: dialogues grown from the same query or template are not independent.

As in `safemt.stats.intervals`, a variance that takes the clusters into account gives an effective size, and
Wilson's interval at that size gives the shape. It holds near 0 and 1, where percentiles fail.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from safemt.core.errors import UsageError
from safemt.stats.intervals import Estimate, Interval, share_estimate
from safemt.stats.metrics import Floats

# Replicates are made in chunks of at most this many cells: 16 MB for each of a few arrays.
_CHUNK_CELLS: Final = 1 << 21

Bools = NDArray[np.bool_]
Places = NDArray[np.intp]


def numbered(names: Sequence[str]) -> Places:
    """Number clusters from 0 in order of first appearance; `names` has the cluster of each item."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.asarray([numbers[name] for name in names], dtype=np.intp)


def independent(cluster: Places) -> float:
    """The number of independent items that clusters are worth: (Σ m_c)² / Σ m_c² (Kish 1965); 0 for none."""
    sizes = np.bincount(cluster).astype(np.float64) if len(cluster) else np.zeros(1)
    return float(sizes.sum() ** 2 / max(1.0, (sizes**2).sum()))


def clustered_share(hits: Bools, cluster: Places) -> Estimate | None:
    """The share of `hits` with an interval clustered by `cluster`, both of shape (N,); None for N = 0.

    Variance: that of a ratio by linearisation (Kish 1965), G / (G - 1) · Σ_c (Σ_{i in c} (hit_i - p))² / N².
    Shape: Wilson's interval at the `effective_size`; with one item per cluster it is close to Wilson's own.
    """
    return _clustered(hits.astype(np.float64), cluster) if len(hits) else None


def clustered_mean(values: Floats, cluster: Places, *, low: float, high: float) -> Estimate | None:
    """The mean of `values` within [low, high], with its interval; None without values.

    The interval is that of the share (mean - low) / (high - low) with its own variance, as in
    `clustered_share`: no variable in [0, 1] varies more than a yes or no with the same mean.
    """
    if not len(values):
        return None
    width = high - low
    if width == 0.0:
        return Estimate(low, Interval(low, low))
    share = _clustered((values - low) / width, cluster)
    return mapped(share, lambda at: low + width * at)


def mapped(estimate: Estimate, rising: Callable[[float], float]) -> Estimate:
    """The estimate of a figure that rises with the estimated one."""
    interval = estimate.interval
    return Estimate(rising(estimate.value), Interval(rising(interval.low), rising(interval.high)))


def cluster_bootstrap(
    cluster: Places,
    harmful: Bools,
    statistic: Callable[[Floats], Floats],
    *,
    replicates: int,
    seed: int,
) -> Floats:
    """Bootstrap variance of each figure of `statistic` over clusters of dialogues; shape (S,).

    `statistic` turns how often each dialogue is drawn, (B, N), into the figures of each draw, (B, S).
    Clusters are drawn with replacement, as many as there are, within their kind: those with only harmful
    dialogues, with only benign ones, and with both. So every draw holds both classes if the data do.
    Source: Davison & Hinkley (1997), §3.8.

    Raises:
        UsageError: `too_few_replicates`: fewer than 2.
    """
    if replicates < 2:
        raise UsageError("too_few_replicates", f"{replicates} bootstrap replicates are too few: use 2.")
    figures = [statistic(draws[:, cluster]) for draws in _draws(cluster, harmful, replicates, seed)]
    variance: Floats = np.concatenate(figures).var(axis=0, ddof=1)
    return variance


def _draws(cluster: Places, harmful: Bools, replicates: int, seed: int) -> Iterator[Floats]:
    """How often each cluster is drawn, in chunks of replicates of shape (b, C)."""
    clusters = int(cluster.max()) + 1
    with_harmful = np.bincount(cluster[harmful], minlength=clusters) > 0
    with_benign = np.bincount(cluster[~harmful], minlength=clusters) > 0
    kinds = with_harmful + 2 * with_benign
    strata = [np.flatnonzero(kinds == each) for each in np.unique(kinds)]
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // len(cluster))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        draws = np.zeros((size, clusters))
        for members in strata:
            picks = generator.integers(len(members), size=(size, len(members)))
            picks += len(members) * np.arange(size)[:, np.newaxis]
            counts = np.bincount(picks.ravel(), minlength=size * len(members))
            draws[:, members] = counts.reshape(size, len(members))
        yield draws


def _clustered(values: Floats, cluster: Places) -> Estimate:
    mean = float(values.mean())
    sums = np.bincount(cluster, values - mean)
    groups = len(np.unique(cluster))
    variance = float(sums @ sums) / len(values) ** 2 * groups / max(1, groups - 1)
    return share_estimate(mean, variance, independent(cluster))
