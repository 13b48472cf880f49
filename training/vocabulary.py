"""Which pieces of the published vocabulary the model keeps, chosen before it is fine-tuned.

Cutting afterwards changes what the model was tuned on: logits then correlate with the uncut ones only
at 0.80 to 0.87.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from safemt.moderation.detectors.embedded.unigram import CONTROLS, Unigram
from training.e5 import Published

FIRST: Final = 60_000
"""Pieces that are kept in any case, the likeliest over all languages."""


def kept_pieces(published: Published, texts: Iterable[str]) -> list[int]:
    """The numbers of the pieces to keep: the first ones, single characters, and all that occur in `texts`."""
    pieces = published.pieces
    full = Unigram(pieces[CONTROLS:], published.scores[CONTROLS:].tolist(), published.spelling)
    kept = set(range(FIRST))
    kept.update(number for number, piece in enumerate(pieces) if len(piece.lstrip("\u2581")) <= 1)
    for text in texts:
        kept.update(full.tokens(text))
    return sorted(kept)


def write_tokenizer(published: Published, kept: Iterable[int], path: Path) -> None:
    """Write `tokenizer.json`: the kept pieces behind the control tokens, their scores, the spelling."""
    numbers = list(kept)[CONTROLS:]
    content = {
        "pieces": [published.pieces[number] for number in numbers],
        "scores": [round(float(published.scores[number]), 4) for number in numbers],
        "spelling": dict(published.spelling),
    }
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
