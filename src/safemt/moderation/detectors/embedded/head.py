"""The head: how the readings of a turn's parts and of its context make one logit. Learnt, small, stateless.

A conversation is as risky as its riskiest turn read in context, so a session keeps a maximum and nothing
else: harmless turns never lower it. A recurrent head was tried and ranked unseen sources worse.
"""

from dataclasses import dataclass

import numpy as np

from safemt.moderation.detectors.embedded.features import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A layer of hyperbolic tangents beside a linear one, both float32."""

    hidden_weight: Floats
    """[size, features]"""
    hidden_bias: Floats
    """[size]"""
    output_weight: Floats
    """[outputs, size + features]"""
    output_bias: Floats
    """[outputs]"""

    def logits(self, features: Floats) -> Floats:
        """[n, features] → [n, 2]: `ALONE`, the turn by itself, and `IN_CONTEXT`."""
        hidden = np.tanh(features @ self.hidden_weight.T + self.hidden_bias)
        both = np.concatenate([hidden, features], axis=-1)
        found: Floats = (both @ self.output_weight.T + self.output_bias).astype(np.float32)
        return found


ALONE = 0
"""Output: is this turn harmful, read by itself?"""
IN_CONTEXT = 1
"""Output: does this turn, with what came before, serve harmful intent?"""
