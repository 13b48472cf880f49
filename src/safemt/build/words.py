"""Words of a text, and what is counted over them: content words, stems, 5-grams."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml

from safemt.core.schema import Message

GRAM: Final = 5
"""Length in words of the n-grams that tell two dialogues apart."""
STEM: Final = 6
"""Words are compared by their first so many letters: crude, but the same in any language."""

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_STOP_WORDS: Final = """
    a about after again all also am an and any are as at be because been before being between both
    but by can can't cannot could did do does doing don't for from further get give given had has
    have having he her here hers him his how i i'd i'll i'm i've if in into is isn't it it's its
    itself just let like make may me might more most must my no nor not now of off on once one only
    or other our out over own please same shall she should so some such tell than that that's the
    their them then there these they this those through to too under until up us very was we were
    what what's when where which while who whom why will with without would write you you'd your
    yours yourself
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())


def load_data(name: str) -> Any:
    """One of the builder's own YAML files, from the package."""
    text = files("safemt.build").joinpath("data", name).read_text(encoding="utf-8")
    # The safe loader, in C where PyYAML was built with it: the pure one takes a second for our files.
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def words(text: str) -> list[str]:
    """The words of a text, in lower case, without punctuation."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def normal(text: str) -> str:
    """A text reduced to its words, to compare texts that differ in case, blanks and punctuation only."""
    return " ".join(words(unicodedata.normalize("NFKC", text)))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The first letters of a word, without a plural's or possessive's ending."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return word[:STEM]


def base_forms(text: str) -> list[str]:
    """What the words of a text may be inflected from, crudely: `hiding` gives `hid` and `hide`."""
    found = []
    for word in words(text):
        for ending in ("ing", "ed", "es", "s", "d"):
            if word.endswith(ending) and len(word) > len(ending) + 2:
                root = word[: -len(ending)]
                found += [root, root + "e", root[:-1] if root[-1:] == root[-2:-1] else root]
    return found


def content_stems(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def grams(tokens: Sequence[str], n: int = GRAM) -> Iterator[tuple[str, ...]]:
    """The n-grams of a sequence of words; none where it is shorter."""
    return zip(*(tokens[start:] for start in range(n)), strict=False)


def dialogue_grams(dialogue: Sequence[Message]) -> set[int]:
    """The hashes of a dialogue's word 5-grams, none across two messages. Stable within one process only."""
    return {hash(gram) for message in dialogue for gram in grams(words(message.content))}
