"""Views of a text: as it stands, and as it reads once the tricks that hide words from a filter are undone.

A moderator scores every view and the worst one counts, so a view that is wrong costs time and never hides
anything. Views are therefore only made where something was undone.
"""

import base64
import binascii
import codecs
import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

LONGEST_PAYLOAD: Final = 20_000
"""Characters of one encoded payload that are decoded; what follows them is left as it stands."""
MOST_PAYLOADS: Final = 8
"""Encoded payloads of one text that are decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One reading of a text."""

    kind: str
    """`raw`, `plain` (characters folded), `base64`, `hex` or `rot13`."""
    text: str


# Letters of other scripts that look like Latin ones; NFKC folds full-width and mathematical letters only.
_LOOKALIKES: Final = str.maketrans(
    "АВЕКМНОРСТХаеорсухіјѕԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανι",  # noqa: RUF001
    "ABEKMHOPCTXaeopcyxijsdhqwABEZHIKMNOPTYXoavi",
)
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufe00-\ufe0f\U000e0000-\U000e007f]"
)
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]")
_SPACED: Final = re.compile(r"(?<!\w)\w(?:([ ._*|/-])\w(?:\1\w){2,})(?!\w)")
_LEET_WORD: Final = re.compile(r"(?<![\w$@])[A-Za-z0-9$@!]*[A-Za-z][A-Za-z0-9$@!]*(?![\w$@])")
_LEET: Final = str.maketrans("013457$@!", "oleastsai")
_BASE64: Final = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/=])")
_HEX: Final = re.compile(r"(?<![\w])(?:0x)?(?:[0-9a-fA-F]{2}[ :]?){8,}(?![\w])")
_WORD: Final = re.compile(r"[a-z]+")
_COMMON_WORDS: Final = """
    a about all an and any are as at be but by can do for from get give has have how i if in is it make
    me my no not of on one or out please so some steps tell that the them then there they this to up use
    was ways we what when where which who why will with without you your
"""
_COMMON: Final = frozenset(_COMMON_WORDS.split())
_LEAST_COMMON_SHARE: Final = 0.2
_PRINTABLE_SHARE: Final = 0.95


def views(text: str) -> tuple[View, ...]:
    """The raw text first, then each other reading of it that differs."""
    plain = fold(text)
    found = [View(kind="raw", text=text)]
    if plain != text:
        found.append(View(kind="plain", text=plain))
    for kind, decoded in (("base64", _base64(plain)), ("hex", _hex(plain)), ("rot13", _rot13(plain))):
        if decoded:
            found.append(View(kind=kind, text=decoded))
    return tuple(found)


def fold(text: str) -> str:
    """The text without hidden characters, lookalikes folded, spaced letters joined, digits read as letters.

    A text of another script stays as it is: letters are folded only in words that hold Latin ones too.
    """
    text = _TAGS.sub(lambda tag: chr(ord(tag.group()) - 0xE0000), text)
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    if not text.isascii():
        text = "".join(_fold_word(word) for word in re.split(r"(\W+)", text))
    text = _SPACED.sub(lambda run: run.group().replace(run.group(1), ""), text)
    return _LEET_WORD.sub(lambda word: _unleet(word.group()), text)


def _fold_word(word: str) -> str:
    if word.isascii():
        return word
    folded = word.translate(_LOOKALIKES)
    bare = "".join(mark for mark in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(mark))
    return bare if bare.isascii() else word


def _unleet(word: str) -> str:
    """`h4ck` → `hack`; what looks like a number, a model or a unit (`3D`, `mp3`, `42nd`) stays."""
    body = word.rstrip("!")
    inner = [place for place, mark in enumerate(body) if not mark.isalpha()]
    if not inner or len(body) < 4 or 2 * len(inner) > len(body):
        return word
    at_ends = body[-1].isdigit() or body[0].isdigit()
    if at_ends and len(inner) == 1:
        return word
    if any(two - one == 1 and body[one].isdigit() for one, two in pairwise(inner)):
        return word
    return body.translate(_LEET) + word[len(body) :]


def _base64(text: str) -> str:
    parts = [
        _decode_base64(run.group()[:LONGEST_PAYLOAD]) for run in list(_BASE64.finditer(text))[:MOST_PAYLOADS]
    ]
    return "\n".join(part for part in parts if part)


def _decode_base64(run: str) -> str:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1:
        return ""
    try:
        return _readable(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))
    except binascii.Error:
        return ""


def _hex(text: str) -> str:
    parts: list[str] = []
    for run in list(_HEX.finditer(text))[:MOST_PAYLOADS]:
        digits = re.sub(r"[ :]|0x", "", run.group()[:LONGEST_PAYLOAD])
        parts.append(_readable(bytes.fromhex(digits[: len(digits) // 2 * 2])))
    return "\n".join(part for part in parts if part)


def _readable(payload: bytes) -> str:
    """The payload as text if it is text of words, else nothing."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    plain = sum(mark.isalpha() or mark.isspace() or mark in ".,;:!?'\"-()" for mark in text)
    return text if text and plain >= _PRINTABLE_SHARE * len(text) and any(map(str.isalpha, text)) else ""


def _rot13(text: str) -> str:
    """The text turned by 13 letters if that reads more like English than it does as it stands."""
    turned = codecs.encode(text[:LONGEST_PAYLOAD], "rot13")
    return turned if _common_share(turned) >= max(_LEAST_COMMON_SHARE, 2 * _common_share(text)) else ""


def _common_share(text: str) -> float:
    words = _WORD.findall(text.lower())
    return sum(word in _COMMON for word in words) / len(words) if len(words) >= 4 else 0.0
