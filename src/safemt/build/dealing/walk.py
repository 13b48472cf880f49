"""Walking down a ladder: which rungs a dialogue of k turns visits, and what it takes from them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from safemt.build.dealing.asks import Allocation, slot_values, stated
from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import SLOT_OF, Material, filled, mark_of, slots_of, unmarked
from safemt.build.dealing.talk import talk
from safemt.build.ladders.schema import CASE, EVERYDAY, FAILING, WORKING, Exchange, Rung

Step = tuple[tuple[int, ...], bool]
"""The distances that a step may have, and whether it refers back to the step before."""

_PLANS: Final[dict[int, tuple[tuple[Step, ...], ...]]] = {
    1: ((((WORKING, FAILING, CASE), False),),),
    3: (
        (((EVERYDAY, WORKING), False), ((FAILING,), False), ((CASE,), False)),
        (((WORKING,), False), ((FAILING,), False), ((CASE,), False)),
    ),
    5: (
        (
            ((EVERYDAY,), False),
            ((WORKING,), False),
            ((WORKING,), True),
            ((FAILING,), False),
            ((CASE,), False),
        ),
    ),
    7: (
        (
            ((EVERYDAY,), False),
            ((EVERYDAY,), True),
            ((WORKING,), False),
            ((WORKING,), True),
            ((FAILING,), False),
            ((FAILING,), True),
            ((CASE,), False),
        ),
    ),
}
_LEAD_INS: Final = 0.45
"""How often a turn that changes the subject takes up the answer before it."""


@dataclass(frozen=True, slots=True)
class Said:
    """One exchange of a dialogue, ready to be written, with what its twin must leave out."""

    say: str
    reply: str
    before: str = ""
    """What the user says first: the picture is shown, a part named, the answer taken up."""
    own: str = ""
    """A sentence about the query itself; a twin leaves it out."""
    named: bool = False
    """Whether `say` names a part of the query."""
    mark: str = ""
    plain: str = ""
    """`say` with stand-ins in place of the query's parts."""

    def user(self, *, own: bool = True) -> str:
        """The user's turn; for a twin without what is the query's own."""
        say = self.say if own or not self.plain else self.plain
        return " ".join(text for text in (self.before, self.own if own else "", say) if text)


def plan_of(exchanges: int, chance: random.Random) -> tuple[Step, ...]:
    """The steps of a walk with so many exchanges, from far to near."""
    if exchanges in _PLANS:
        return chance.choice(_PLANS[exchanges])
    first = [
        min(CASE, EVERYDAY + (CASE - EVERYDAY) * place // max(1, exchanges - 1)) for place in range(exchanges)
    ]
    return tuple(
        ((distance,), place > 0 and distance == first[place - 1] and distance < CASE)
        for place, distance in enumerate(first)
    )


def walk(
    material: Material, exchanges: int, allocation: Allocation, decks: Decks, chance: random.Random
) -> list[Said]:
    """The exchanges of a walk down the ladder, the near part named in the last one."""
    steps = plan_of(exchanges, chance)
    found: list[Said] = []
    used: set[str] = set()
    rung: Rung | None = None
    for place, (distances, refers) in enumerate(steps):
        last = place == len(steps) - 1
        near = allocation.near if last else None
        later = refers and rung is not None
        if not later or rung is None:
            rung = _rung(material, distances, used, near is not None, decks, exchanges, place)
            used.add(rung.id)
        said = _exchange(material, rung, later, near, decks, chance)
        if place and not later:
            said = replace(said, before=lead_in(found[-1].mark, decks, chance))
        if last and allocation.split:
            said = replace(said, own=stated(material, decks))
        found.append(said)
    return found


def _rung(
    material: Material,
    distances: Sequence[int],
    used: set[str],
    slotted: bool,
    decks: Decks,
    size: int,
    place: int,
) -> Rung:
    rungs = [rung for rung in material.ladder.rungs if rung.distance in distances]
    if slotted and len(distances) > 1:
        rungs = [rung for rung in rungs if rung.distance >= FAILING]

    def fits(rung: Rung) -> bool:
        return rung.id not in used and any(material.fits(e.say + e.reply) for e in rung.first)

    found = decks.deal(("rung", material.class_id, tuple(distances), size, place), rungs, fits)
    return found or next((rung for rung in rungs if rung.id not in used), rungs[0])


def _exchange(
    material: Material, rung: Rung, later: bool, near: object, decks: Decks, chance: random.Random
) -> Said:
    cards = rung.later if later else rung.first
    slot = SLOT_OF[near.kind] if near is not None else ""  # type: ignore[attr-defined]

    def good(card: Exchange) -> bool:
        names = slots_of(card.say)
        return material.fits(card.say + card.reply) and (names == {slot} if slot else not names)

    key = ("exchange", material.class_id, rung.id, later)
    card = decks.deal((*key, slot), cards, good)
    named = card is not None and bool(slot)
    own = ""
    if card is None and slot and near is not None:
        card = decks.deal((*key, ""), cards, lambda c: material.fits(c.say + c.reply) and not slots_of(c.say))
        about = decks.deal(("about", material.class_id), talk().about)
        own = filled(str(about), {"part": near.text})  # type: ignore[attr-defined]
    if card is None:
        card = decks.deal((*key, "any"), cards, lambda c: material.fits(c.say + c.reply)) or cards[0]
    values = slot_values(near if named else None, material, chance)  # type: ignore[arg-type]
    plain = slot_values(None, material, random.Random(f"{material.id}:{rung.id}"))
    reply = filled(unmarked(card.reply), values)
    return Said(filled(card.say, values), reply, "", own, named, mark_of(card.reply), filled(card.say, plain))


def lead_in(mark: str, decks: Decks, chance: random.Random) -> str:
    """A short sentence that takes up the last answer, or nothing."""
    if chance.random() >= _LEAD_INS:
        return ""
    if mark and chance.random() < 0.6:
        frame = str(decks.deal("lead_ins", talk().lead_ins))
        return filled(frame, {"mark": mark, "Mark": mark[:1].upper() + mark[1:]}).strip('"')
    return str(decks.deal("plain_lead_ins", talk().plain_lead_ins))
