"""How much of their wording two dialogues share, kept for thousands of them at once."""

from array import array
from collections.abc import Set
from typing import Final

import numpy as np

MOST: Final = 0.5
"""Largest share of its 5-grams that a dialogue may have in common with any other."""


class OverlapIndex:
    """The dialogues accepted so far, by their word 5-grams.

    The overlap of two dialogues is the number of different 5-grams that they share, over the number that the
    smaller of the two has (the strictest reading); a dialogue without a 5-gram overlaps with none.
    """

    def __init__(self) -> None:
        self._places: dict[int, array[int]] = {}
        self._sizes = array("Q")
        self.highest = array("d")
        """For each dialogue, its largest overlap with one accepted before it."""

    def __len__(self) -> int:
        return len(self._sizes)

    def nearest(self, found: Set[int]) -> tuple[float, int]:
        """The largest overlap of a dialogue with an accepted one, and which that is; (0, -1) for none."""
        hits = [self._places[gram] for gram in found if gram in self._places]
        if not hits:
            return 0.0, -1
        shared = np.bincount(np.concatenate([np.frombuffer(hit, dtype=np.uint32) for hit in hits]))
        sizes = np.frombuffer(self._sizes, dtype=np.uint64)[: len(shared)]
        shares = shared / np.maximum(np.minimum(sizes, len(found)), 1)
        best = int(shares.argmax())
        return float(shares[best]), best

    def add(self, found: Set[int], overlap: float) -> None:
        """Accept a dialogue by its 5-grams, with the largest overlap that was measured for it."""
        place = len(self._sizes)
        for gram in found:
            self._places.setdefault(gram, array("I")).append(place)
        self._sizes.append(len(found))
        self.highest.append(overlap)


def overlap(first: Set[int], second: Set[int]) -> float:
    """The overlap of two dialogues' 5-grams."""
    return len(first & second) / min(len(first), len(second)) if first and second else 0.0
