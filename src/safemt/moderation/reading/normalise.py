"""Views of a text: as it stands, and with the tricks undone that hide words from a filter.

A moderator scores every view, so a wrong view costs time but hides nothing. A view is only made where a trick
was undone. Accents, other scripts, emoji and the marks that Persian, Hindi or Hebrew need are not tricks. The
time needed grows linearly with the length of the text.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from safemt.moderation.reading.payloads import payloads


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One reading of a text."""

    kind: str
    """`raw`, `plain` (tricks with letters undone), or what was decoded: `base64`, `hex`, `escapes`, `rot13`,
    `reversed`."""
    text: str


def views(text: str) -> tuple[View, ...]:
    """The raw text first, then each other reading of it that differs."""
    letters = _plain_letters(text)
    plain = _unleet(_joined(letters))
    found = [View(kind="raw", text=text)]
    if plain != text:
        found.append(View(kind="plain", text=plain))
    found += [View(kind=kind, text=payload) for kind, payload in payloads(letters)]
    return tuple(found)


def fold(text: str) -> str:
    """The text without hidden marks, lookalikes, spaced letters and leetspeak.

    Undoing one trick can reveal the next, so this is repeated until nothing changes, a few times at most.
    """
    for _ in range(_MOST_ROUNDS):
        folded = _unleet(_joined(_plain_letters(text)))
        if folded == text:
            break
        text = folded
    return text


_MOST_ROUNDS: Final = 5


# --- letters that are not what they look like ---------------------------------------------------------------

_HIDDEN_MARKS: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0100-\U000e01ef"
)
_NEIGHBOUR: Final = r"[A-Za-z\u0370-\u03ff\u0400-\u058f]"
# Between letters of these scripts such a mark hides a word; in others it has uses.
_HIDDEN: Final = re.compile(f"(?<={_NEIGHBOUR})[{_HIDDEN_MARKS}]+(?={_NEIGHBOUR})")
# Strokes through a letter, and more marks on one letter than any language puts there.
_OVERLAID: Final = re.compile(
    f"(?<={_NEIGHBOUR})(?:[\u0334-\u0338\u20d0-\u20f0][\u0300-\u036f\u20d0-\u20f0]*|[\u0300-\u036f]{{3,}})"
)
# Tag characters spell invisible text; after a black flag they name a part of a country.
_TAGS: Final = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+|([\U000e0020-\U000e007e]+)")

_WORD: Final = re.compile(r"[^\W\d_]+")
# The same shape in every font, so that a word may consist of nothing else.
_SAME: Final = str.maketrans(
    "АВЕКМНОРСТУХІЈЅԌԚԜаеорсухіјѕԁһԛԝӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧονօսհց",
    "ABEKMHOPCTYXIJSGQWaeopcyxijsdhqwlABEZHIKMNOPTYXovouhg",
)
# Close enough among Latin letters.
_CLOSE: Final = _SAME | str.maketrans(
    "вгзиклмнптьяёєабαβγεηικρτυχωδ",
    "brzuklmhntbreeabaByenikptuxwd",
)
_FANCY_BLOCKS: Final = (
    range(0x02B0, 0x02B9),
    range(0x1D2C, 0x1D6B),
    range(0x2090, 0x209D),
    range(0x2100, 0x2150),
    range(0x24B6, 0x24EA),
    range(0xFF21, 0xFF5B),
    range(0x1D400, 0x1D800),
    range(0x1F110, 0x1F16A),
)
"""Superscript, subscript, letter-like, circled, full-width, mathematical and squared letters."""


def _fancy() -> dict[int, str]:
    plain = {
        code: unicodedata.normalize("NFKC", chr(code)).strip("()")
        for block in _FANCY_BLOCKS
        for code in block
    }
    table = {
        code: text for code, text in plain.items() if len(text) == 1 and text.isascii() and text.isalnum()
    }
    small_capitals = zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)
    return (
        table
        | {ord(one): other for one, other in small_capitals}
        | {start + place: chr(65 + place) for start in (0x1F150, 0x1F170) for place in range(26)}
        | {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl"}
    )


_FANCY: Final = _fancy()


def _plain_letters(text: str) -> str:
    if text.isascii():
        return text
    text = _TAGS.sub(lambda run: _untagged(run.group(1)) if run.group(1) else run.group(), text)
    text = _HIDDEN.sub("", _OVERLAID.sub("", text.translate(_FANCY)))
    words = set(_WORD.findall(text))
    latin = any(map(str.isascii, words))
    alone = latin and not any(map(_foreign, words))
    plain = {word: _plain_word(word, alone=alone) for word in words}
    return _WORD.sub(lambda word: plain[word.group()], text)


def _untagged(run: str) -> str:
    return "".join(chr(ord(tag) - 0xE0000) for tag in run)


def _foreign(word: str) -> bool:
    """Whether the word is in a lookalike alphabet and cannot pass for a Latin one."""
    return any("\u0370" <= letter <= "\u058f" and ord(letter) not in _SAME for letter in word) and not any(
        map(str.isascii, word)
    )


def _plain_word(word: str, *, alone: bool) -> str:
    """The word in Latin letters if it poses as one. `alone`: no other word is in another alphabet."""
    if word.isascii():
        return word
    if any(letter.isascii() for letter in word):
        folded = word.translate(_CLOSE)
        return folded if all(letter < "\u0250" for letter in folded) else word
    folded = word.translate(_SAME)
    return folded if alone and len(word) > 2 and folded.isascii() else word


# --- letters set apart, and digits for letters --------------------------------------------------------------

_SIGN: Final = "[A-Za-z0-9@$]"
_SPACED: Final = re.compile(rf"(?<!{_SIGN}){_SIGN}(?:(?: {{1,3}}|[._*|/~\n-]){_SIGN}(?!{_SIGN})){{3,}}")
_GAP: Final = re.compile(r" {1,3}|[._*|/~\n-]")
_FEWEST_SPACED: Final = 4
_MARKED: Final = re.compile(r"[^\W_][0-9@$!]|[0-9@$!][^\W_]")
_CHUNK: Final = re.compile(r"\S+")
_LEET: Final = str.maketrans("013457@$!", "oieastasi")
_LEET_WORD: Final = re.compile(r"[A-Za-z013457@$!]{4,20}")
_ANY_LEET: Final = re.compile(r"(?=[^A-Za-z]{0,19}[A-Za-z]|\d{1,2}$)[A-Za-z013457@$!'-]{1,20}")
_MIXED: Final = re.compile(r"(?=\S{0,19}[A-Za-z])(?=\S{0,19}[013457@$])[A-Za-z013457@$!'-]{2,20}[.,;:?!]*")
_FEWEST_MIXED: Final = 3
_CAMEL: Final = re.compile("[a-z!][A-Z]")
_MARKS: Final = re.compile(r"([0-9@$!])\1*")
_MODEL: Final = re.compile(r"\d+[A-Za-z]+|[A-Za-z]+[\d!]+|@.*")
_NUMBER: Final = re.compile(r"(\d)(?!\1)\d")
_BEFORE: Final = "\"'(*[!“\u2018"
_AFTER: Final = "\"')*],.;:?!”’"


def _joined(text: str) -> str:
    """`g a r d e n` → `garden`. A gap wider than the narrowest separates words."""
    return _SPACED.sub(lambda run: _joined_run(run.group()), text)


def _joined_run(run: str) -> str:
    if sum(map(str.isalpha, run)) < _FEWEST_SPACED:
        return run
    narrow = min(map(len, _GAP.findall(run)))
    return _GAP.sub(lambda gap: "" if len(gap.group()) == narrow else " ", run)


def _unleet(text: str) -> str:
    """`h4ck3r` → `hacker`, word by word; if half of the words are like that, short ones too."""
    if not _MARKED.search(text):
        return text
    chunks = text.split()
    mixed = sum(bool(_MIXED.fullmatch(chunk)) for chunk in chunks)
    everywhere = mixed >= _FEWEST_MIXED and 2 * mixed >= len(chunks)
    return _CHUNK.sub(lambda chunk: _unleet_chunk(chunk.group(), everywhere=everywhere), text)


def _unleet_chunk(chunk: str, *, everywhere: bool) -> str:
    inner = chunk.lstrip(_BEFORE).rstrip(_AFTER)
    if everywhere and _ANY_LEET.fullmatch(inner):
        start = chunk.index(inner)
        return chunk[:start] + inner.translate(_LEET) + chunk[start + len(inner) :]
    if len(inner) < 4 or inner.isalpha():
        return chunk
    start = chunk.index(inner)
    words = "-".join(map(_unleet_word, inner.split("-")))
    return chunk[:start] + words + chunk[start + len(inner) :]


def _unleet_word(word: str) -> str:
    """The word with digits read as letters. Numbers, models and units (`3D`, `i18n`, `mp3`) stay."""
    marks = [place for place, sign in enumerate(word) if not sign.isalpha()]
    letters = len(word) - len(marks)
    if (
        not marks
        or 2 * letters <= 3 * len(_MARKS.findall(word))
        or not _LEET_WORD.fullmatch(word)
        or _CAMEL.search(word)
    ):
        return word
    return word if _MODEL.fullmatch(word) or _NUMBER.search(word) else word.translate(_LEET)
