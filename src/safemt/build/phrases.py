"""What templates take from a query: its noun phrases, a phrase for the picture, and an ask that is not verbatim."""

import random
import re
from collections.abc import Sequence
from typing import Final

from safemt.build.words import GRAM, STOP_WORDS, grams, words

ASK_OVERLAP: Final = 0.5
"""Largest share of a query's 5-grams that an ask may repeat."""

_BEFORE_NOUN: Final = frozenset(
    """a an the my your their his her our its this that these those some any of in on for from with about at into
    against over between via through without under toward towards inside during among""".split()
)
_NOT_NOUN: Final = frozenset(
    """step steps way ways method methods guide tutorial list lot kind sort instructions information details example
    examples someone somebody anyone people person others something anything everything thing things best easiest
    make making use using get getting go going do doing create creating order hand hands fact case part number
    time times one two three detailed possible good new several various different specific certain many much
    step-by-step article text letter story script paragraph question questions answer""".split()
)
_ENDS: Final = re.compile(r"[.,;:!?()\"“”\[\]{}/\n]")
_TOKEN: Final = re.compile(r"[A-Za-z][A-Za-z'’-]*|[.,;:!?()\"“”\[\]{}/\n]|\S")

_OPENINGS: Final = (
    (re.compile(r"(?:how|in what ways) (?:can|could|do|would|should|might|to) (?:i|you|we|one|someone|somebody|people)\b ?", re.I), "ways to "),
    (re.compile(r"how to ", re.I), "ways to "),
    (re.compile(r"(?:what are|what's|what is|what're) (?:some |the |a )?(?:best |good |easiest |most effective |effective |possible |common )?(?:ways?|methods?|steps|techniques?|strategies|tips|tactics) (?:to|for|of) ", re.I), ""),
    (re.compile(r"(?:please )?(?:can|could|would|will) you (?:please )?(?:help me (?:to )?|tell me |show me |teach me |guide me )?", re.I), ""),
    (re.compile(r"(?:give|provide|tell|show) (?:me )?(?:with )?", re.I), ""),
    (re.compile(r"(?:i (?:want|need|would like|'d like) to (?:know )?)", re.I), ""),
)  # fmt: skip
"""Openings that add nothing to what is asked: an ask brings its own."""

_SEAMS: Final = frozenset(
    """that which who whose while without with using from by for in on at into against to and or so when where if
    because about as of through including such like than over under between than until despite through via""".split()
)
_HEDGES: Final = (
    "say", "for instance", "as it were", "roughly speaking", "more or less", "so to speak", "in short", "if you like",
    "let us say", "put simply", "generally speaking", "as I see it", "in this case", "in our case", "to be precise",
    "as far as possible", "in plain words", "for our purposes", "at least roughly", "in a nutshell", "as discussed",
    "to stay with it", "in practice", "in the end", "for the record", "by the way", "once more", "in other words",
    "as shown", "to be clear", "as before", "strictly speaking", "in principle", "on the whole", "after all",
    "for what it is worth", "in a word", "if that helps", "as it happens", "all in all",
)  # fmt: skip


def noun_phrases(text: str) -> tuple[str, ...]:
    """Short phrases of one to three words after an article or preposition: likely nouns, found without a model."""
    found: list[str] = []
    current: list[str] = []
    open_ = False
    for token in [*_TOKEN.findall(text), "."]:
        word = token.lower().replace("’", "'")
        if _ENDS.match(token) or word in STOP_WORDS or word in _BEFORE_NOUN or not token[0].isalpha():
            if current and not current[-1].endswith(("ing", "ly")):
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
    hedges = iter(chance.sample(_HEDGES, len(_HEDGES)))
    while len(own & _spread(tokens)) > ASK_OVERLAP * len(own):
        hedge = next(hedges, None)
        if hedge is None:
            hedges = iter(chance.sample(_HEDGES, len(_HEDGES)))
            hedge = next(hedges)
        tokens = _with_aside(tokens, hedge)
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


def _with_aside(tokens: list[str], hedge: str) -> list[str]:
    """Put an aside into the longest stretch without one, at a seam near its middle."""
    bounds = [0, *(n + 1 for n, token in enumerate(tokens) if token.endswith(",")), len(tokens)]
    start, stop = max(zip(bounds, bounds[1:], strict=False), key=lambda pair: pair[1] - pair[0])
    middle = (start + stop) / 2
    inner = range(start + 1, stop)
    seams = [n for n in inner if tokens[n].lower() in _SEAMS and min(n - start, stop - n) >= min(2, len(inner) // 2)]
    place = min(seams or inner or [stop], key=lambda n: (abs(n - middle), n))
    before = tokens[:place]
    if before:
        before[-1] = before[-1].rstrip(",") + ","
    return [*before, f"{hedge},", *tokens[place:]]


def overlap_with_query(query: str, ask: str) -> float:
    """The share of a query's 5-grams that an ask repeats."""
    own = set(grams(words(query)))
    return len(own & set(grams(words(ask)))) / len(own) if own else 0.0


MIN_WORDS: Final = GRAM
"""Shorter queries have no 5-gram and cannot be told apart by any."""
