"""What the encoder makes of one user turn: texts, their views, their windows, one vector of features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from safemt.moderation.detectors.embedded.features import Floats, turn_features
from safemt.moderation.detectors.embedded.model import EmbeddedModel
from safemt.moderation.detectors.embedded.windows import context_window, kept_before, turn_windows
from safemt.moderation.reading.normalise import views

MOST_WINDOWS: Final = 64
"""Windows of one turn that are encoded; each takes about 8 ms."""
LONGEST_TEXT: Final = 100_000
"""Characters of one text that are looked at; of a longer one, excerpts."""
EXCERPTS: Final = 50
_FEW_LETTERS: Final = 8
"""Fewer say nothing about the script that somebody writes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReading:
    """What the head reads of a turn, and what the next turn needs of it."""

    features: Floats
    before: list[list[int]]
    """The ends of this turn and the ones before it, for the next turn's context."""
    whole: bool
    """Whether all windows of all views were encoded."""
    legible: bool
    """Whether its letters are mostly Latin in some view: the encoder knows no other script."""


def read_turn(model: EmbeddedModel, texts: Sequence[str], before: list[list[int]]) -> TurnReading:
    """Encode a turn: every window of every view of each of its `texts`, and each view behind earlier turns.

    Args:
        model: The encoder and what it needs.
        texts: The readings of the turn, the fullest of them first: later turns see it as their past.
        before: As the reading of the turn before gave it; empty for a first turn.
    """
    seen = [view.text for text in texts for view in views(_excerpts(text))]
    tokens = [model.tokenizer.tokens(text) for text in seen]
    windows = [turn_windows(ids) for ids in tokens]
    wanted = _shares([len(each) for each in windows], MOST_WINDOWS)
    read = [window for each, share in zip(windows, wanted, strict=True) for window in _spread(each, share)]
    contexts = [context_window(before, ids) for ids in tokens]
    return TurnReading(
        features=turn_features(model.probe, _vectors(model, read), _vectors(model, contexts)),
        before=kept_before([*before, tokens[0]]),
        whole=len(read) == sum(map(len, windows)) and all(len(text) <= LONGEST_TEXT for text in texts),
        legible=any(map(_is_latin, seen)),
    )


def _is_latin(text: str) -> bool:
    """Whether at least half of the letters are Latin (up to U+024F, and U+1E00 to U+1EFF)."""
    if text.isascii():
        return True
    letters = [char for char in text if char.isalpha()]
    latin = sum(char < "\u0250" or "\u1e00" <= char <= "\u1eff" for char in letters)
    return len(letters) < _FEW_LETTERS or 2 * latin >= len(letters)


def _vectors(model: EmbeddedModel, windows: Sequence[Sequence[int]]) -> Floats:
    distinct = dict.fromkeys(map(tuple, windows))
    return np.stack([model.encoder.vector(window) for window in distinct])


def _excerpts(text: str) -> str:
    """The text, or as much of it as `LONGEST_TEXT` allows, spread evenly from its beginning to its end."""
    if len(text) <= LONGEST_TEXT:
        return text
    length = LONGEST_TEXT // EXCERPTS
    starts = np.linspace(0, len(text) - length, EXCERPTS).astype(int).tolist()
    return "\n".join(text[start : start + length] for start in starts)


def _shares(counts: Sequence[int], most: int) -> list[int]:
    """How many of each are taken so that at most `most` are: short ones wholly, of the rest as many each."""
    shares = [0] * len(counts)
    order = sorted(range(len(counts)), key=counts.__getitem__)
    for done, place in enumerate(order):
        shares[place] = min(counts[place], most // (len(order) - done))
        most -= shares[place]
    return shares


def _spread(windows: list[list[int]], count: int) -> list[list[int]]:
    """`count` of the windows, the first and the last among them."""
    places = np.linspace(0, len(windows) - 1, count).round().astype(int).tolist()
    return [windows[place] for place in places]
