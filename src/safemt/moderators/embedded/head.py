"""The causal head: from the features of each user turn, in their order, to what they amount to.

A gated recurrent unit (Cho et al., arXiv 1406.1078, in the form that torch and cuDNN compute) and a linear
reading of its state and the turn's features, in numpy: one step costs microseconds and is the same for turn 50
as for turn 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from safemt.moderators.embedded.features import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Weights of the recurrent unit (`hidden` wide, reading `size` features) and of what reads its state."""

    mean: Floats
    """[size], as `scale`: features are centred and scaled before anything else."""
    scale: Floats
    weight_ih: Floats
    """[3 * hidden, size]: reset, update and new gate, as `weight_hh` [3 * hidden, hidden] and the biases."""
    weight_hh: Floats
    bias_ih: Floats
    bias_hh: Floats
    out_weight: Floats
    """[outputs, hidden + size]"""
    out_bias: Floats

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], *, size: int, outputs: int) -> "Head":
        """The head in `head.npz`.

        Raises:
            KeyError: an array is missing.
            ValueError: the shapes do not fit each other, or a number is not finite.
        """
        hidden = arrays["weight_hh"].shape[1]
        shapes = {
            "mean": (size,),
            "scale": (size,),
            "weight_ih": (3 * hidden, size),
            "weight_hh": (3 * hidden, hidden),
            "bias_ih": (3 * hidden,),
            "bias_hh": (3 * hidden,),
            "out_weight": (outputs, hidden + size),
            "out_bias": (outputs,),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not {shape} finite numbers")
        return cls(**{name: np.asarray(arrays[name], np.float32) for name in shapes})

    @property
    def start(self) -> Floats:
        """The state before the first turn."""
        return np.zeros(self.weight_hh.shape[1], np.float32)

    def step(self, state: Floats, features: Floats) -> tuple[Floats, Floats]:
        """The state after one more turn, and the output logits [outputs] after it."""
        scaled = (features - self.mean) / self.scale
        reset_in, update_in, new_in = np.split(self.weight_ih @ scaled + self.bias_ih, 3)
        reset_state, update_state, new_state = np.split(self.weight_hh @ state + self.bias_hh, 3)
        update = _sigmoid(update_in + update_state)
        new = np.tanh(new_in + _sigmoid(reset_in + reset_state) * new_state)
        state = (1 - update) * new + update * state
        return state, self.out_weight @ np.concatenate([state, scaled]) + self.out_bias


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))), np.float32)
