"""What the encoder reads of a turn: windows over all of it, and one window of it with what came before.

Both sides use these functions, training and run time, so that they cannot differ. All work on token ids
without the tokenizer's own special tokens, which are put in here.
"""

from collections.abc import Sequence
from typing import Final

START: Final = 101
"""`[CLS]` of the tokenizer that ships."""
BREAK: Final = 102
"""`[SEP]` of the tokenizer that ships."""

WINDOW: Final = 128
"""Most tokens of one window, the two special ones included."""
OVERLAP: Final = 32
"""Tokens that two neighbouring windows share."""
BEFORE: Final = 48
"""Tokens of earlier user turns in a context window."""
BEFORE_EACH: Final = 32
"""Tokens of one earlier user turn in a context window: its last ones."""
CURRENT: Final = 48
"""Tokens of the current turn in a context window: its first and its last ones, half of each."""


def turn_windows(ids: Sequence[int]) -> list[list[int]]:
    """Windows that cover a text of `ids` wholly; a text without tokens gives one window without any."""
    room = WINDOW - 2
    starts = [0]
    while starts[-1] + room < len(ids):
        starts.append(starts[-1] + room - OVERLAP)
    return [[START, *ids[start : start + room], BREAK] for start in starts]


def context_window(before: Sequence[Sequence[int]], ids: Sequence[int]) -> list[int]:
    """The current turn of `ids` behind the ends of the user turns before it (oldest first), in one window.

    The newest earlier turns come first to the `BEFORE` places. For a first turn it is the turn alone.
    """
    room = BEFORE
    kept: list[list[int]] = []
    for earlier in reversed(before):
        if room <= 0:
            break
        part = list(earlier[-min(room, BEFORE_EACH) :])
        room -= len(part)
        if part:
            kept.append(part)
    window = [START]
    for part in reversed(kept):
        window += [*part, BREAK]
    half = CURRENT // 2
    current = list(ids) if len(ids) <= CURRENT else [*ids[:half], *ids[-half:]]
    return [*window, *current, BREAK]


def kept_before(before: Sequence[Sequence[int]]) -> list[list[int]]:
    """What a later context window can still need of earlier turns, and so what a session has to remember."""
    room = BEFORE
    kept: list[list[int]] = []
    for earlier in reversed(before):
        if room <= 0:
            break
        part = list(earlier[-min(room, BEFORE_EACH) :])
        room -= len(part)
        kept.append(part)
    return kept[::-1]
