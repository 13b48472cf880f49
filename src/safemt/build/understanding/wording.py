"""Closed lists of words that the rules of the parser know by name: `data/wording.yaml`."""

from typing import Final

from safemt.build.words import load_data

_LISTS: Final[dict[str, list[str]]] = load_data("wording.yaml")
MAKES: Final = frozenset(_LISTS["makes"])
GIVES: Final = frozenset(_LISTS["gives"])
PERSUADES: Final = frozenset(_LISTS["persuades"])
GUIDES: Final = frozenset(_LISTS["guides"])
TEXTS: Final = frozenset(_LISTS["texts"])
PEOPLE: Final = frozenset(_LISTS["people"])
INSTRUCTING: Final = (MAKES | GIVES | GUIDES | frozenset(_LISTS["framing"])) - frozenset(_LISTS["meaningful"])
"""Lemmas that give an order or frame it, and say nothing about what is asked."""
