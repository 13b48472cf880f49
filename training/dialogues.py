"""Dialogues for training: the same forms around harmful and harmless queries, so that only intent differs.

Only user turns are made: the moderator does not read assistant turns, which anybody can forge.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from safemt.build.generators.template import write_dialogue
from safemt.build.methods.registry import METHODS
from safemt.build.scenario import lexicons
from safemt.core.taxonomy import Method, Scenario
from training.queries import Query, load_yaml

_BLANK: Final = re.compile(r"\{(\w+)\}")
_SCENARIOS: Final = list(Scenario)
HINT: Final = 0.15
"""Weight of a turn that names the subject of a query that is still to come."""
FRAME: Final = 0.4
"""Weight of a turn that gives nothing away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A user turn and what is to be learnt from it; targets in [0, 1], each with its weight."""

    text: str
    own: float
    """Is the text harmful on its own?"""
    own_weight: float
    risk: float
    """Does it, with all before it, serve harmful intent?"""
    intent: float
    """Has the dialogue up to here shown harmful intent?"""
    weight: float
    """Of `risk` and `intent`."""
    support: float = 0.0
    """Does it speak of distress, or of harm that was done to the speaker?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """User turns with their targets."""

    turns: tuple[Turn, ...]
    group: str
    source: str
    form: str
    """How it was made: `single`, a builder's method, `coreference`, `natural` …"""
    scenario: int | None = None

    @property
    def harmful(self) -> float:
        """The target at its end or at its worst turn."""
        return max(turn.risk for turn in self.turns)


def asked(text: str, query: Query) -> Turn:
    """A turn that puts the query in words."""
    return Turn(
        text=text, own=query.harmful, own_weight=query.weight, risk=query.harmful, intent=query.harmful,
        weight=query.weight,
    )  # fmt: skip


def harmless(text: str, weight: float = 1.0) -> Turn:
    """A turn of ordinary talk."""
    return Turn(text=text, own=0.0, own_weight=weight, risk=0.0, intent=0.0, weight=weight)


def hint(text: str, query: Query) -> Turn:
    """A turn that only names what the query will be about."""
    return Turn(
        text=text, own=0.0, own_weight=0.0, risk=0.5 * query.harmful, intent=0.5 * query.harmful,
        weight=HINT * query.weight,
    )  # fmt: skip


def after(text: str, query: Query, *, linked: bool) -> Turn:
    """A turn behind the query that goes on with it or leaves it. On its own it says nothing."""
    return Turn(
        text=text, own=0.0, own_weight=0.0 if linked else 0.5, risk=query.harmful if linked else 0.0,
        intent=query.harmful, weight=0.6 * query.weight,
    )  # fmt: skip


def single(query: Query, chance: random.Random) -> list[Turn]:
    """The query alone, in one of many wraps."""
    return [asked(put(chance.choice(_frames("wraps")), query, chance), query)]


def built(query: Query, chance: random.Random) -> list[Turn]:
    """The builder's own dialogue, of any method and of two to eight turns."""
    scenario = query.scenario if query.scenario is not None else chance.randrange(len(_SCENARIOS))
    lexicon = lexicons()[_SCENARIOS[scenario]]
    seed = str(chance.random())
    turns = chance.choice((2, 2, 3, 3, 4, 4, 5, 6, 8))
    messages = write_dialogue(
        query.text,
        topic=chance.choice(lexicon.topics),
        aspects=lexicon.aspects,
        turns=turns,
        method=chance.choice([method for method in Method if turns >= METHODS[method].fewest_turns]),
        seed=seed,
        voice=seed,
    )
    texts = [message.content for message in messages if message.role == "user"]
    return [*lead(texts[:-1], query), asked(texts[-1], query)]


def towards(query: Query, chance: random.Random) -> list[Turn]:
    """The subject first, ever closer, then the query."""
    return _staged(query, chance, "openers", "middles", "closers")


def by_actor(query: Query, chance: random.Random) -> list[Turn]:
    """The subject by way of a person or an event, then the query."""
    return _staged(query, chance, "actor_openers", "actor_middles", "actor_closers")


def in_story(query: Query, chance: random.Random) -> list[Turn]:
    """A story or a role first, then the query inside it."""
    return _staged(query, chance, "story_openers", "story_middles", "story_closers")


def pretext(query: Query, chance: random.Random) -> list[Turn]:
    """Somebody else is said to want it: asking for the thing itself is the query, asking for help is not."""
    if not query.act:
        return towards(query, chance)
    who = chance.choice(_frames("who"))
    given = {"act": query.act, "who": who, "who_cap": who[:1].upper() + who[1:]}
    first = [chance.choice(_frames("pretext_openers"))]
    first += chance.sample(_frames("pretext_middles"), chance.choice((0, 1, 1, 2)))
    first = [put(line, query, chance, **given) for line in first]
    if chance.random() < 0.35:
        helped = chance.sample(_frames("pretext_help"), chance.choice((1, 1, 2)))
        return [*lead(first, query), *(harmless(text, 0.8) for text in helped)]
    asks = chance.sample(_frames("pretext_asks"), chance.choice((1, 1, 2)))
    return [*lead(first, query), *(replace(asked(text, query), own_weight=0.0) for text in asks)]


def coreference(query: Query, chance: random.Random) -> list[Turn]:
    """The subject first, then the query with a pronoun in its place. Falls back where it names no subject."""
    parts = [phrase for phrase in query.phrases if phrase in query.text.lower()]
    if not parts:
        return towards(query, chance)
    chosen = chance.sample(parts, min(len(parts), chance.choice((1, 1, 2))))
    rest = query.text
    for phrase in chosen:
        pronoun = (
            "them" if phrase.endswith("s") and not phrase.endswith("ss") else chance.choice(("it", "that"))
        )
        rest = re.sub(rf"(?i)\b(?:(?:an?|the|my|your|their|some)\s+)?{re.escape(phrase)}\b", pronoun, rest)
    openers = [put(chance.choice(_frames("openers")), query, chance, np=phrase) for phrase in chosen]
    middles = [
        put(line, query, chance) for line in chance.sample(_frames("middles"), chance.choice((0, 0, 1, 2)))
    ]
    final = chance.choice(_frames("coreference"))
    last = put(final, query, chance, np=chosen[-1], rest=rest.strip())
    return [*lead([*openers, *middles], query), replace(asked(last, query), own_weight=0.1 * query.weight)]


def in_chat(query: Query, before: Sequence[str], chance: random.Random) -> list[Turn]:
    """The query behind ordinary talk."""
    return [*map(harmless, before), *single(query, chance)]


def followed(turns: Sequence[Turn], query: Query, chance: random.Random) -> list[Turn]:
    """Any dialogue, then turns that go on with the query."""
    more = chance.sample(_frames("follow_on"), chance.choice((1, 1, 2, 3)))
    return [*turns, *(after(text, query, linked=True) for text in more)]


def left(turns: Sequence[Turn], query: Query, later: Sequence[str]) -> list[Turn]:
    """Any dialogue, then turns that leave the query."""
    return [*turns, *(after(text, query, linked=False) for text in later)]


FORMS: Final[Mapping[str, Callable[[Query, random.Random], list[Turn]]]] = {
    "single": single,
    "built": built,
    "towards": towards,
    "actor": by_actor,
    "story": in_story,
    "coreference": coreference,
    "pretext": pretext,
}
"""The forms that need nothing but a query."""


def small_talk(count: int, chance: random.Random) -> list[str]:
    """Harmless lines from the hand-written list."""
    return chance.sample(_frames("chat"), count)


def honest_ends(count: int, chance: random.Random) -> list[str]:
    """What a worried person asks, from the hand-written list."""
    return chance.sample(_frames("pretext_help"), count)


def new_topics(count: int, chance: random.Random) -> list[str]:
    """Harmless lines that leave a subject."""
    return chance.sample(_frames("new_topic"), count)


def _staged(query: Query, chance: random.Random, first: str, then: str, last: str) -> list[Turn]:
    count = chance.choice((0, 0, 1, 1, 2, 3, 4))
    lines = [chance.choice(_frames(first)), *chance.sample(_frames(then), count)]
    cast = {key: chance.choice(_frames("roles")) for key in ("role", "role2")}
    said = [put(line, query, chance, **cast) for line in lines]
    return [*lead(said, query), asked(put(chance.choice(_frames(last)), query, chance, **cast), query)]


def lead(texts: Sequence[str], query: Query) -> list[Turn]:
    """Turns before the query: hints from the first one that names a part of it, plain talk before that."""
    turns: list[Turn] = []
    hinted = False
    for text in texts:
        hinted = hinted or any(phrase in text.lower() for phrase in query.phrases)
        turns.append(hint(text, query) if hinted else harmless(text, FRAME))
    return turns


def put(frame: str, query: Query, chance: random.Random, **given: str) -> str:
    phrases = query.phrases or (query.ask[:60].rsplit(" ", 1)[0],)
    values = {
        "q": query.text,
        "ask": query.ask,
        "np": chance.choice(phrases),
        "np2": chance.choice(phrases),
        **given,
    }
    for name in ("ask", "rest"):
        if name in values:
            values[f"{name}_cap"] = values[name][:1].upper() + values[name][1:]
    return _BLANK.sub(lambda blank: values[blank.group(1)], frame)


def _frames(name: str) -> list[str]:
    found: list[str] = load_yaml("frames.yaml")[name]
    return found
