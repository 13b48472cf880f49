"""Quantiles of times, with intervals that do not assume a distribution."""

import math
from collections.abc import Sequence

import numpy as np

from safemt.stats.intervals import Estimate, Interval, Z


def quantile(values: Sequence[float], share: float) -> Estimate | None:
    """The value that a `share` of `values` does not exceed, with a 95 % interval; None without values.

    Value: the ⌈share · n⌉-th of the n sorted values. The interval lies between the order statistics of the
    ranks share · n ± z √(share (1 - share) n), rounded outwards, as the rank of the true quantile is binomial
    (David & Nagaraja 2003, §7.1). If the upper rank is beyond n, the interval ends at the highest value seen,
    and the true quantile may lie above it.
    """
    if not values:
        return None
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    half = Z * math.sqrt(share * (1.0 - share) * n)

    def at(rank: float) -> float:
        return float(ordered[min(n, max(1, int(rank))) - 1])

    value = at(math.ceil(share * n - 1e-9))
    return Estimate(
        value,
        Interval(low=min(value, at(math.floor(share * n - half))), high=at(math.ceil(share * n + half) + 1)),
    )
