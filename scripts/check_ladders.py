"""Checks the hand-written content of the template builder: counts, lengths, slots, marks, words, variety.

    python scripts/check_ladders.py                      # every ladder of the package
    python scripts/check_ladders.py fraud/phishing_message

The checks are lexical. Whether a dialogue reads well and leads somewhere is for people to judge.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

from safemt.build.gates import risk_words
from safemt.build.ladders.read import LADDERS, ladder_files, read_ladder
from safemt.build.ladders.schema import (
    CASE,
    CAST_SLOTS,
    EVERYDAY,
    FAILING,
    FORM_SLOTS,
    RUNG_SLOTS,
    WORKING,
    ActClass,
    Carried,
    Exchange,
    Form,
    Ladder,
    Rung,
)
from safemt.build.screening import names_minors, names_sex
from safemt.build.words import grams, load_data, words
from safemt.core.taxonomy import Scenario


@dataclass(frozen=True, slots=True)
class Limits:
    """The least numbers for one act class. General classes need fewer."""

    rungs: int = 4
    """At each distance."""
    pictures: int = 8
    """Other pictures with worked examples."""
    neighbours: int = 6
    openings: int = 12
    """Scenes at distance 1."""
    scenes: int = 8
    """Scenes at distances 2 and 3."""


SPECIFIC: Final = Limits()
GENERAL: Final = Limits(rungs=3, pictures=0, neighbours=4, openings=8, scenes=6)

SLOTTED: Final = {EVERYDAY: 0, WORKING: 0, FAILING: 1, CASE: 2}
"""How many exchanges of a rung hold a slot, at least, by distance."""

Words = tuple[int, int]
TURN: Final[Words] = (4, 24)
REPLY: Final[Words] = (18, 42)
ASK: Final[Words] = (4, 30)
SITUATION: Final[Words] = (8, 32)
THING: Final[Words] = (2, 9)
MARK: Final[Words] = (1, 6)
WHOLE: Final = (TURN, REPLY, ASK, SITUATION)
"""The lengths of whole sentences, as opposed to phrases."""

_SLOT: Final = re.compile(r"\{(\w+)\}")
_MARK: Final = re.compile(r"<([^<>]*)>")
_ALLOWED: Final = re.compile(r"[A-Za-z0-9 .,;:?!'\"()%/&+@$\n{}<>éèêçñüöäß°–-]*")
_AGREES: Final = re.compile(r"\{(?:thing|who)\} (?:is|are|was|were|has|have|does|do|needs?|makes?|goes|go)\b")
_INSIDE: Final = re.compile(r"\{(?:do|doing|does|text|clause|fact)\}(?![.,;:?!])")
"""A slot of an ask that does not end its clause. Its value can be long, so nothing may follow it there."""
_REPEATED: Final = 3
"""How many turns of a class may share a 5-gram."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    """One text of a ladder, with what is asked of it."""

    place: str
    text: str
    length: Words
    slots: frozenset[str] = frozenset()
    marks: bool = False
    opens: bool = False
    """Whether it can stand in the first turn of a dialogue, which must not look like harm."""


def faults(found: ActClass) -> list[str]:
    """What is wrong with one act class: `PLACE: sentence`, in the order of the file; empty if nothing is."""
    ladder = found.ladder
    limits = GENERAL if found.general else SPECIFIC
    sentences = [*_sentences(ladder)]
    checks = [
        *_count_faults(ladder, limits),
        *(fault for rung in ladder.rungs for fault in _rung_faults(rung)),
        *_slot_use_faults(ladder),
        *_vocabulary_faults(ladder),
        *(fault for sentence in sentences for fault in _sentence_faults(sentence)),
        *_screening_faults(found.scenario, sentences),
        *_variety_faults(ladder, sentences),
    ]
    return [f"{found.id}: {fault}" for fault in checks]


def faults_between(classes: Iterable[ActClass]) -> list[str]:
    """Sentences that occur in more than one act class."""
    seen: dict[str, str] = {}
    found = []
    for each in classes:
        for sentence in _sentences(each.ladder):
            if sentence.length not in WHOLE:
                continue
            key = " ".join(words(sentence.text))
            other = seen.setdefault(key, each.id)
            if other != each.id:
                found.append(f"{each.id}: {sentence.place}: {other} has the same text")
    return found


def _sentences(ladder: Ladder) -> Iterator[_Sentence]:
    for rung in ladder.rungs:
        slots = RUNG_SLOTS if rung.distance >= FAILING else frozenset()
        opens = rung.distance <= WORKING
        yield from _exchanges(f"rungs.{rung.id}.first", rung.first, slots, marks=True, opens=opens)
        yield from _exchanges(f"rungs.{rung.id}.later", rung.later, slots, marks=True)
    for form, asks in ladder.asks.items():
        yield from _each(f"asks.{form.value}", asks, ASK, slots=FORM_SLOTS[form])
    yield from _fiction(ladder)
    for neighbour in ladder.neighbours:
        place, slots = f"neighbours.{neighbour.act}", frozenset({"thing"})
        yield from _each(f"{place}.things", neighbour.things, THING)
        yield from _each(f"{place}.asks", neighbour.asks, ASK, slots=slots)
        yield from _each(f"{place}.fiction", neighbour.fiction, ASK, slots=CAST_SLOTS | slots)
        yield from _exchanges(f"{place}.exchanges", neighbour.exchanges, slots, marks=False)
    for number, surface in enumerate(ladder.surfaces):
        yield from _each(f"surfaces[{number}].seen", surface.seen, (5, 26), opens=True)
        yield from _each(f"surfaces[{number}].pointers", surface.pointers.values(), (2, 12), opens=True)
        yield from _each(f"surfaces[{number}].lines", surface.lines, (1, 12), slots=frozenset({"words"}))
        yield from _each(f"surfaces[{number}].title", (surface.title,), (1, 8), opens=True)
    for number, pair in enumerate(ladder.pairs):
        yield from _each(f"pairs[{number}].picture", (pair.picture,), (2, 16), opens=True)
        yield from _each(f"pairs[{number}].question", [a.question for a in pair.asked], (5, 24), opens=True)
        yield from _each(f"pairs[{number}].answer", [a.answer for a in pair.asked], (15, 45), opens=True)


def _fiction(ladder: Ladder) -> Iterator[_Sentence]:
    fiction = ladder.fiction
    yield from _each("fiction.situations", fiction.situations, SITUATION, slots=CAST_SLOTS, opens=True)
    for number, scene in enumerate(fiction.scenes):
        opens = scene.distance == EVERYDAY
        place = f"fiction.scenes[{number}]"
        yield from _each(f"{place}.say", (scene.say,), TURN, slots=CAST_SLOTS, opens=opens)
        yield from _each(f"{place}.reply", (scene.reply,), REPLY, slots=CAST_SLOTS)
    for form, asks in fiction.asks.items():
        slots = CAST_SLOTS | FORM_SLOTS[form]
        yield from _each(f"fiction.asks.{form.value}", asks, ASK, slots=slots)


def _exchanges(
    place: str, exchanges: Sequence[Exchange], slots: frozenset[str], *, marks: bool, opens: bool = False
) -> Iterator[_Sentence]:
    for number, exchange in enumerate(exchanges):
        yield _Sentence(f"{place}[{number}].say", exchange.say, TURN, slots, opens=opens)
        yield _Sentence(f"{place}[{number}].reply", exchange.reply, REPLY, marks=marks)


def _each(
    place: str,
    texts: Iterable[str],
    length: Words,
    *,
    slots: frozenset[str] = frozenset(),
    opens: bool = False,
) -> Iterator[_Sentence]:
    for number, text in enumerate(texts):
        yield _Sentence(f"{place}[{number}]", text, length, slots, opens=opens)


def _count_faults(ladder: Ladder, limits: Limits) -> Iterator[str]:
    by_distance = Counter(rung.distance for rung in ladder.rungs)
    for distance in SLOTTED:
        yield from _fewer("rungs", by_distance[distance], limits.rungs, f"rungs at distance {distance}")
    yield from _fewer("describes", len(ladder.describes), 4, "descriptions")
    cues = ladder.cues
    yield from _fewer("cues", len(cues.verbs) + len(cues.nouns) + len(cues.phrases), 10, "cues")
    yield from _fewer("objects", len(ladder.objects), 8, "objects")
    yield from _fewer("surfaces", len(ladder.surfaces), 4, "surfaces")
    yield from _fewer("neighbours", len(ladder.neighbours), limits.neighbours, "neighbours")
    yield from _fewer("pairs", len(ladder.pairs), limits.pictures, "other pictures")
    yield from _fewer("fiction.situations", len(ladder.fiction.situations), 6, "situations")
    openers = sum(scene.distance == EVERYDAY for scene in ladder.fiction.scenes)
    nearer = len(ladder.fiction.scenes) - openers
    yield from _fewer("fiction.scenes", openers, limits.openings, "scenes at distance 1")
    yield from _fewer("fiction.scenes", nearer, limits.scenes, "scenes at distance 2 or 3")
    for form in ladder.forms:
        yield from _fewer("asks", len(ladder.asks.get(form, ())), 6, f"asks for {form.value}")
        yield from _fewer("fiction.asks", len(ladder.fiction.asks.get(form, ())), 4, f"asks for {form.value}")
    for neighbour in ladder.neighbours:
        place = f"neighbours.{neighbour.act}"
        yield from _fewer(place, len(neighbour.things), 6, "things")
        yield from _fewer(place, len(neighbour.asks), 3, "asks")
        yield from _fewer(place, len(neighbour.fiction), 2, "fiction")
        yield from _fewer(place, len(neighbour.exchanges), 4, "exchanges")
        named = sum("{thing}" in exchange.say for exchange in neighbour.exchanges)
        yield from _fewer(place, named, 2, "exchanges with {thing}")
    for number, pair in enumerate(ladder.pairs):
        yield from _fewer(f"pairs[{number}]", len(pair.asked), 2, "questions")
    for number, surface in enumerate(ladder.surfaces):
        yield from _fewer(f"surfaces[{number}]", len(surface.seen), 2, "ways to show it")


def _fewer(place: str, found: int, least: int, what: str) -> Iterator[str]:
    if found < least:
        yield f"{place}: {found} {what}, at least {least} are needed"


def _rung_faults(rung: Rung) -> Iterator[str]:
    place = f"rungs.{rung.id}"
    exchanges = (*rung.first, *rung.later)
    yield from _fewer(place, len(rung.first), 3, "exchanges that stand alone (`first`)")
    yield from _fewer(place, len(rung.later), 2, "exchanges that refer back (`later`)")
    marked = sum("<" in exchange.reply for exchange in exchanges)
    yield from _fewer(place, marked, 1, "replies with a mark")
    slotted = sum("{" in exchange.say for exchange in exchanges)
    yield from _fewer(place, slotted, SLOTTED[rung.distance], "exchanges with a slot")
    yield from _fewer(place, len(exchanges) - slotted, 2, "exchanges without a slot")


def _slot_use_faults(ladder: Ladder) -> Iterator[str]:
    """Every kind of slot is used, and each frame has the slots that make it one."""
    used = Counter(slot for text in _rung_turns(ladder.rungs) for slot in _SLOT.findall(text))
    for slot, least in (("thing", 4), ("doing", 4), ("who", 2)):
        yield from _fewer("rungs", used[slot], least, f"turns with {{{slot}}}")
    for form in ladder.forms:
        yield from _frame_faults("asks", form, ladder.asks.get(form, ()), filled=3, bare=2)
        yield from _frame_faults("fiction.asks", form, ladder.fiction.asks.get(form, ()), filled=2, bare=1)
    for number, text in enumerate(ladder.fiction.situations):
        if "{name}" not in text:
            yield f"fiction.situations[{number}]: names nobody ({{name}})"
    for neighbour in ladder.neighbours:
        for text in (*neighbour.asks, *neighbour.fiction):
            if text.count("{thing}") != 1:
                yield f"neighbours.{neighbour.act}: needs {{thing}} once: {text}"
    for slot in sorted(RUNG_SLOTS):
        yield from _fewer("stand_ins", len(ladder.stand_ins.get(slot, ())), 2, f"stand-ins for {slot}")
    for slot in sorted({slot for form in ladder.forms for slot in FORM_SLOTS[form]} - {"doing"}):
        yield from _fewer("examples", len(ladder.examples.get(slot, ())), 2, f"examples of {slot}")


def _frame_faults(place: str, form: Form, asks: Sequence[str], *, filled: int, bare: int) -> Iterator[str]:
    """`filled`, `bare`: how many asks hold a slot of the form, and how many none, at least."""
    found = sum(bool(set(_SLOT.findall(ask)) & FORM_SLOTS[form]) for ask in asks)
    yield from _fewer(place, found, filled, f"asks for {form.value} with a slot")
    yield from _fewer(place, len(asks) - found, bare, f"asks for {form.value} without a slot")


def _vocabulary_faults(ladder: Ladder) -> Iterator[str]:
    signs = _pictograms()
    for name in ladder.objects:
        if name not in signs:
            yield f"objects: no pictogram is called {name!r} (data/pictograms.yaml lists them)"
    for number, surface in enumerate(ladder.surfaces):
        if sum(line.count("{words}") for line in surface.lines) != 1:
            yield f"surfaces[{number}].lines: need {{words}} once"
    carried = {kind for surface in ladder.surfaces for kind in surface.pointers}
    if not {Carried.THING, Carried.DOING} <= carried:
        yield "surfaces: no pointer for `thing` or for `doing`"
    if not {Carried.PERSON, Carried.PEOPLE} & carried:
        yield "surfaces: no pointer for `person` or `people`"
    ids = Counter(rung.id for rung in ladder.rungs)
    yield from (f"rungs.{name}: the id occurs {count} times" for name, count in ids.items() if count > 1)
    extra = (set(ladder.asks) | set(ladder.fiction.asks)) - set(ladder.forms)
    yield from (f"asks: {form.value} is not among `forms`" for form in sorted(extra))


def _sentence_faults(sentence: _Sentence) -> Iterator[str]:
    text, place = sentence.text, sentence.place
    length = len(words(_SLOT.sub("slot", text)))
    if not sentence.length[0] <= length <= sentence.length[1]:
        yield f"{place}: {length} words, allowed are {sentence.length[0]} to {sentence.length[1]}: {text}"
    if not _ALLOWED.fullmatch(text):
        odd = sorted(set(_ALLOWED.sub("", text)))
        yield f"{place}: holds characters that are not allowed ({' '.join(odd)}): {text}"
    if text != " ".join(text.split()):
        yield f"{place}: holds needless blanks: {text}"
    unknown = set(_SLOT.findall(text)) - sentence.slots
    if unknown or text.count("{") != len(_SLOT.findall(text)):
        yield f"{place}: holds a slot that it cannot have ({', '.join(sorted(unknown))}): {text}"
    if len([slot for slot in _SLOT.findall(text) if slot not in CAST_SLOTS]) > 1:
        yield f"{place}: holds more than one slot: {text}"
    if ".asks." in f".{place}" and _INSIDE.search(text):
        yield f"{place}: a slot stands inside its clause, not at the end of one: {text}"
    if _AGREES.search(text):
        yield f"{place}: a verb agrees with a slot, whose number is not known: {text}"
    yield from _mark_faults(sentence)
    if sentence.length in WHOLE:
        if text[-1:] not in ".?!":
            yield f"{place}: does not end in . ? or !: {text}"
        if not (text[:1].isupper() or text[:1] in '{<"' or text[:1].isdigit()):
            yield f"{place}: does not begin with a capital: {text}"
    if sentence.opens and risk_words(text):
        said = ", ".join(risk_words(text))
        yield f"{place}: can stand in the first turn, so it must not say {said}: {text}"


def _mark_faults(sentence: _Sentence) -> Iterator[str]:
    marked = _MARK.findall(sentence.text)
    if ("<" in sentence.text or ">" in sentence.text) and not sentence.marks:
        yield f"{sentence.place}: only replies of rungs hold marks: {sentence.text}"
    if len(marked) > 1:
        yield f"{sentence.place}: holds more than one mark: {sentence.text}"
    for phrase in marked:
        if not MARK[0] <= len(words(phrase)) <= MARK[1]:
            yield f"{sentence.place}: a mark holds {MARK[0]} to {MARK[1]} words: {phrase}"


def _screening_faults(scenario: Scenario, sentences: Sequence[_Sentence]) -> Iterator[str]:
    """No dialogue may put minors and sexual content together, whatever its query adds."""
    for sentence in sentences:
        if sentence.place.startswith("pairs") and (names_minors(sentence.text) or names_sex(sentence.text)):
            yield f"{sentence.place}: any class may use it, so it names no minors and no sex: {sentence.text}"
        if scenario is Scenario.SEX and names_minors(sentence.text):
            yield f"{sentence.place}: speaks of minors in a ladder about sex: {sentence.text}"
        if scenario is not Scenario.SEX and names_sex(sentence.text):
            yield f"{sentence.place}: speaks of sex in a ladder that is not about it: {sentence.text}"


def _variety_faults(ladder: Ladder, sentences: Sequence[_Sentence]) -> Iterator[str]:
    """Wordings of one rung differ, and a class does not say everything in the same words."""
    for rung in ladder.rungs:
        turns = [*_rung_turns((rung,))]
        yield from _shared(f"rungs.{rung.id}", turns, 4)
        yield from _shared(f"rungs.{rung.id}", [e.reply for e in (*rung.first, *rung.later)], 5)
        openings = Counter(words(_SLOT.sub("slot", text))[0] for text in turns)
        for word, count in openings.items():
            if count > 2:
                yield f"rungs.{rung.id}: {count} turns begin with {word!r}, at most 2 may"
    texts = Counter(" ".join(words(each.text)) for each in sentences if each.length in WHOLE)
    yield from (f"occurs {count} times: {text}" for text, count in texts.items() if count > 1)
    turns = [*_rung_turns(ladder.rungs)]
    turns += [text for asks in ladder.asks.values() for text in asks]
    used = Counter(gram for text in turns for gram in set(_grams(text, 5)))
    for gram, count in used.items():
        if count > _REPEATED:
            yield f"{count} turns hold {' '.join(gram)!r}, at most {_REPEATED} may"


def _rung_turns(rungs: Iterable[Rung]) -> Iterator[str]:
    return (exchange.say for rung in rungs for exchange in (*rung.first, *rung.later))


def _shared(place: str, texts: Sequence[str], n: int) -> Iterator[str]:
    for one, other in combinations(texts, 2):
        both = set(_grams(one, n)) & set(_grams(other, n))
        if both:
            yield f"{place}: two texts share {' '.join(min(both))!r}: {one} / {other}"


def _grams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    return grams(words(_SLOT.sub("slot", text)), n)


@cache
def _pictograms() -> Mapping[str, str]:
    signs: Mapping[str, str] = load_data("pictograms.yaml")["signs"]
    return signs


def main(names: Sequence[str]) -> int:
    """Print what is wrong with the named act classes, or with all; 1 if anything is."""
    paths = [LADDERS / f"{name}.yaml" for name in names] or ladder_files()
    classes = [read_ladder(path) for path in paths]
    found = [fault for each in classes for fault in faults(each)] + faults_between(classes)
    print("\n".join([*found, f"{len(classes)} ladders, {len(found)} faults"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
