"""The four ways in which a dialogue leads to its request. Each gives the exchanges and the last turn."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from safemt.build.dealing.asks import Allocation, allocate, ask, forms_of
from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import Material, filled, unmarked
from safemt.build.dealing.talk import Carrier, shown, talk
from safemt.build.dealing.walk import Said, walk
from safemt.build.gates import risk_words
from safemt.build.ladders.read import act_classes
from safemt.build.ladders.schema import Scene
from safemt.core.taxonomy import Method


@dataclass(frozen=True, slots=True)
class Script:
    """A dialogue before it becomes messages."""

    exchanges: tuple[Said, ...]
    last: str
    carrier: Carrier | None = None
    """How a last turn is put where worked examples set the style."""

    def texts(self) -> list[str]:
        """The texts of the 2k-1 messages, user first."""
        found = [text for said in self.exchanges for text in (said.user(), said.reply)]
        return [*found, self.last]


def gradual(material: Material, turns: int, decks: Decks, chance: random.Random) -> Script:
    """The picture and an everyday subject first, then ever nearer, the request last."""
    allocation = allocate(material, turns, chance)
    said = walk(material, turns - 1, allocation, decks, chance)
    said[0] = _opened(said[0], material, allocation, decks)
    said = _with_setting(said, material)
    frames = forms_of(material.ladder.asks, material.request.form)
    return Script(tuple(said), ask(material, allocation, frames, decks, "gradual"))


def role_play(material: Material, turns: int, decks: Decks, chance: random.Random) -> Script:
    """A fiction with one main character from the first turn on, and the request as a task inside it."""
    allocation = allocate(material, turns, chance)
    said = [_first_scene(material, decks)]
    rungs = walk(material, turns - 2, allocation, decks, chance) if turns > 2 else []
    scenes = _later_scenes(material, turns, decks)
    for place, each in enumerate(rungs):
        inside = place % 2 == 0 and scenes and place < len(rungs) - 1
        personal = bool({"i", "my", "our", "i'm", "we"} & set(each.say.lower().split()))
        if inside or (personal and not each.named and scenes):
            scene = scenes.pop(0)
            kept = each.own
            said.append(
                Said(filled(scene.say, material.cast), filled(unmarked(scene.reply), material.cast), own=kept)
            )
        else:
            asked = str(decks.deal("research", talk().research))
            said.append(replace(each, before=asked))
    if turns == 2 and allocation.near is not None:
        allocation = Allocation(early=None)
    said[0] = _opened(said[0], material, replace(allocation, early=None), decks)
    said = _with_setting(said, material)
    frames = forms_of(material.ladder.fiction.asks, material.request.form)
    return Script(tuple(said), ask(material, allocation, frames, decks, "role_play", fiction=True))


def in_context(material: Material, turns: int, decks: Decks, _: random.Random) -> Script:
    """Worked examples about other pictures, then the question in their style."""
    carrier = decks.deal("carriers", talk().carriers) or talk().carriers[0]
    pairs = _pairs(material, turns - 1, decks, carrier)
    allocation = Allocation()
    last = ask(material, allocation, talk().direct[material.request.form], decks, "in_context")
    return Script(tuple(pairs), carrier.put(last), carrier)


def hybrid(material: Material, turns: int, decks: Decks, chance: random.Random) -> Script:
    """One worked example, then a shorter gradual dialogue about the attached picture."""
    carrier = decks.deal("carriers", talk().carriers) or talk().carriers[0]
    pair = _pairs(material, 1, decks, carrier)
    rest = gradual(material, turns - 1, decks, chance)
    turn = str(decks.deal("turns_to_picture", talk().turns_to_picture))
    first = rest.exchanges[0]
    opened = replace(first, before=f"{turn} {first.before}")
    return Script((*pair, opened, *rest.exchanges[1:]), rest.last)


Writer = Callable[[Material, int, Decks, random.Random], Script]
WRITERS: Final[Mapping[Method, Writer]] = {
    Method.GRADUAL: gradual,
    Method.ROLE_PLAY: role_play,
    Method.IN_CONTEXT: in_context,
    Method.HYBRID: hybrid,
}
FEWEST_TURNS: Final = {Method.GRADUAL: 2, Method.ROLE_PLAY: 2, Method.IN_CONTEXT: 2, Method.HYBRID: 3}
"""Below this number of turns a method has no form."""


def _opened(first: Said, material: Material, allocation: Allocation, decks: Decks) -> Said:
    """The first exchange with the picture shown, and perhaps a mild part of the query named."""
    seen = decks.deal(("seen", material.shown.seen), material.shown.seen, lambda text: not risk_words(text))
    own = first.own
    if allocation.early is not None:
        about = decks.deal(("about", material.class_id), talk().about)
        own = " ".join(t for t in (filled(str(about), {"part": allocation.early.text}), own) if t)
    return replace(first, before=" ".join(t for t in (shown(str(seen or "")), first.before) if t), own=own)


def _with_setting(said: list[Said], material: Material) -> list[Said]:
    """The query's own statements before its request, one turn before the last."""
    setting = material.request.setting
    if not setting or not material.fits(setting):
        return said
    last = said[-1]
    return [*said[:-1], replace(last, own=" ".join(t for t in (setting, last.own) if t))]


def _first_scene(material: Material, decks: Decks) -> Said:
    fiction = material.ladder.fiction
    genre = decks.deal("genres", talk().genres)
    situation = decks.deal(("situation", material.class_id), fiction.situations, material.fits)
    scenes = [scene for scene in fiction.scenes if scene.distance == 1]
    scene = (
        decks.deal(("opening", material.class_id), scenes, lambda s: material.fits(s.say + s.reply))
        or scenes[0]
    )
    opening = filled(f"{genre} {situation or fiction.situations[0]}", material.cast)
    return Said(filled(scene.say, material.cast), filled(unmarked(scene.reply), material.cast), opening)


def _later_scenes(material: Material, turns: int, decks: Decks) -> list[Scene]:
    scenes = [scene for scene in material.ladder.fiction.scenes if scene.distance > 1]
    found: list[Scene] = []
    for _ in range(min(turns // 2, len(scenes))):
        scene = decks.deal(
            ("scene", material.class_id, turns),
            scenes,
            lambda s: s not in found and material.fits(s.say + s.reply),
        )
        if scene is not None:
            found.append(scene)
    return sorted(found, key=lambda scene: scene.distance)


def _pairs(material: Material, count: int, decks: Decks, carrier: Carrier) -> list[Said]:
    """Worked examples of the request's form, about pictures of any class."""
    pool = [
        (pair, asked)
        for each in act_classes().values()
        for pair in each.ladder.pairs
        for asked in pair.asked
        if pair.form is material.request.form
    ]
    every = [(p, a) for each in act_classes().values() for p in each.ladder.pairs for a in p.asked]
    cards = pool if len(pool) >= 8 else every
    found: list[Said] = []
    shown: set[str] = set()
    for place in range(count):
        card = decks.deal(
            ("pairs", material.request.form, count),
            cards,
            lambda c: c[0].picture not in shown and material.fits(c[0].picture + c[1].question + c[1].answer),
        )
        pair, asked = card or cards[0]
        shown.add(pair.picture)
        say = filled(carrier.pair, {"picture": pair.picture, "question": asked.question})
        found.append(Said(say, asked.answer, carrier.intro if place == 0 else ""))
    return found
