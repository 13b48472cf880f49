"""From logits to probabilities and thresholds, on dialogues that were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

BASE_RATE: Final = 0.1
"""Share of harmful dialogues that a calibrated risk assumes; with another share it only ranks."""

NEWTON_STEPS: Final = 50
LONGEST_STEP: Final = 1.0
RIDGE: Final = 1e-3
"""Holds the fit in place where the classes do not overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platt:
    """risk = 1 / (1 + exp(-(slope * logit + shift)))."""

    slope: float
    shift: float

    def risk(self, logits: Doubles) -> Doubles:
        """Probabilities for logits of any shape."""
        found: Doubles = 1.0 / (1.0 + np.exp(-np.clip(self.slope * logits + self.shift, -60, 60)))
        return found


def fit_platt(logits: Sequence[float], harmful: Sequence[float], *, base_rate: float = BASE_RATE) -> Platt:
    """Maximum likelihood, with both classes reweighted to `base_rate`.

    Source: Platt (1999), "Probabilistic outputs for support vector machines", with his smoothed targets.
    """
    x, y = np.asarray(logits, np.float64), np.asarray(harmful, np.float64) > 0.5
    weight = np.where(y, base_rate / max(1, y.sum()), (1 - base_rate) / max(1, (~y).sum()))
    target = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))

    pair = np.array([1.0, 0.0])
    for _ in range(NEWTON_STEPS):
        p = Platt(slope=pair[0], shift=pair[1]).risk(x)
        off, bend = weight * (p - target), weight * p * (1 - p)
        gradient = np.array([(off * x).sum(), off.sum()]) + RIDGE * np.array([pair[0] - 1.0, 0.0])
        curve = np.array(
            [[(bend * x * x).sum() + RIDGE, (bend * x).sum()], [(bend * x).sum(), bend.sum() + RIDGE]]
        )
        step = np.linalg.solve(curve, gradient)
        pair = pair - step * min(1.0, LONGEST_STEP / max(1e-12, float(np.abs(step).max())))
    return Platt(slope=float(pair[0]), shift=float(pair[1]))


def threshold_at(harmless: Sequence[float] | Doubles, false_alarms: float) -> float:
    """The lowest threshold that flags at most this share of harmless scores (flagged: score >= threshold)."""
    scores = np.sort(np.asarray(harmless, np.float64))[::-1]
    allowed = int(false_alarms * len(scores))
    return float(np.nextafter(scores[min(allowed, len(scores) - 1)], np.inf))
