"""One user turn as the model reads it: its texts, their views, their parts, and the head's logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from safemt.moderation.detectors.embedded.features import (
    Floats,
    TurnLogits,
    support_reading,
    turn_features,
    worst_reading,
)
from safemt.moderation.detectors.embedded.head import ALONE, IN_CONTEXT
from safemt.moderation.detectors.embedded.model import EmbeddedModel
from safemt.moderation.detectors.embedded.windows import (
    context_window,
    ends,
    kept_before,
    part_window,
    parts,
    sentences,
)
from safemt.moderation.reading.containers import opened
from safemt.moderation.reading.normalise import views

MOST_PARTS: Final = 48
"""Parts of one turn that are encoded, 2 ms each; half of them as it stands, half opened or decoded."""
LONGEST_TEXT: Final = 5_600
"""Characters of one text that are read whole; of a longer one the sentences that `excerpt` chooses."""
LONGEST_VIEWED: Final = 20_000
"""Characters of a text in which hidden text is looked for everywhere; of a longer one in its excerpt."""
LONGEST_SCREENED: Final = 400_000
"""Characters that are looked at to choose them."""
_STRETCH: Final = 200
"""Characters of a sentence that are taken together; longer ones are cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReading:
    """What one turn comes to, and what the next turn needs of it."""

    alone: float
    """Logit: is the turn harmful by itself?"""
    in_context: float
    """Logit: does it serve harmful intent, with what came before?"""
    readings: Floats
    """[2 + 17]: the probe's logits of its worst window."""
    support: float
    """Logit of distress."""
    before: list[list[int]]
    """The ends of this turn and the ones before it, for the next turn's context."""
    whole: bool
    """Whether all parts of all views were encoded."""


def read_turn(model: EmbeddedModel, texts: Sequence[str], before: list[list[int]]) -> TurnReading:
    """Encode a turn: every part of every view of each of its `texts`, and the turn behind earlier ones.

    Args:
        model: The encoder and what it needs.
        texts: The readings of the turn, the fullest of them first: later turns see it as their past.
        before: As the reading of the turn before gave it; empty for a first turn.
    """
    screen = model.screen
    plain, hidden = split_views(
        [text if len(text) <= LONGEST_VIEWED else excerpt(text, screen) for text in texts]
    )
    whole = all(len(text) <= LONGEST_TEXT for text in (*texts, *plain, *hidden))
    plain, hidden = [excerpt(text, screen) for text in plain], [excerpt(text, screen) for text in hidden]
    tokens = model.tokenizer.tokens
    as_typed = [part for text in plain for part in parts(text, tokens)]
    inside = [part for text in hidden for part in parts(text, tokens)]
    open_parts = _spread(inside, MOST_PARTS - min(len(as_typed), MOST_PARTS // 2))
    typed_parts = _spread(as_typed, MOST_PARTS - len(open_parts))
    first = tokens(plain[0])
    contexts = [context_window(before, tokens(text)) for text in plain[:2]]
    turn = TurnLogits(
        parts=_logits(model, [part_window(part) for part in typed_parts]),
        hidden=_logits(model, [part_window(part) for part in open_parts]),
        context=_logits(model, contexts),
    )
    logits = model.head.logits(turn_features(turn))
    return TurnReading(
        alone=float(logits[ALONE]),
        in_context=float(logits[IN_CONTEXT]),
        readings=worst_reading(turn),
        support=support_reading(turn),
        before=kept_before([*before, ends(first)]),
        whole=whole and len(typed_parts) == len(as_typed) and len(open_parts) == len(inside),
    )


def split_views(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The texts as typed and with tricks of letters undone; and what they hold: decoded, or in containers."""
    plain: list[str] = []
    hidden: list[str] = []
    for text in texts:
        for view in views(text):
            (plain if view.kind in {"raw", "plain"} else hidden).append(view.text)
        hidden += opened(text)
    distinct = list(dict.fromkeys(plain))
    return distinct, [text for text in dict.fromkeys(hidden) if text not in distinct]


def excerpt(text: str, screen: dict[str, float]) -> str:
    """The text, or `LONGEST_TEXT` characters of it: half by what `screen` finds in it, half spread evenly.

    `screen` gives words the logarithm of how much likelier they are in requests for harm. It only chooses
    what is read; what is not read is reported.
    """
    if len(text) <= LONGEST_TEXT:
        return text
    if len(text) > LONGEST_SCREENED:
        half = LONGEST_SCREENED // 2
        text = text[:half] + text[-half:]
    stretches = [
        sentence[start : start + _STRETCH]
        for sentence in sentences(text) or [text]
        for start in range(0, len(sentence), _STRETCH)
    ]
    scores = [sum(screen.get(word, 0.0) for word in set(each.lower().split())) for each in stretches]
    order = sorted(range(len(stretches)), key=scores.__getitem__, reverse=True)
    count = max(1, LONGEST_TEXT * len(stretches) // max(1, sum(map(len, stretches))))
    even = np.linspace(0, len(stretches) - 1, max(2, count // 2)).round().astype(int).tolist()
    chosen = sorted({*order[: count // 2], *even})
    return "\n".join(stretches[place] for place in chosen)[:LONGEST_TEXT]


def _logits(model: EmbeddedModel, windows: Sequence[Sequence[int]]) -> Floats:
    distinct = dict.fromkeys(map(tuple, windows))
    if not distinct:
        return np.zeros((0, len(model.probe.bias)), np.float32)
    return model.probe.logits(np.stack([model.encoder.vector(window) for window in distinct]))


def _spread(found: list[list[int]], count: int) -> list[list[int]]:
    """`count` of the parts, the first and the last among them."""
    if len(found) <= count:
        return found
    places = np.linspace(0, len(found) - 1, count).round().astype(int).tolist()
    return [found[place] for place in places]
