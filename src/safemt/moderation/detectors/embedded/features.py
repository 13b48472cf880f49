"""From the encoder's vectors of one user turn to what the head reads. Training and run time both use it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HARM: Final = 0
"""Reading of a vector: does the text ask for harm?"""
SUPPORT: Final = 1
"""Reading of a vector: is somebody in distress, or a victim?"""
SCENARIOS: Final = 2
"""First of the readings that are one logit for each scenario, in the order of the taxonomy."""

FEATURES: Final = 8
"""How many numbers the head reads of a turn."""
_TOP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear reading of one vector: harm, distress and scenarios of the text that it stands for."""

    weight: Floats
    """[2 + 17, hidden]"""
    bias: Floats
    """[2 + 17]"""

    def logits(self, vectors: Floats) -> Floats:
        """[n, hidden] → [n, 2 + 17]."""
        found: Floats = (vectors @ self.weight.T + self.bias).astype(np.float32)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLogits:
    """The probe's logits of all windows of one turn, each [n, 2 + 17]."""

    parts: Floats
    """Of its parts as they stand, n >= 1."""
    hidden: Floats
    """Of the parts of what was opened or decoded; n may be 0."""
    context: Floats
    """Of the turn behind earlier turns, n >= 1."""


def turn_features(turn: TurnLogits) -> Floats:
    """What the head reads of a turn: [FEATURES].

    The worst context window, the worst part, the mean of the three worst parts, the mean of all parts, the
    worst of what was opened (or the worst part again), whether there was any, the most distress, and the
    logarithm of the number of parts. Not the vectors: with them the head learns the training's queries
    by heart.
    """
    harm = np.sort(turn.parts[:, HARM])[::-1]
    opened = turn.hidden[:, HARM]
    return np.array(
        [
            turn.context[:, HARM].max(),
            harm[0],
            harm[:_TOP].mean(),
            harm.mean(),
            opened.max() if len(opened) else harm[0],
            float(len(opened) > 0),
            support_reading(turn),
            np.log(len(harm)),
        ],
        np.float32,
    )


def support_reading(turn: TurnLogits) -> float:
    """The logit of distress: the highest of the turn in context and of its parts."""
    return float(max(turn.context[:, SUPPORT].max(), turn.parts[:, SUPPORT].max()))


def worst_reading(turn: TurnLogits) -> Floats:
    """The readings of the window with the most harm, [2 + 17]: what names the scenario."""
    every = np.concatenate([turn.context, turn.parts, turn.hidden])
    found: Floats = every[every[:, HARM].argmax()]
    return found
