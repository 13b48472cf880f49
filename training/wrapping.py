"""Texts around a request: small talk, JSON, code, comments, long padding. For training and for measuring.

The padding of the measurement (`WRAPS`) and that of the training (`wrapped`) come from different lists.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from training.queries import load_yaml

IN_TALK: Final = 0.6
"""Share of wrapped texts that stand among sentences; the others stand in a container."""
_BLANK: Final = re.compile(r"\{(text|repr|json|pad|a|b)\}")


def _padding(chance: random.Random, length: int) -> str:
    """Harmless sentences of about `length` characters, from the list that only the measurement uses."""
    lines = list(load_yaml("padding.yaml")["measuring"])
    found: list[str] = []
    while sum(map(len, found)) < length:
        chance.shuffle(lines)
        found += lines
    text = " ".join(found)
    return text[: text.index(" ", length - 1)] if " " in text[length - 1 :] else text


def _around(text: str, chance: random.Random, length: int) -> str:
    return f"{_padding(chance, length // 2)} {text} {_padding(chance, length // 2)}"


def _in_frame(name: str) -> Callable[[str, random.Random], str]:
    """The text inside one of the frames that only the measurement uses."""

    def put(text: str, chance: random.Random) -> str:
        frame: str = load_yaml("padding.yaml")["frames"][name]
        values = {"text": text, "repr": repr(text), "json": json.dumps(text), "pad": _padding(chance, 80)}
        return _BLANK.sub(lambda blank: values[blank.group(1)], frame)

    return put


WRAPS: Final[Mapping[str, Callable[[str, random.Random], str]]] = {
    "100 characters": lambda text, chance: _around(text, chance, 100),
    "300 characters": lambda text, chance: _around(text, chance, 300),
    "5,000 characters": lambda text, chance: _around(text, chance, 5000),
    **{name: _in_frame(name) for name in ("JSON", "fence", "comment", "quoted", "table")},
}
"""How a request is wrapped to see whether it is still found."""


def wrapped(text: str, talk: Sequence[str], chance: random.Random) -> str:
    """The text inside something harmless, for training. `talk`: harmless sentences to draw from."""
    if chance.random() < IN_TALK:
        before, behind = (chance.sample(talk, chance.randint(0, 5)) for _ in range(2))
        if before and chance.random() < 0.4:  # the request begins in the middle of a sentence
            words = before[-1].split()
            before[-1] = " ".join(words[: chance.randint(1, len(words))]).rstrip(".?! ")
            text = f"{before.pop()} {text}"
        return chance.choice((" ", " ", "\n", "\n\n")).join([*before, text, *behind])
    frame: str = chance.choice(load_yaml("padding.yaml")["containers"])
    first, second = chance.sample(talk, 2)
    values = {"text": text, "json": json.dumps(text)[1:-1], "a": first, "b": second}
    return _BLANK.sub(lambda blank: values[blank.group(1)], frame)
