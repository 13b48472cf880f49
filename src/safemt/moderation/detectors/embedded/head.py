"""The causal head: one GRU step for each user turn, in numpy, at the same cost for every turn."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from safemt.moderation.detectors.embedded.features import Floats

TURN: Final = 0
"""Output: is this turn harmful, read on its own? The probe's logit, handed on."""
INTENT: Final = 1
"""Output: did the conversation so far show harmful intent? What is calibrated as its risk, and alerts."""
LINKAGE: Final = 2
"""Output: given such intent, does the current turn serve it?"""
SCENARIOS: Final = 3
"""First of the outputs that are one logit for each scenario, in the order of the taxonomy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Weights of a GRU cell and of the linear layer that reads its state beside its input. All float32."""

    input_weight: Floats
    """[3 * size, features]: reset, update and new gate, one after the other."""
    input_bias: Floats
    """[3 * size]"""
    state_weight: Floats
    """[3 * size, size]"""
    state_bias: Floats
    """[3 * size]"""
    output_weight: Floats
    """[SCENARIOS + 17, size + features]"""
    output_bias: Floats
    """[SCENARIOS + 17]"""

    def start(self) -> Floats:
        """The state before the first turn: [size]."""
        return np.zeros(self.state_weight.shape[1], np.float32)

    def step(self, features: Floats, state: Floats) -> tuple[Floats, Floats]:
        """One user turn.

        Args:
            features: [features], from `turn_features`.
            state: [size], from `start` or from the step before.

        Returns:
            The logits, [SCENARIOS + 17], and the new state, [size].
        """
        size = state.shape[0]
        given = self.input_weight @ features + self.input_bias
        held = self.state_weight @ state + self.state_bias
        reset = _sigmoid(given[:size] + held[:size])
        update = _sigmoid(given[size : 2 * size] + held[size : 2 * size])
        new = np.tanh(given[2 * size :] + reset * held[2 * size :])
        after = ((1.0 - update) * new + update * state).astype(np.float32)
        logits = self.output_weight @ np.concatenate([after, features]) + self.output_bias
        return logits.astype(np.float32), after


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0))), np.float32)
