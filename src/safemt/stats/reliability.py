"""Whether a risk can be read as a probability: reliability, calibration error, Brier score.

The figures hold only for the mix of harmful and benign dialogues that they were measured on: a risk that is
right where half of the dialogues are harmful is far too high where one in a thousand is.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from safemt.core.errors import UsageError
from safemt.stats.clusters import cluster_bootstrap, clustered_mean, clustered_share
from safemt.stats.detection import Scored
from safemt.stats.intervals import Estimate, share_estimate
from safemt.stats.metrics import Floats

BINS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Dialogues of similar risk."""

    low: float
    high: float
    """Risks in [low, high); the last bin includes its upper end."""
    dialogues: int
    risk: float
    """Their mean risk."""
    harmful: Estimate
    """The share of them that is harmful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How close risks are to probabilities; None without dialogues."""

    bins: tuple[ReliabilityBin, ...]
    """Those with dialogues."""
    error: Estimate | None
    """Expected calibration error: Σ_b n_b / N · |share harmful - mean risk|."""
    brier: Estimate | None
    """Mean of (risk - harmful)²: 0 is best, 0.25 is a risk of ½ for everything."""


def reliability(data: Scored, *, replicates: int = 2000, seed: int = 0) -> Reliability:
    """Compute reliability in ten bins of equal width, expected calibration error and Brier score.

    Error: Naeini, Cooper & Hauskrecht (2015), with the variance of `cluster_bootstrap`. It is too high where
    bins hold few dialogues, as chance alone separates share and risk there. Score: Brier (1950), with the
    interval of `clustered_mean`. Bins have that of `clustered_share`.

    Raises:
        UsageError: `not_a_probability`: a risk lies outside [0, 1].
    """
    if not len(data.risk):
        return Reliability(bins=(), error=None, brier=None)
    if data.risk.min() < 0.0 or data.risk.max() > 1.0:
        raise UsageError("not_a_probability", "A risk outside [0, 1] cannot be read as a probability.")
    place = np.minimum((data.risk * BINS).astype(np.intp), BINS - 1)
    apart = np.eye(BINS)[place] * (data.harmful - data.risk)[:, np.newaxis]

    def error(draws: Floats) -> Floats:
        gaps: Floats = np.abs(draws @ apart).sum(axis=1, keepdims=True) / draws.sum(axis=1, keepdims=True)
        return gaps

    everyone = np.ones((1, len(data.risk)))
    variance = cluster_bootstrap(data.cluster, data.harmful, error, replicates=replicates, seed=seed)
    clusters = data.harmful_clusters + data.benign_clusters
    bins = [
        ReliabilityBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            dialogues=int(members.sum()),
            risk=math.fsum(data.risk[members]) / int(members.sum()),
            harmful=share,
        )
        for number in range(BINS)
        if (share := clustered_share(data.harmful[members := place == number], data.cluster[members]))
    ]
    return Reliability(
        bins=tuple(bins),
        error=share_estimate(float(error(everyone)[0, 0]), float(variance[0]), clusters),
        brier=clustered_mean((data.risk - data.harmful) ** 2, data.cluster, low=0.0, high=1.0),
    )
