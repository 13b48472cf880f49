"""From the encoder's vectors of one user turn to what the head reads. Training and run time both use it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear reading of one vector: how harmful the text is that it stands for, as a logit."""

    weight: Floats
    """[hidden]"""
    bias: float

    def logits(self, vectors: Floats) -> Floats:
        """[n, hidden] → [n]."""
        found: Floats = (vectors @ self.weight + self.bias).astype(np.float32)
        return found


def turn_features(probe: Probe, windows: Floats, contexts: Floats) -> Floats:
    """What the head reads of a turn: its worst window, its worst context window, and the logits of the two.

    Args:
        probe: Reads each vector.
        windows: [n, hidden], n >= 1: the vectors of `turn_windows`, of every part and view of the turn.
        contexts: [m, hidden], m >= 1: the vectors of `context_window`, one for each view of the turn.

    Returns:
        [2 * hidden + 2], the two logits last.
    """
    alone, behind = probe.logits(windows), probe.logits(contexts)
    worst, worst_behind = int(alone.argmax()), int(behind.argmax())
    return np.concatenate(
        [windows[worst], contexts[worst_behind], [alone[worst], behind[worst_behind]]], dtype=np.float32
    )
