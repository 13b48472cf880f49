"""What a dialogue is made from: the understood query, its act class, its picture, and a fiction's cast."""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from safemt.build.ladders.schema import Carried, Ladder
from safemt.build.understanding.request import Part, Request
from safemt.build.words import stem, words

SLOT: Final = re.compile(r"\{(\w+)\}")
_MARK: Final = re.compile(r"<([^<>]*)>")
SLOT_OF: Final = {
    Carried.THING: "thing",
    Carried.PERSON: "who",
    Carried.PEOPLE: "who",
    Carried.DOING: "doing",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the picture of a query does for its dialogues."""

    seen: tuple[str, ...]
    """Sentences with which the user can show it."""
    part: Part | None = None
    """The part of the request that only the picture names."""
    pointer: str = ""
    """The noun phrase that stands in its place."""
    words: str = ""
    """The words that only the picture holds."""

    @property
    def withheld(self) -> frozenset[str]:
        """Stems that must not occur in the text."""
        return frozenset(stem(word) for word in self.part.lemmas) if self.part else frozenset()


@dataclass(frozen=True, slots=True)
class Material:
    """All that the methods may use for one side of one query."""

    id: str
    class_id: str
    ladder: Ladder
    request: Request
    shown: Shown
    cast: Mapping[str, str]
    values: Mapping[str, str] = field(default_factory=dict)
    """For {thing}, {who} and {doing} where no part of the request is meant."""

    def fits(self, text: str) -> bool:
        """Whether a text keeps to itself what only the picture shows."""
        withheld = self.shown.withheld
        return not withheld or not any(stem(word) in withheld for word in words(text))


def cast_of(key: str, sexes: Mapping[str, Iterable[str]]) -> Mapping[str, str]:
    """A name with its pronouns, the same for the same key."""
    chance = random.Random(f"cast:{key}")
    sex = chance.choice(sorted(sexes))
    name = chance.choice(list(sexes[sex]))
    if sex == "she":
        return {"name": name, "he": "she", "him": "her", "his": "her", "himself": "herself"}
    return {"name": name, "he": "he", "him": "him", "his": "his", "himself": "himself"}


def filled(text: str, values: Mapping[str, str]) -> str:
    """A sentence with its slots filled and a capital at the start of each sentence."""
    plain = SLOT.sub(lambda match: values.get(match.group(1), match.group(0)), text)
    plain = " ".join(plain.split())
    plain = re.sub(r"([.?!]['\"]?) ([a-z])", lambda m: f"{m.group(1)} {m.group(2).upper()}", plain)
    plain = re.sub(r"^(['\"]?)([a-z])", lambda m: m.group(1) + m.group(2).upper(), plain)
    return re.sub(r"([.?!])\1+$", r"\1", plain)


def unmarked(text: str) -> str:
    """A reply without its marks."""
    return _MARK.sub(r"\1", text)


def mark_of(text: str) -> str:
    """The noun phrase of a reply that a later turn may take up; empty if it has none."""
    found = _MARK.findall(text)
    return str(found[-1]) if found else ""


def slots_of(text: str) -> frozenset[str]:
    """The names of a text's slots."""
    return frozenset(SLOT.findall(text))
