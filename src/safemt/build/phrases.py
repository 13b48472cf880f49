"""What templates take from a query: noun phrases, a phrase for the picture, an ask that is not verbatim."""

import random
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from safemt.build.words import STOP_WORDS, grams, load_data, words

ASK_OVERLAP: Final = 0.5
"""Largest share of a query's 5-grams that an ask may repeat."""

_LISTS: Final = load_data("phrases.yaml")
_BEFORE_NOUN: Final = frozenset(_LISTS["before_noun"].split())
_NOT_NOUN: Final = frozenset(_LISTS["not_noun"].split())
_SEAMS: Final = frozenset(_LISTS["seams"].split())
_ASIDES: Final[Sequence[str]] = _LISTS["asides"]
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


def key_phrase(text: str, longest: int = 90) -> str:
    """The part of a query that a typographic picture shows: without its opening, cut at a word."""
    core = core_of(text).rstrip("?.! ")
    if len(core) > longest:
        core = core[:longest].rsplit(" ", 1)[0] + " …"
    return core[:1].upper() + core[1:]


def indirect_ask(query: str, chance: random.Random) -> str:
    """The query for the last turn: its opening gone and small asides between its parts, the meaning kept.

    At most `ASK_OVERLAP` of the query's own 5-grams stand in it. No full stop or question mark at the end.
    """
    core = core_of(query).rstrip("?.!: ")
    core = core[:1].lower() + core[1:] if core[1:2].islower() else core
    tokens = core.replace("\n", " ").split()
    own = set(grams(words(query)))
    asides = iter(chance.sample(_ASIDES, len(_ASIDES)))
    while len(own & _spread(tokens)) > ASK_OVERLAP * len(own):
        aside = next(asides, None)
        if aside is None:
            asides = iter(chance.sample(_ASIDES, len(_ASIDES)))
            aside = next(asides)
        tokens = _with_aside(tokens, aside)
    return " ".join(tokens)


def core_of(query: str) -> str:
    """A query without an opening that adds nothing; "ways to …" where it asked how."""
    text = " ".join(query.split())
    for pattern, replacement in _OPENINGS:
        match = pattern.match(text)
        if match and len(words(text[match.end() :])) >= 2:
            return replacement + text[match.end() :]
    return text


def _spread(tokens: Sequence[str]) -> set[tuple[str, ...]]:
    return set(grams(words(" ".join(tokens))))


def _with_aside(tokens: list[str], aside: str) -> list[str]:
    """Put an aside into the longest stretch without one, at a seam near its middle."""
    bounds = [0, *(n + 1 for n, token in enumerate(tokens) if token.endswith(",")), len(tokens)]
    start, stop = max(pairwise(bounds), key=lambda pair: pair[1] - pair[0])
    middle = (start + stop) / 2
    inner = range(start + 1, stop)
    seams = [
        n
        for n in inner
        if tokens[n].lower() in _SEAMS and min(n - start, stop - n) >= min(2, len(inner) // 2)
    ]
    place = min(seams or inner or [stop], key=lambda n: (abs(n - middle), n))
    before = tokens[:place]
    if before:
        before[-1] = before[-1].rstrip(",") + ","
    return [*before, f"{aside},", *tokens[place:]]
