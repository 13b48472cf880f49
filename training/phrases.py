"""What the frames of the training data take from a query, found without a parser."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from safemt.build.words import STOP_WORDS, words

_LISTS: Final[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "data" / "phrases.yaml").read_text(encoding="utf-8")
)
_BEFORE_NOUN: Final = frozenset(_LISTS["before_noun"].split())
_NOT_NOUN: Final = frozenset(_LISTS["not_noun"].split())
_OPENINGS: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(found, re.IGNORECASE), put) for found, put in _LISTS["openings"]
]
_ENDS: Final = re.compile(r"[.,;:!?()\"“”\[\]{}/\n]")
_TOKEN: Final = re.compile(r"[A-Za-z][A-Za-z'’-]*|[.,;:!?()\"“”\[\]{}/\n]|\S")


def noun_phrases(text: str) -> tuple[str, ...]:
    """Phrases of one to three words after an article or preposition: likely nouns, found without a model."""
    found: list[str] = []
    current: list[str] = []
    open_ = False
    for token in [*_TOKEN.findall(text), "."]:
        word = token.lower().replace("’", "'")
        if _ENDS.match(token) or word in STOP_WORDS or word in _BEFORE_NOUN or not token[0].isalpha():
            if current and not current[-1].endswith(("ing", "ly")) and "'" not in "".join(current):
                found.append(" ".join(current[-3:]))
            current = []
            open_ = word in _BEFORE_NOUN
        elif open_ and (word in _NOT_NOUN or len(word) < 3):
            current = []
        elif open_:
            current.append(word.removesuffix("'s"))
    unique = dict.fromkeys(phrase for phrase in found if 3 < len(phrase) <= 30)
    return tuple(unique)[:6]


def core_of(query: str) -> str:
    """A query without an opening that adds nothing; "ways to …" where it asked how."""
    text = " ".join(query.split())
    for pattern, replacement in _OPENINGS:
        match = pattern.match(text)
        if match and len(words(text[match.end() :])) >= 2:
            return replacement + text[match.end() :]
    return text
