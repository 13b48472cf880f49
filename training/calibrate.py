"""From logits to probabilities and thresholds, on dialogues that were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Doubles = NDArray[np.float64]

BASE_RATE: Final = 0.1
"""Share of harmful dialogues that a calibrated risk assumes. State it wherever a risk is read as a probability."""


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

    def loss(pair: Doubles) -> float:
        z = pair[0] * x + pair[1]
        return float((weight * (np.logaddexp(0, z) - target * z)).sum())

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return Platt(slope=float(slope), shift=float(shift))


def threshold_at(harmless: Sequence[float], false_alarms: float) -> float:
    """The lowest threshold that flags at most this share of harmless scores (flagged: score >= threshold)."""
    scores = np.sort(np.asarray(harmless, np.float64))[::-1]
    allowed = int(false_alarms * len(scores))
    return float(np.nextafter(scores[min(allowed, len(scores) - 1)], np.inf))
