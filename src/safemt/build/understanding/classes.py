"""Which act class a query belongs to: cues from its words, and the class whose descriptions it resembles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from safemt.build.ladders.read import act_classes
from safemt.build.ladders.schema import GENERAL, ActClass
from safemt.build.understanding.request import Request
from safemt.build.words import words
from safemt.core.taxonomy import Scenario

LEAST: Final = 1.5
"""The score below which no special class fits and the general ladder of the scenario is taken."""
_PHRASE, _VERB, _NOUN, _MEANING = 3.0, 2.0, 1.0, 6.0
_TEMPERATURE: Final = 1.5

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Classified:
    """An act class and how sure it is, in [0, 1]."""

    act: ActClass
    confidence: float
    by: str
    """`class`, `general` (the scenario's ladder for everything else) or `borrowed` (no ladder there yet)."""


def classify_act(
    text: str, request: Request, scenario: Scenario, known: Mapping[str, ActClass] | None = None
) -> Classified:
    """The act class of a query within its scenario.

    Args:
        text: The query.
        request: The query, parsed.
        scenario: Where to look.
        known: The act classes by id; default: those of the package.
    """
    known = act_classes() if known is None else known
    here = [each for each in known.values() if each.scenario is scenario]
    general = [each for each in here if each.name == GENERAL]
    special = [each for each in here if each.name != GENERAL and request.form in each.ladder.forms] or [
        each for each in here if each.name != GENERAL
    ]
    if special:
        scores = _scores(text, request, special)
        best = max(scores, key=lambda each: (scores[each], each))
        confidence = 1 / sum(math.exp((score - scores[best]) / _TEMPERATURE) for score in scores.values())
        if scores[best] >= LEAST or not general:
            return Classified(known[best], confidence * min(1.0, max(scores[best], 0.1) / LEAST), "class")
    if general:
        return Classified(general[0], 0.0, "general")
    ids = sorted(known)
    return Classified(known[ids[sum(map(ord, scenario.slug)) % len(ids)]], 0.0, "borrowed")


def _scores(text: str, request: Request, among: Sequence[ActClass]) -> dict[str, float]:
    spoken = f" {' '.join(words(text))} "
    vector = vector_of(text)
    near = {each.id: float(_described(each.ladder.describes) @ vector) for each in among}
    middle = sum(near.values()) / len(near)
    found = {}
    for each in among:
        cues = each.ladder.cues
        if any(f" {word} " in spoken for word in cues.never):
            found[each.id] = -1.0
            continue
        score = _PHRASE * sum(f" {' '.join(words(phrase))} " in spoken for phrase in cues.phrases)
        score += _VERB * len(set(cues.verbs) & request.lemmas)
        score += _NOUN * sum(noun in request.lemmas or f" {noun} " in spoken for noun in cues.nouns)
        found[each.id] = score + _MEANING * (near[each.id] - middle)
    return found


@lru_cache(maxsize=8192)
def vector_of(text: str) -> Vector:
    """[hidden], of length 1: a text as the moderator's encoder sees it."""
    from safemt.moderation.detectors.embedded.model import load_model
    from safemt.moderation.detectors.embedded.windows import turn_windows

    model = load_model()
    vector = model.encoder.vector(turn_windows(model.tokenizer.tokens(text))[0])
    return np.asarray(vector / (np.linalg.norm(vector) or 1.0), dtype=np.float32)


@cache
def _described(texts: tuple[str, ...]) -> Vector:
    mean = np.mean([vector_of(text) for text in texts], axis=0)
    return np.asarray(mean / (np.linalg.norm(mean) or 1.0), dtype=np.float32)
