"""What the picture of a query shows and which words stand only in it, decided before a word is written."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import Shown
from safemt.build.dealing.talk import common_surfaces, talk
from safemt.build.ladders.schema import ActClass, Carried, Surface
from safemt.build.pictures.card import Card, ImageRole
from safemt.build.pictures.scenes import named, pictograms
from safemt.build.queries import RawQuery
from safemt.build.understanding.request import Part, Request
from safemt.build.words import stem, words

_CLASS_SURFACES: Final = 0.7
"""How often a surface of the act class is taken rather than a common one."""
_OBJECTS: Final = (2, 3, 3, 4)


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """The picture of one side of a query."""

    role: ImageRole
    shown: Shown
    card: Card | None
    """What to draw; None for the source's own picture."""
    surface: Surface | None = None
    prints_request: bool = False
    """Whether the source's picture prints the whole request."""


def plan_picture(
    act: ActClass, request: Request, raw: RawQuery, key: str, decks: Decks, *, source: bool
) -> PicturePlan:
    """The plan for a query's picture.

    Args:
        act: The act class, for its surfaces and objects.
        request: The query, parsed.
        raw: The row of the source: its key phrase, or the text of the page that it gives.
        key: Decides what is left to chance.
        decks: Deal surfaces and objects.
        source: Whether the source's own picture can be used.
    """
    chance = random.Random(f"picture:{key}")
    if source:
        return _of_source(request, raw)
    if raw.picture_text:
        card = Card("page", lines=tuple(raw.picture_text.split("\n")), seed=key)
        return PicturePlan(ImageRole.CONTEXT, Shown(talk().seen["page"]), card)
    parts = carriable(request)
    if parts:
        part = parts[0]
        surface = _surface(act, part.kind, decks, chance)
        if surface is not None:
            return _on_surface(surface, part, key)
    return scene_plan(act, key, decks, chance)


def carriable(request: Request) -> list[Part]:
    """The parts that a picture can carry, the best first.

    The rest of the request must keep some content words, and hold none of the part's own.
    """
    found = []
    for part in request.parts:
        if part.modified:
            continue
        rest = {
            stem(t.lemma)
            for place, t in enumerate(request.phrase)
            if t.content and not part.start <= place < part.stop
        }
        own = {stem(lemma) for lemma in part.lemmas}
        wanted = {stem(word) for lemma in request.lemmas for word in words(lemma)}
        if own & rest or not rest or len(own) >= max(2, 0.75 * len(wanted)):
            continue
        found.append(part)
    rank = {Carried.THING: 0.0, Carried.PEOPLE: 0.3, Carried.PERSON: 0.4, Carried.DOING: 1.2}
    return sorted(found, key=lambda part: (rank[part.kind] - 0.5 * min(3, len(part.lemmas)), part.start))


def words_plan(surface: Surface, text: str, key: str) -> PicturePlan:
    """A surface that prints a phrase of a benign twin."""
    part = Part(Carried.THING, 0, 0, text, frozenset(words(text)))
    return _on_surface(surface, part, key)


def _on_surface(surface: Surface, part: Part, key: str) -> PicturePlan:
    kind = part.kind if part.kind in surface.pointers else Carried.THING
    printed = (
        part.text[:1].upper() + part.text[1:]
        if surface.kind.value in ("poster", "cover", "card", "sign")
        else part.text
    )
    lines = tuple(
        line.replace("{words}", printed if line.startswith("{words}") else part.text)
        for line in surface.lines
    )
    card = Card(surface.kind.value, surface.title, lines, seed=key)
    shown = Shown(surface.seen, part, surface.pointers[kind], part.text)
    return PicturePlan(ImageRole.CARRIES, shown, card, surface)


def _surface(act: ActClass, kind: Carried, decks: Decks, chance: random.Random) -> Surface | None:
    own = chance.random() < _CLASS_SURFACES
    pools = [(act.id, act.ladder.surfaces), ("common", common_surfaces())]
    for name, surfaces in pools if own else reversed(pools):
        found = decks.deal(("surface", name), surfaces, lambda surface: kind in surface.pointers)
        if found is not None:
            return found
    return None


def scene_plan(act: ActClass, key: str, decks: Decks, chance: random.Random) -> PicturePlan:
    """A scene of objects that suit the act class."""
    known = [name for name in act.ladder.objects if name in pictograms()]
    count = min(chance.choice(_OBJECTS), len(known))
    chosen: list[str] = []
    for _ in range(count):
        name = decks.deal(("objects", act.id), known, lambda each: each not in chosen)
        if name is not None:
            chosen.append(name)
    seen = tuple(text.replace("{objects}", named(chosen)) for text in talk().seen["scene"])
    return PicturePlan(ImageRole.ILLUSTRATES, Shown(seen), Card("scene", objects=tuple(chosen), seed=key))


def _of_source(request: Request, raw: RawQuery) -> PicturePlan:
    """The source's picture. If it is known to print words of the request, the text can leave those out."""
    seen = Shown(talk().seen["source"])
    printed = {stem(word) for word in words(raw.key_phrase)}
    whole = {stem(word) for lemma in request.lemmas for word in words(lemma)}
    prints = bool(printed) and len(whole & printed) >= 0.75 * len(whole)
    for part in carriable(request) if printed else ():
        if all(stem(word) in printed for lemma in part.lemmas for word in words(lemma)):
            shown = replace(seen, part=part, pointer=talk().pointers[part.kind], words=part.text)
            return PicturePlan(ImageRole.CARRIES, shown, None, prints_request=prints)
    return PicturePlan(ImageRole.CONTEXT, seen, None, prints_request=prints)


def kinds(plans: Sequence[PicturePlan]) -> list[str]:
    """The kind of each plan's picture: of a card, or `source`."""
    return [plan.card.kind if plan.card else "source" for plan in plans]
