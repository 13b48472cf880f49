"""`template`: dialogues from the package's own frames, offline; the same seed gives the same words."""

import random
from functools import cache
from hashlib import sha256
from importlib.resources import files

from safemt.build.gates import risk_words
from safemt.build.methods.base import Material
from safemt.build.methods.registry import METHODS
from safemt.build.phrases import indirect_ask, noun_phrases
from safemt.build.scenario import lexicons
from safemt.core.schema import Message
from safemt.core.taxonomy import Method, Scenario

NAME = "template"


def write_dialogue(
    question: str, *, scenario: Scenario, turns: int, method: Method | None, seed: str, voice: str
) -> tuple[Message, ...]:
    """A dialogue of `turns` turns on a question; one turn is the question itself.

    `seed` decides the frame, `voice` how the question is put: a benign twin has its query's seed and so its
    frame, word for word, with another ask.
    """
    if turns == 1 or method is None:
        return (Message(role="user", content=question.strip()),)
    lexicon = lexicons()[scenario]
    material = Material(
        ask=indirect_ask(question, random.Random(voice)),
        phrases=noun_phrases(question),
        topics=[topic for topic in lexicon.topics if not risk_words(topic)],
        aspects=lexicon.aspects,
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
    found |= {f"prompts/{entry.name}": entry for entry in root.joinpath("prompts").iterdir() if entry.is_file()}
    return {name: sha256(found[name].read_bytes()).hexdigest() for name in sorted(found)}
