"""Dealing instead of drawing: every card of a pile comes up once before any comes up again."""

import random
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Decks:
    """Piles of cards by a key, each shuffled by the seed and the key."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._piles: dict[Hashable, list[int]] = {}
        self._rounds: dict[Hashable, int] = {}

    def deal(self, key: Hashable, cards: Sequence[T], fits: Callable[[T], bool] | None = None) -> T | None:
        """The next card of the pile `key` that fits; None if none of all cards does.

        A card that does not fit stays on top of the pile for the next query.
        """
        pile = self._piles.get((key, len(cards)))
        if not pile:
            pile = self._shuffled(key, len(cards))
        for place in range(len(pile) - 1, -1, -1):
            if fits is None or fits(cards[pile[place]]):
                return cards[pile.pop(place)]
        again = self._shuffled(key, len(cards))
        for place in range(len(again) - 1, -1, -1):
            if fits is None or fits(cards[again[place]]):
                return cards[again.pop(place)]
        return None

    def _shuffled(self, key: Hashable, size: int) -> list[int]:
        count = self._rounds[key] = self._rounds.get(key, 0) + 1
        pile = list(range(size))
        random.Random(f"{self._seed}:{key!r}:{count}").shuffle(pile)
        self._piles[key, size] = pile
        return pile
