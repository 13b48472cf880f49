"""Further forms around a query, and talk that only sounds harmful, from `data/attacks.yaml`."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from training.dialogues import Turn, asked, harmless, lead, put
from training.queries import Query, load_yaml


def third_person(query: Query, chance: random.Random) -> list[Turn]:
    """Somebody else did it; asked is for the detail."""
    if not query.act:
        return crescendo(query, chance)
    frame = chance.choice(_lines("third"))
    return [*_before(query, chance), _framed(frame.replace("{act}", query.act), query)]


def crescendo(query: Query, chance: random.Random) -> list[Turn]:
    """Turns without a harmful word, then the query in the last one."""
    slow = chance.sample(_lines("slow"), chance.choice((2, 3, 3, 4, 5, 6)))
    last = put(chance.choice(_lines("turn")), query, chance)
    return [*lead(slow, query), _framed(last, query)]


def mode(query: Query, chance: random.Random) -> list[Turn]:
    """A game in which the rules are said to be off."""
    more = chance.sample(_lines("mode_more"), chance.choice((0, 0, 0, 1, 2)))
    last = put(chance.choice(_lines("mode")), query, chance)
    return [*lead(more, query), _framed(last, query)]


def editing(query: Query, chance: random.Random) -> list[Turn]:
    """Translation, correction or completion as a pretext."""
    last = put(chance.choice(_lines("editing")), query, chance)
    return [*_before(query, chance), _framed(last, query)]


_STOPS: Final = ".?!\uff1f\u3002\u061f\u0964"

ATTACKS: Final[Mapping[str, Callable[[Query, random.Random], list[Turn]]]] = {
    "third person": third_person,
    "crescendo": crescendo,
    "mode": mode,
    "editing": editing,
}


def distress_talk(chance: random.Random) -> list[Turn]:
    """Somebody in distress, or a victim: harmless, and in need of support."""
    more = (
        "distress_more" if chance.random() < 0.6 else "distress"
        for _ in range(chance.choice((0, 1, 2, 3, 5)))
    )
    lines = [chance.choice(_lines(name)) for name in ("distress", *more)]
    return [replace(harmless(line), support=1.0) for line in lines]


def plain_talk(count: int, chance: random.Random) -> list[str]:
    """Lines that sound odd out of their context and are harmless."""
    return chance.sample(_lines("plain"), count)


def foreign_queries(chance: random.Random) -> list[Query]:
    """The hand-written requests in other languages, half of them harmful; a pair shares its group."""
    return [
        Query(
            text=text if chance.random() < 0.7 else text.rstrip(_STOPS),
            harmful=float(kind == "harm"),
            weight=1.0,
            group=f"foreign:{place}",
            source="foreign",
        )
        for both in load_yaml("foreign.yaml").values()
        for kind, texts in both.items()
        for place, text in enumerate(texts)
    ]


def _before(query: Query, chance: random.Random) -> list[Turn]:
    return lead(chance.sample(_lines("slow"), chance.choice((0, 0, 1, 2))), query)


def _framed(text: str, query: Query) -> Turn:
    """The turn with the query; what a game or a pretext does to a harmless one is less sure."""
    return replace(asked(text, query), own_weight=0.7 * query.weight)


def _lines(name: str) -> list[str]:
    found: list[str] = load_yaml("attacks.yaml")[name]
    return found
