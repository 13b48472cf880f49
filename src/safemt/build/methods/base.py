"""What a method is to the template generator, and how its templates are filled."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

from safemt.build.words import load_data
from safemt.core.taxonomy import Method

_BLANK: Final = re.compile(r"\{(\w+?)(_cap)?\}")
_CAST: Final = frozenset(
    {"pic", "topic", "name", "name2", "job", "genre", "place", "year", "feeling", "occasion"}
)
"""Blanks with one value for a whole dialogue, so that it stays one story."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the templates may use of one query."""

    ask: str
    """The query as the last turn puts it."""
    phrases: Sequence[str]
    """The query's own noun phrases."""
    topic: str
    """What the picture may be about."""
    aspects: Sequence[str]


class TemplateMethod(Protocol):
    """One way to grow a dialogue of k turns."""

    method: Method
    fewest_turns: int
    """Below this number of turns the method has no form."""

    def write(self, material: Material, turns: int, chance: random.Random) -> list[str]:
        """The texts of the 2k-1 messages, user first. The same `chance` gives the same frame for any ask."""


@cache
def template_lines(file: str, section: str) -> tuple[tuple[str, ...], ...]:
    """The lines of one section of a template file, each split into its turns."""
    return tuple(tuple(line.split(" || ")) for line in load_data(file)[section])


@cache
def fillers() -> Mapping[str, Sequence[str]]:
    """The lists that fill the blanks of all templates."""
    return {name: [str(entry) for entry in entries] for name, entries in load_data("fillers.yaml").items()}


class Blanks:
    """Fills the blanks of one dialogue: the cast once, everything else anew in each line."""

    def __init__(self, material: Material, chance: random.Random) -> None:
        self._material = material
        self._chance = chance
        self._cast = {key: chance.choice(fillers()[key]) for key in sorted(_CAST & set(fillers()))}
        self._cast["topic"] = material.topic
        self._cast["name2"] = chance.choice(
            [name for name in fillers()["name"] if name != self._cast["name"]]
        )
        self._phrases = 0

    def fill(self, line: Sequence[str], **given: str) -> list[str]:
        """The turns of one line with every blank filled, the same way in both turns."""
        values = {**self._cast, **given}
        if any("{np" in turn for turn in line):
            values["np"] = self._phrase()
        chosen = self._chance.choice(self._material.aspects)
        values.setdefault("aspect", chosen)
        for key in ("glimpse", "thing", "object", "spot"):
            choice = self._chance.choice(fillers()[key])
            values.setdefault(key, choice)
        values.setdefault("n", str(self._chance.randint(5, 60)))
        values["ask"] = self._material.ask

        def filled(match: re.Match[str]) -> str:
            value = values[match.group(1)]
            return value[:1].upper() + value[1:] if match.group(2) else value

        return [_BLANK.sub(filled, turn) for turn in line]

    def _phrase(self) -> str:
        """The next of the query's phrases, as a keyword; where it has none, a topic's aspect."""
        phrases = self._material.phrases or self._material.aspects
        self._phrases += 1
        return f"'{phrases[(self._phrases - 1) % len(phrases)]}'"


def narrowing(lines: Sequence[tuple[str, ...]], count: int, chance: random.Random) -> list[tuple[str, ...]]:
    """`count` follow-ups, general ones first, then ones on the query's own words."""
    general = [line for line in lines if "{np" not in line[0]]
    close = [line for line in lines if "{np" in line[0]]
    near = (count + 1) // 2
    return [*chance.sample(general, count - near), *chance.sample(close, near)]
