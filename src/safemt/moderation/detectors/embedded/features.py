"""From the encoder's vectors of one user turn to what the head reads. Training and run time both use it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear reading of one vector: how harmful the text is that it stands for, and in which scenario."""

    weight: Floats
    """[1 + 17, hidden]"""
    bias: Floats
    """[1 + 17]"""

    def logits(self, vectors: Floats) -> Floats:
        """[n, hidden] → [n, 1 + 17]: harm first, then the scenarios in the order of the taxonomy."""
        found: Floats = (vectors @ self.weight.T + self.bias).astype(np.float32)
        return found


def turn_features(probe: Probe, windows: Floats, contexts: Floats) -> Floats:
    """What the head reads of a turn: the probe's logits of its worst window and of its worst context window.

    The head does not see the vectors: with them it learnt the queries of the training data by heart, and did
    worse on new sources than the probe alone.

    Args:
        probe: Reads each vector.
        windows: [n, hidden], n >= 1: the vectors of `turn_windows`, of every part and view of the turn.
        contexts: [m, hidden], m >= 1: the vectors of `context_window`, one for each view of the turn.

    Returns:
        [2 * (1 + 17)], the turn alone first.
    """
    alone, behind = probe.logits(windows), probe.logits(contexts)
    return np.concatenate([alone[alone[:, 0].argmax()], behind[behind[:, 0].argmax()]])
