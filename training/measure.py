"""How well scores tell harmful dialogues from harmless ones; intervals by a bootstrap over clusters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.calibrate import threshold_at

Doubles = NDArray[np.float64]
REPLICATES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of one class, with the cluster that each dialogue belongs to."""

    scores: Doubles
    clusters: Sequence[str]


def auroc(harmful: Doubles, harmless: Doubles) -> float:
    """The probability that a harmful score is above a harmless one; ties count half."""
    ordered = np.sort(harmless)
    below = np.searchsorted(ordered, harmful, side="left")
    level = np.searchsorted(ordered, harmful, side="right") - below
    return float((below + 0.5 * level).mean() / len(harmless))


def auprc(harmful: Doubles, harmless: Doubles) -> float:
    """Average precision."""
    scores = np.concatenate([harmful, harmless])
    order = np.argsort(-scores, kind="stable")
    hit = order < len(harmful)
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].mean())


def recall_at(false_alarms: float) -> Callable[[Doubles, Doubles], float]:
    """Recall at the lowest threshold that flags at most this share of the harmless scores."""

    def measured(harmful: Doubles, harmless: Doubles) -> float:
        return float((harmful >= threshold_at(list(harmless), false_alarms)).mean())

    return measured


MEASURES: Final[Mapping[str, Callable[[Doubles, Doubles], float]]] = {
    "auroc": auroc,
    "auprc": auprc,
    "recall_at_1": recall_at(0.01),
    "recall_at_5": recall_at(0.05),
}


def compare(harmful: Scored, harmless: Scored, *, seed: int = 0) -> dict[str, list[float]]:
    """Every measure with its 95 % interval: [value, low, high]."""
    chance = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(REPLICATES):
        one, other = _resampled(harmful, chance), _resampled(harmless, chance)
        for name, measured in MEASURES.items():
            draws[name].append(measured(one, other))
    return {
        name: [round(float(x), 4) for x in (measured(harmful.scores, harmless.scores), *_ends(draws[name]))]
        for name, measured in MEASURES.items()
    }


def share(scored: Scored, threshold: float, *, seed: int = 0) -> list[float]:
    """The share of scores at or above a threshold with its 95 % interval."""
    chance = np.random.default_rng(seed)
    flagged = Scored(scores=(scored.scores >= threshold).astype(np.float64), clusters=scored.clusters)
    draws = [float(_resampled(flagged, chance).mean()) for _ in range(REPLICATES)]
    return [round(float(x), 4) for x in (flagged.scores.mean(), *_ends(draws))]


def _resampled(scored: Scored, chance: np.random.Generator) -> Doubles:
    names, place = np.unique(np.asarray(scored.clusters), return_inverse=True)
    drawn = np.bincount(chance.integers(0, len(names), len(names)), minlength=len(names))
    return np.repeat(scored.scores, drawn[place])


def _ends(draws: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(draws), [0.025, 0.975])
    return float(low), float(high)
