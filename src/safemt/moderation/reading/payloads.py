"""Text that is encoded inside a text: base64, hex, escapes, rot13, written backwards.

What does not decode to readable text is left alone, so keys, hashes, code and addresses give nothing. The
time needed grows linearly with the length of the text.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import Final

MOST_PAYLOADS: Final = 8
"""Payloads of one kind that are taken from one text."""
LONGEST_PAYLOAD: Final = 20_000
"""Characters of one payload that are decoded; a longer one is cut."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}[ :,]?){8,}")
_ESCAPE: Final = re.compile(r"(?:%|\\x|\\u00|&#[xX])([0-9A-Fa-f]{2});?|&#([0-9]{2,3});")
_ESCAPES: Final = re.compile(rf"(?:{_ESCAPE.pattern})+")
_FEWEST_ESCAPED_LETTERS: Final = 4
"""An address escapes signs and letters beyond ASCII. Escaped plain letters are meant to be hidden."""

_SEGMENT: Final = re.compile(r"[^.!?:;\n\"`“”«»]+")
_WORD: Final = re.compile(r"[a-z]+")
_COMMON_WORDS: Final = """
    a about all an and any are as at be but by can do for from get give has have how i if in is it make me
    my no not of on one or out please so some steps tell that the them then there they this to up use want
    was ways we what when where which who why will with without write you your
"""
_COMMON: Final = frozenset(_COMMON_WORDS.split())
_FEWEST_WORDS: Final = 4
_LEAST_COMMON: Final = 0.3
"""English has at least this share of common words; other text that is turned around does not."""
_READABLE: Final = 0.95
_PAIRS: Final = """
    how_to how_do do_i can_i how_can should_i to_make to_get of_the in_the is_the for_a to_a the_best way_to
    tell_me give_me a_list i_want want_to with_a what_is on_the for_the and_the to_the of_a from_a write_a
    me_how is_a what_are you_can in_a my_own step_by by_step need_to i_need
"""
_COMMON_PAIRS: Final = frozenset(tuple(pair.split("_")) for pair in _PAIRS.split())
_FEWEST_PAIRS: Final = 2
"""Common pairs of words that text in reverse order has the wrong way round."""
_ROT13: Final = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm",
)


def payloads(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each payload of `text`. Payloads of one kind are joined, one a line."""
    for kind, found in (
        ("base64", _base64(text)),
        ("hex", _hex(text)),
        ("escapes", _escapes(text)),
        ("rot13", _turned(text, text.translate(_ROT13))),
        ("reversed", chain(_reversed(text), _reversed_words(text))),
    ):
        decoded = "\n".join(islice(found, MOST_PAYLOADS))
        if decoded:
            yield kind, decoded


def _base64(text: str) -> Iterator[str]:
    for run in _BASE64.finditer(text):
        lines = run.group().splitlines()
        # The line below a payload may be its next line or the next sentence.
        for candidate in (lines, lines[:-1], lines[:1]):
            decoded = _readable(_from_base64("".join(candidate)))
            if decoded:
                yield decoded
                break


def _from_base64(run: str) -> bytes:
    body = run[:LONGEST_PAYLOAD].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return b""


def _hex(text: str) -> Iterator[str]:
    for run in _HEX.finditer(text):
        decoded = _readable(bytes.fromhex(re.sub("[ :,]", "", run.group())[:LONGEST_PAYLOAD]))
        if decoded:
            yield decoded


def _escapes(text: str) -> Iterator[str]:
    letters = sum(chr(_code(escape)).isalpha() for escape in _ESCAPE.finditer(text) if _code(escape) < 0x80)
    if letters >= _FEWEST_ESCAPED_LETTERS:
        yield _ESCAPES.sub(_unescaped, text)


def _unescaped(run: re.Match[str]) -> str:
    codes = [_code(escape) for escape in _ESCAPE.finditer(run.group())]
    return bytes(code for code in codes if code < 0x100).decode("utf-8", errors="replace")


def _code(escape: re.Match[str]) -> int:
    digits, decimal = escape.groups()
    return int(digits, 16) if digits else int(decimal)


def _readable(payload: bytes) -> str:
    """The payload as text if it is text of words, else nothing."""
    try:
        # A payload that was cut may end within a letter.
        text = payload[:-3].decode("utf-8") + payload[-3:].decode("utf-8", errors="ignore")
    except UnicodeDecodeError:
        return ""
    plain = sum(mark.isalnum() or mark.isspace() or mark in ".,;:!?'\"-()" for mark in text)
    letters = sum(map(str.isalpha, text))
    return text if letters >= len(text) / 2 and plain >= _READABLE * len(text) else ""


def _turned(text: str, turned: str) -> Iterator[str]:
    """The segments that read like English in `turned` and did not in `text`."""
    for segment in _SEGMENT.finditer(text):
        candidate = turned[segment.start() : segment.end()]
        if _reads_better(candidate, segment.group()):
            yield candidate.strip()


def _reversed(text: str) -> Iterator[str]:
    for segment in _SEGMENT.finditer(text):
        candidate = segment.group()[::-1]
        if _reads_better(candidate, segment.group()):
            yield candidate.strip()


def _reversed_words(text: str) -> Iterator[str]:
    """The segments whose words stand in reverse order."""
    for segment in _SEGMENT.finditer(text):
        words = segment.group().split()
        pairs = list(pairwise(word.lower().strip(",'()") for word in words))
        backwards = sum((second, first) in _COMMON_PAIRS for first, second in pairs)
        if backwards >= _FEWEST_PAIRS and backwards > sum(pair in _COMMON_PAIRS for pair in pairs):
            yield " ".join(reversed(words))


def _reads_better(candidate: str, text: str) -> bool:
    words = _WORD.findall(candidate.lower())
    common = [word for word in words if word in _COMMON]
    if len(words) < _FEWEST_WORDS or len(common) < _LEAST_COMMON * len(words):
        return False
    if len(set(common)) < 2 or max(map(len, common)) < 3:  # `no` and `on`, `si` and `is` are words either way
        return False
    before = [word for word in _WORD.findall(text.lower()) if word in _COMMON]
    return len(common) >= 2 * len(before)
