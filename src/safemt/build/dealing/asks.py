"""How the request comes up: what the picture names, what an earlier turn, and what the last turn holds.

The last turn is never the query. A part that the picture carries is replaced by a pointer (`what the card
names`), one that the turn before has named by a pronoun; where a request has no parts, the turn before states
it and the last turn only points back.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import SLOT_OF, Material, filled, slots_of
from safemt.build.dealing.talk import talk
from safemt.build.gates import risk_words
from safemt.build.ladders.schema import CAST_SLOTS, FORM_SLOTS, Carried, Form
from safemt.build.understanding.request import Part, Request
from safemt.build.words import base_forms, stem, words

MOST: Final = 0.75
"""Share of the content words up to which a last turn is left as it is."""
_OPENING: Final = 0.35
"""Share of the content words that a first turn may name."""
_EARLY: Final = 0.45
"""The same where several turns lie between."""
VERBATIM: Final = 0.9
"""Share from which the last turn counts as the query itself."""
_OWN: Final = {
    "my": "his",
    "your": "his",
    "our": "his",
    "i": "he",
    "me": "him",
    "you": "him",
    "myself": "himself",
    "yourself": "himself",
    "i'm": "he is",
    "i've": "he has",
    "mine": "his own",
}
"""Pronouns of the query in a fiction: there, its character does it."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where the parts of a request are said in one dialogue."""

    early: Part | None = None
    """Named in the first turn."""
    near: Part | None = None
    """Named in the turn before the last, which then takes it up by a pronoun."""
    split: bool = False
    """The turn before the last states the request; the last only points back."""


def share(text: str, request: Request) -> float:
    """The share of a request's content words that a text holds."""
    wanted = {stem(word) for lemma in request.lemmas for word in words(lemma)}
    if not wanted:
        return 0.0
    said = {stem(word) for word in (*words(text), *base_forms(text))}
    return len(wanted & said) / len(wanted)


def allocate(material: Material, turns: int, chance: random.Random) -> Allocation:
    """Which parts come up before the last turn, so that it holds less than the whole request."""
    request, carried = material.request, material.shown.part
    free = [part for part in request.parts if not _overlap(part, carried)]
    plain = [part for part in free if _can_be_pronoun(part, request)]
    if turns == 2:
        plain = [part for part in plain if _opens_mildly(part, request)]
    near = max(plain, key=lambda part: _worth(part, request, chance), default=None)
    if turns < 3 and carried is not None and chance.random() < 0.6:
        near = None
    if near is None and turns > 2 and (carried is None or share(_value(request, carried), request) > MOST):
        return Allocation(split=True)
    early = None
    if turns > 3:
        mild = [p for p in free if _opens_mildly(p, request, _EARLY) and p.kind is not Carried.DOING]
        mild = [p for p in mild if not _overlap(p, near)] or mild
        early = chance.choice(mild) if mild and chance.random() < 0.8 else None
    if turns > 2 and near is not None and chance.random() < 0.15:
        return Allocation(early=early, split=True)
    return Allocation(early, near)


def _value(request: Request, carried: Part) -> str:
    return request.render({carried: ""})


def _worth(part: Part, request: Request, chance: random.Random) -> float:
    """How well a part can be named beforehand: the more words the better, as long as the ask keeps one."""
    kept = len(request.lemmas) - len(part.lemmas)
    return len(part.lemmas) + (-3 if kept < 1 else 0) + chance.random() - (0.5 if part.plural else 0)


def _overlap(part: Part | None, other: Part | None) -> bool:
    if part is None or other is None:
        return False
    return (part.start < other.stop and other.start < part.stop) or bool(part.lemmas & other.lemmas)


def replacements(material: Material, allocation: Allocation) -> dict[Part, str]:
    """What the last turn writes in place of the parts."""
    shown, near = material.shown, allocation.near
    found = {shown.part: shown.pointer} if shown.part else {}
    if near is not None:
        found[near] = near.anaphor
    return found


def _opens_mildly(part: Part, request: Request, most: float = _OPENING) -> bool:
    """Whether a part can be named in a first turn: it gives nothing away."""
    return not risk_words(part.text) and len(part.lemmas) <= most * len(request.lemmas)


def _can_be_pronoun(part: Part, request: Request) -> bool:
    """Whether a pronoun is clear: nothing belongs to the part, and no other such pronoun occurs."""
    others = {token.text.lower() for n, token in enumerate(request.phrase) if not part.start <= n < part.stop}
    clear = part.anaphor not in others and not (part.anaphor == "them" and others & {"they", "their"})
    return clear and (not part.modified or _opens_text(part, request))


def _opens_text(part: Part, request: Request) -> bool:
    """Whether `one that …` can stand for the part: a text to be written, with what it shall do."""
    behind = request.phrase[part.stop].text.lower() if part.stop < len(request.phrase) else ""
    opens = request.form is Form.TEXT and part.start == 0 and part.anaphor == "one"
    return opens and behind in ("that", "which", "about", "for", "with", "on", "")


def values_for(material: Material, allocation: Allocation, *, fiction: bool) -> dict[str, str]:
    """The slots of a last turn, by name."""
    request, stands = material.request, replacements(material, allocation)
    if request.form is Form.STEPS:
        found = {
            "do": request.render(stands),
            "doing": request.render(stands, inflect="ing"),
            "does": request.render(stands, inflect="s"),
        }
    else:
        (slot,) = FORM_SLOTS[request.form]
        found = {slot: request.render(stands)}
    if fiction and request.form is Form.STEPS:
        found = {name: _as_character(text, material.cast) for name, text in found.items()}
    return found


def _as_character(text: str, cast: Mapping[str, str]) -> str:
    def put(match: re.Match[str]) -> str:
        slot = _OWN.get(match.group(0).lower())
        if slot is None:
            return match.group(0)
        return " ".join(cast.get(word, word) for word in slot.split())

    return re.sub(
        r"\b(?:my|your|our|i'm|i've|i|me|you|myself|yourself|mine)\b", put, text, flags=re.IGNORECASE
    )


def ask(
    material: Material,
    allocation: Allocation,
    frames: Sequence[str],
    decks: Decks,
    key: object,
    *,
    fiction: bool = False,
) -> str:
    """The last turn: a frame of the request's form with the request in it, or one that points back."""
    form = material.request.form
    values = {**values_for(material, allocation, fiction=fiction), **material.cast}
    if allocation.split:
        frame = decks.deal(("bare", form, material.class_id), talk().bare[form])
        return filled(str(frame), values)
    with_slot = [f for f in frames if slots_of(f) - CAST_SLOTS]
    own = [f for f in with_slot if material.fits(f)] or with_slot or list(talk().direct[form])
    frame = decks.deal(("ask", key, form, material.class_id), own)
    return _closed(filled(str(frame), values), material.request.tail, material)


def _closed(text: str, tail: str, material: Material) -> str:
    """A last turn with the query's second order behind it."""
    if tail and material.fits(tail) and len(tail) < 200:
        order = tail[:1].upper() + tail[1:]
        return f"{text} {order}{'' if order[-1] in '.?!' else '.'}"
    return text


def stated(material: Material, decks: Decks) -> str:
    """The request as a statement, for the turn before a last one that only points back."""
    form = material.request.form
    values = values_for(material, Allocation(), fiction=False)
    frame = decks.deal(("split", form, material.class_id), talk().split[form])
    text = filled(str(frame), values)
    return text if text[-1] in ".?!" else text + "."


def slot_values(part: Part | None, material: Material, chance: random.Random) -> dict[str, str]:
    """The slots of a rung: the part that it names, and stand-ins for the rest."""
    ladder = material.ladder
    found = {slot: chance.choice(list(texts)) for slot, texts in sorted(ladder.stand_ins.items())}
    found.update(material.values)
    if part is not None:
        found[SLOT_OF[part.kind]] = part.text
    return found


def forms_of(ladder_asks: Mapping[Form, Sequence[str]], form: Form) -> Sequence[str]:
    """The frames of a form; a class without that form gets the common ones."""
    return ladder_asks.get(form) or talk().direct[form]
