"""`template`: dialogues from the package's own frames, offline; the same seed gives the same words."""

import random
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files

from safemt.build.methods.base import Material
from safemt.build.methods.registry import METHODS
from safemt.build.phrases import indirect_ask, noun_phrases
from safemt.core.schema import Message
from safemt.core.taxonomy import Method

NAME = "template"


def write_dialogue(
    question: str,
    *,
    topic: str,
    aspects: Sequence[str],
    turns: int,
    method: Method | None,
    seed: str,
    voice: str,
) -> tuple[Message, ...]:
    """A dialogue of `turns` turns on a question; one turn is the question itself.

    `topic` and `aspects` are what the harmless turns speak of. `seed` decides the frame, `voice` how the
    question is put: a benign twin has its query's seed and so its frame, word for word, with another ask.
    """
    if turns == 1 or method is None:
        return (Message(role="user", content=question.strip()),)
    material = Material(
        ask=indirect_ask(question, random.Random(voice)),
        phrases=noun_phrases(question),
        topic=topic,
        aspects=aspects,
    )
    texts = METHODS[method].write(material, turns, random.Random(seed))
    return as_messages(texts)


def as_messages(texts: list[str]) -> tuple[Message, ...]:
    """Texts as messages, user first and then in turn."""
    return tuple(
        Message(role="assistant" if place % 2 else "user", content=text.strip())
        for place, text in enumerate(texts)
    )


@cache
def data_hashes() -> dict[str, str]:
    """The SHA-256 of every data file of the builder, prompts too, by name."""
    root = files("safemt.build").joinpath("data")
    found = {entry.name: entry for entry in root.iterdir() if entry.is_file()}
    found |= {
        f"prompts/{entry.name}": entry for entry in root.joinpath("prompts").iterdir() if entry.is_file()
    }
    return {name: sha256(found[name].read_bytes()).hexdigest() for name in sorted(found)}
