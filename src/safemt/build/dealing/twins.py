"""Benign twins: the same dialogue up to its middle, then a harmless act next door.

A twin has its query's method, length and kind of picture, and the same first exchanges. It neither repeats
what the query asks nor asks how to prevent it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import Material, filled, unmarked
from safemt.build.dealing.methods import Script
from safemt.build.dealing.talk import talk
from safemt.build.dealing.walk import Said
from safemt.build.ladders.schema import Exchange, Neighbour
from safemt.build.words import content_stems, words
from safemt.core.taxonomy import Method

LEAST_RATIO: Final = 0.85
MOST_RATIO: Final = 1.15
"""Words of a twin's dialogue for each word of its query's."""
_TRIES: Final = 16


@dataclass(frozen=True, slots=True)
class Next:
    """The harmless act of one twin."""

    neighbour: Neighbour
    thing: str
    question: str
    """An ask that names the thing and stands alone."""


def choose(material: Material, decks: Decks) -> Next:
    """A neighbour of the query's class and a thing that share no word with the query's act and object."""
    own = {found for lemma in material.request.lemmas for found in content_stems(lemma)}

    def apart(text: str) -> bool:
        return not own & set(content_stems(text))

    neighbours = material.ladder.neighbours
    found = decks.deal(
        ("neighbour", material.class_id),
        neighbours,
        lambda n: any(apart(t) for t in n.things) and any(map(apart, n.asks)),
    )
    neighbour = found or neighbours[0]
    key = (material.class_id, neighbour.act)
    thing = decks.deal(("thing", *key), neighbour.things, apart) or neighbour.things[0]
    frame = decks.deal(("question", *key), neighbour.asks, apart) or neighbour.asks[0]
    return Next(neighbour, thing, filled(frame, {"thing": thing}))


def twin_script(
    harmful: Script,
    material: Material,
    next_: Next,
    name: str,
    method: Method,
    decks: Decks,
) -> Script:
    """The twin of one dialogue.

    Args:
        harmful: The query's dialogue.
        material: The query's material; its cast plays in the twin, too.
        next_: The harmless act.
        name: The thing, or the phrase that points at it in the twin's picture.
        method: The method of both.
        decks: Deal exchanges and asks.
    """
    wanted = _length(harmful.texts())
    kept = _kept(harmful)
    missing = len(harmful.exchanges) - len(kept)
    best, closest = harmful, float("inf")
    for _ in range(_TRIES):
        parted = _parted(material, next_, name, missing, method, decks, harmful)
        script = Script(
            (*kept, *parted), _ask(material, next_, name, method, decks, harmful), harmful.carrier
        )
        distance = abs(_length(script.texts()) / wanted - 1)
        if distance < closest:
            best, closest = script, distance
        if LEAST_RATIO <= _length(script.texts()) / wanted <= MOST_RATIO:
            break
    return _lengthened(best, wanted, decks)


def parted_at(exchanges: int) -> int:
    """How many first exchanges a twin shares with its query's dialogue: up to the middle."""
    return 1 if exchanges == 1 else exchanges // 2


def shared(script: Script) -> list[Said]:
    """The exchanges that a twin keeps, without what is the query's own."""
    own = script.exchanges[: parted_at(len(script.exchanges))]
    return [replace(said, own="", say=said.plain or said.say) for said in own]


def _kept(script: Script) -> list[Said]:
    if len(script.exchanges) == 1 and script.exchanges[0].named:
        return [replace(said, own="", say=said.plain) for said in script.exchanges]
    return shared(script)


def _parted(
    material: Material,
    next_: Next,
    name: str,
    count: int,
    method: Method,
    decks: Decks,
    harmful: Script,
) -> list[Said]:
    """The exchanges behind the middle: first one that turns to the thing, then others about it."""
    if method is Method.IN_CONTEXT:
        return list(harmful.exchanges[len(harmful.exchanges) - count :][::-1]) if count else []
    used: set[str] = set()
    found: list[Said] = []
    for place in range(count):
        key = ("twin", material.class_id, next_.neighbour.act, place == 0)
        card = decks.deal(
            key,
            next_.neighbour.exchanges,
            partial(_turns_to, used, place == 0),
        ) or decks.deal((*key, "any"), next_.neighbour.exchanges, lambda e: e.say not in used)
        if card is None:
            rung = decks.deal(
                ("twin_rung", material.class_id), [r for r in material.ladder.rungs if r.distance < 3]
            )
            card = (rung or material.ladder.rungs[0]).first[0]
        used.add(card.say)
        before = ""
        if method is Method.ROLE_PLAY:
            before = str(decks.deal("research", talk().research))
        found.append(
            Said(filled(card.say, {"thing": name}), filled(unmarked(card.reply), {"thing": name}), before)
        )
    return found


def _turns_to(used: set[str], first: bool, exchange: Exchange) -> bool:
    """Whether an exchange is new, and names the thing if it is the first of the twin's own."""
    return exchange.say not in used and ("{thing}" in exchange.say) == first


def _absent(last: str, sentence: str) -> bool:
    return sentence not in last


def _ask(material: Material, next_: Next, name: str, method: Method, decks: Decks, harmful: Script) -> str:
    fiction = method is Method.ROLE_PLAY and next_.neighbour.fiction
    frames: Sequence[str] = next_.neighbour.fiction if fiction else next_.neighbour.asks
    frame = (
        decks.deal(("twin_ask", material.class_id, next_.neighbour.act, bool(fiction)), frames) or frames[0]
    )
    last = filled(frame, {"thing": name, **material.cast})
    if harmful.carrier is not None:
        return harmful.carrier.put(last)
    return last


def _lengthened(script: Script, wanted: int, decks: Decks) -> Script:
    """The script with sentences behind its last turn until it is about as long as wanted."""
    for _ in range(6):
        missing = wanted * LEAST_RATIO - _length(script.texts())
        if missing <= 0:
            break
        add = decks.deal("add_ons", talk().add_ons, partial(_absent, script.last))
        script = replace(script, last=f"{script.last} {add}")
    return script


def _length(texts: Sequence[str]) -> int:
    return sum(len(words(text)) for text in texts) or 1
