"""Text to token numbers, as multilingual-e5 wants them: one spelling per character, then a unigram model.

Source: Kudo, "Subword Regularization" (arXiv 1804.10959), section 3.2: of all ways to cut a text into pieces
the one with the highest sum of log probabilities. A piece never reaches over a blank, so each word is cut by
itself. Control tokens are no pieces: a user who types `</s>` gets the characters, not the token.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from safemt.core.errors import ModeratorError

BEGIN: Final = 0
"""`<s>`: begins every window."""
END: Final = 2
"""`</s>`: ends every window, and parts the turns inside one."""
UNKNOWN: Final = 3
CONTROLS: Final = 4
"""Numbers below this are `<s>`, `<pad>`, `</s>` and `<unk>`."""

_LONGEST_WORD: Final = 64
"""Characters that are cut together; text without blanks is cut in parts of this length."""
_UNKNOWN_PENALTY: Final = 10.0
"""Below the score of the least likely piece, as in the reference."""
_BLANK: Final = "\u2581"
_PART: Final = re.compile(rf"\S{{1,{_LONGEST_WORD}}}")
_WORD: Final = re.compile(r"\S+")


class Unigram:
    """A vocabulary with its scores, and how a text is cut into it."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float], spelling: Mapping[str, str]) -> None:
        """`pieces` and `scores` start behind the control tokens; `spelling` maps single characters."""
        self._known = {
            piece: (number, score)
            for number, (piece, score) in enumerate(zip(pieces, scores, strict=True), CONTROLS)
        }
        self._longest = max(map(len, self._known))
        self._unknown = min(scores) - _UNKNOWN_PENALTY
        self._spelling = str.maketrans(dict(spelling))
        self._cut = lru_cache(maxsize=16_384)(self._best)

    @classmethod
    def read(cls, path: Path) -> "Unigram":
        """The vocabulary of a `tokenizer.json` that training wrote.

        Raises:
            ModeratorError: the file is missing or holds no vocabulary.
        """
        try:
            stored = json.loads(path.read_bytes())
            return cls(stored["pieces"], stored["scores"], stored["spelling"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModeratorError(
                "model_damaged", f"{path} holds no vocabulary. Install safemt again.", path=str(path)
            ) from error

    def tokens(self, text: str) -> list[int]:
        """The token numbers of `text`, without the marks of begin and end."""
        if not text.isascii() or not text.isprintable():
            text = text.translate(self._spelling)
        return [
            token
            for word in _WORD.finditer(text)
            for place, part in enumerate(_PART.findall(word.group()))
            for token in self._cut(part if place else _BLANK + part)
        ]

    def _best(self, word: str) -> tuple[int, ...]:
        """The best cut of one word, by dynamic programming over the ends of its pieces."""
        known, longest, end = self._known, self._longest, len(word)
        best = [0.0] + [float("-inf")] * end
        came: list[tuple[int, int]] = [(0, 0)] * (end + 1)
        for start in range(end):
            score_here = best[start]
            for stop in range(start + 1, min(end, start + longest) + 1):
                entry = known.get(word[start:stop])
                if entry is not None:
                    number, score = entry[0], score_here + entry[1]
                elif stop == start + 1:
                    number, score = UNKNOWN, score_here + self._unknown
                else:
                    continue
                if score > best[stop]:
                    best[stop], came[stop] = score, (start, number)
        found: list[int] = []
        while end:
            end, number = came[end]
            if number != UNKNOWN or not found or found[-1] != UNKNOWN:
                found.append(number)
        return tuple(reversed(found))
