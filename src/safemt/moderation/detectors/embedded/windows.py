"""What the encoder reads of a turn: its parts, and the turn with what came before it.

Training and run time both use these functions, so that they cannot differ. All work on token numbers; the
marks of begin and end are put in here.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from safemt.moderation.detectors.embedded.unigram import BEGIN, END

PART: Final = 32
"""Most tokens of one part, without the marks."""
OVERLAP: Final = 8
"""Tokens that two neighbouring parts of one long sentence share."""
BEFORE: Final = 48
"""Tokens of earlier user turns in a context window."""
BEFORE_EACH: Final = 32
"""Tokens of one earlier user turn in a context window: its last ones."""
CURRENT: Final = 48
"""Tokens of the current turn in a context window: its first and its last ones, half of each."""

_SENTENCE: Final = re.compile(r"[^.!?;。！？।؟\n]+(?:[.!?;。！？।؟]+[\"'”’)\]]*|\n+|$)")


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, without those that hold no letter or digit."""
    found = [each.group().strip() for each in _SENTENCE.finditer(text)]
    return [each for each in found if any(map(str.isalnum, each))]


def parts(text: str, tokens: Callable[[str], list[int]]) -> list[list[int]]:
    """Token numbers of neighbouring sentences, as many together as `PART` allows.

    A text that fits is one part. A longer sentence is cut, and the pieces overlap. A text without letters
    gives one part all the same.
    """
    whole = tokens(text) if len(text) <= PART * _LONGEST_TOKEN else None
    if whole is not None and len(whole) <= PART:
        return [whole]
    found: list[list[int]] = []
    open_part: list[int] = []
    for sentence in sentences(text):
        ids = tokens(sentence)
        if len(open_part) + len(ids) <= PART:
            open_part = open_part + ids
            continue
        if open_part:
            found.append(open_part)
        *full, open_part = _cut(ids)
        found += full
    return [*found, open_part] if open_part or not found else found


_LONGEST_TOKEN: Final = 16
"""Characters of the longest piece: a text of more than `PART` times this is never one part."""


def _cut(ids: list[int]) -> list[list[int]]:
    starts = [0]
    while starts[-1] + PART < len(ids):
        starts.append(starts[-1] + PART - OVERLAP)
    return [ids[start : start + PART] for start in starts]


def part_window(ids: Sequence[int]) -> list[int]:
    """One part as the encoder reads it."""
    return [BEGIN, *ids, END]


def context_window(before: Sequence[Sequence[int]], ids: Sequence[int]) -> list[int]:
    """The current turn of `ids` behind the ends of the user turns before it (oldest first), in one window.

    The newest earlier turns come first to the `BEFORE` places. For a first turn it is the turn alone.
    """
    window = [BEGIN]
    for part in kept_before(before):
        window += [*part, END]
    return [*window, *ends(ids), END]


def ends(ids: Sequence[int]) -> list[int]:
    """The first and the last tokens of a turn, `CURRENT` together."""
    half = CURRENT // 2
    return list(ids) if len(ids) <= CURRENT else [*ids[:half], *ids[-half:]]


def kept_before(before: Sequence[Sequence[int]]) -> list[list[int]]:
    """What a later context window can still need of earlier turns, and so what a session has to remember."""
    room = BEFORE
    kept: list[list[int]] = []
    for earlier in reversed(before):
        if room <= 0:
            break
        part = list(earlier[-min(room, BEFORE_EACH) :])
        room -= len(part)
        if part:
            kept.append(part)
    return kept[::-1]
