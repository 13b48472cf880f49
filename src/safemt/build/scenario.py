"""Which of the 17 scenarios a query belongs to: the source's word, the mapping table, or a small classifier.

The classifier is a weighted list of terms (data/scenarios.yaml) and nothing else: every decision can be
read off the list. It was written by hand. While it was, FigStep's questions with odd task numbers were looked
at to find what it lacked; those with even numbers were not, and measure it (docs/building.md has both).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from safemt.build.queries import RawQuery
from safemt.build.words import load_data, words
from safemt.core.errors import BenchmarkError
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario

ADVICE: Final = frozenset({Scenario.FINANCIAL_ADVICE, Scenario.HEALTH_CONSULTATION, Scenario.LEGAL_OPINION})
"""Scenarios in which a response with a disclaimer counts as safe. Plain harm must never be among them."""
_TEMPERATURE: Final = 3.0
"""Points of score by which one scenario must lead another to be e times as likely."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A scenario and how it was found."""

    scenario: Scenario
    by: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Lexicon:
    definition: str
    terms: Mapping[str, float]
    """Whole terms (words joined by a blank) to weight."""
    stems: Mapping[str, float]
    """Beginnings of terms to weight."""
    starts: frozenset[str]
    """The first three letters of every beginning."""


@cache
def lexicons() -> Mapping[Scenario, _Lexicon]:
    """The hand-written lists, by scenario."""
    table = {}
    for name, entry in load_data("scenarios.yaml").items():
        terms: dict[str, float] = {}
        stems: dict[str, float] = {}
        for weight, listed in entry["terms"].items():
            for term in listed:
                store = stems if term.endswith("*") else terms
                store.setdefault(" ".join(words(term.replace("*", ""))), float(weight))
        table[Scenario(name)] = _Lexicon(
            entry["definition"], terms, stems, frozenset(stem[:3] for stem in stems)
        )
    return table


@cache
def _mapping() -> Mapping[str, Mapping[str, tuple[Scenario, ...]]]:
    table: dict[str, dict[str, tuple[Scenario, ...]]] = {}
    for family, entries in load_data("categories.yaml").items():
        if family == "refused":
            continue
        table[family] = {
            _plain(category): tuple(Scenario(name) for name in ([value] if isinstance(value, str) else value))
            for category, value in entries.items()
        }
    return table


REFUSED_CATEGORIES: Final = frozenset(load_data("categories.yaml")["refused"])


def assign_scenario(row: RawQuery) -> Assignment:
    """The scenario of a row.

    Only a row that seeks advice is put into an advice scenario, unless the row itself names one.

    Raises:
        BenchmarkError: the row names a scenario that is not one of the 17.
    """
    if row.scenario:
        return Assignment(named_scenario(row.scenario, row.place), "source", 1.0)
    found = _assigned(row)
    if found.scenario not in ADVICE or seeks_advice(row, found):
        return found
    among = _mapping().get(row.family, {}).get(_plain(row.category)) or tuple(Scenario)
    others = [s for s in among if s not in ADVICE] or [s for s in Scenario if s not in ADVICE]
    scenario, confidence = classify(row.text, among=others)
    return Assignment(scenario, "advice rule", confidence)


def seeks_advice(row: RawQuery, found: Assignment) -> bool:
    """Whether a row seeks advice for its own case: `data/advice.yaml` says by which words.

    A category of the source that names an advice scenario is believed unless the row plans harm; everything
    else must also speak of its own case (`I`, `my`) or ask whether something should or may be done.
    """
    rules = _advice_rules()
    if {row.family.lower(), row.category.strip().lower()} & rules.never:
        return False
    text = " ".join(words(row.text))
    harm = {match.group(0) for match in rules.rules_out.finditer(text)}
    allowed = rules.allowed.get(found.scenario)
    if any(not (allowed and allowed.fullmatch(word)) for word in harm):
        return False
    if found.by == "mapping":
        return not _WRITES.match(text)
    own = _OWN_CASE.search(text)
    return bool(own) and bool(rules.about[found.scenario].search(text)) and not _WRITES.match(text)


_WRITES: Final = re.compile(
    r"(?:please )?(?:write|create|generate|develop|publish|draft|explain that|argue)\b"
)
_OWN_CASE: Final = re.compile(
    r"\b(?:i|i'm|i've|my|me|we|our|should|safe to|legal to|do i|can i|may i|could it)\b"
)


@dataclass(frozen=True, slots=True)
class _AdviceRules:
    never: frozenset[str]
    about: Mapping[Scenario, re.Pattern[str]]
    rules_out: re.Pattern[str]
    allowed: Mapping[Scenario, re.Pattern[str]]


@cache
def _advice_rules() -> _AdviceRules:
    data = load_data("advice.yaml")
    return _AdviceRules(
        frozenset(data["never"]),
        {Scenario(name): _any_of(terms) for name, terms in data["about"].items()},
        _any_of(data["rules_out"]),
        {Scenario(name): _any_of(terms) for name, terms in data["allowed"].items()},
    )


def _any_of(terms: Sequence[str]) -> re.Pattern[str]:
    listed = "|".join(re.escape(str(term)).replace(r"\*", r"\w*") for term in terms)
    return re.compile(rf"\b(?:{listed})\b")


def _assigned(row: RawQuery) -> Assignment:
    own = SCENARIO_BY_SLUG.get("_".join(words(row.category)))
    if own is not None:
        return Assignment(own, "mapping", 1.0)
    among = _mapping().get(row.family, {}).get(_plain(row.category))
    if among is not None and len(among) == 1:
        return Assignment(among[0], "mapping", 1.0)
    scenario, confidence = classify(row.text, among=among or tuple(Scenario))
    return Assignment(scenario, "mapping+classifier" if among else "classifier", confidence)


def named_scenario(name: str, place: str) -> Scenario:
    """The scenario called `name`, in any spelling of case and blanks.

    Raises:
        BenchmarkError: there is no such scenario.
    """
    scenario = SCENARIO_BY_SLUG.get("_".join(re.split(r"[\s_-]+", name.strip().lower())))
    if scenario is None:
        raise BenchmarkError(
            "unknown_scenario",
            f"{place}: the scenario {name[:60]!r} is not one of the 17: {', '.join(Scenario)}. "
            "Correct it, or leave it out and give the source's own name as `category`.",
        )
    return scenario


def classify(text: str, *, among: Sequence[Scenario] = tuple(Scenario)) -> tuple[Scenario, float]:
    """The likeliest scenario among some, and how sure that is (a softmax of the scores, in [0, 1]).

    Where nothing speaks for any, the first of `among` with the confidence of a blind guess; over all 17,
    that is Illegal Activity, the most general.
    """
    scores = {scenario: score(text, scenario) for scenario in among}
    whole = len(among) > len(Scenario) // 2 and Scenario.ILLEGAL_ACTIVITY in among
    default = Scenario.ILLEGAL_ACTIVITY if whole else among[0]
    best = max(scores, key=lambda scenario: (scores[scenario], scenario is default))
    weights = [math.exp((value - scores[best]) / _TEMPERATURE) for value in scores.values()]
    return best, 1 / sum(weights)


def score(text: str, scenario: Scenario) -> float:
    """The weights of the terms found in a text, each term once; a part of a longer term not again."""
    return sum(weight for _, weight in _matches(text, lexicons()[scenario]))


def _matches(text: str, lexicon: _Lexicon) -> list[tuple[str, float]]:
    tokens = words(text)
    found: list[tuple[str, float]] = []
    taken = [False] * len(tokens)
    seen: set[str] = set()
    for length in (4, 3, 2, 1):
        for start in range(len(tokens) - length + 1):
            if any(taken[start : start + length]):
                continue
            phrase = " ".join(tokens[start : start + length])
            weight = _weight(phrase, lexicon)
            if weight:
                taken[start : start + length] = [True] * length
                if phrase not in seen:
                    seen.add(phrase)
                    found.append((phrase, weight))
    return found


def _weight(phrase: str, lexicon: _Lexicon) -> float:
    exact = lexicon.terms.get(phrase)
    if exact is not None:
        return exact
    if phrase[:3] not in lexicon.starts:
        return 0.0
    best = 0.0
    blanks = phrase.count(" ")
    for stop in range(len(phrase), 2, -1):
        weight = lexicon.stems.get(phrase[:stop])
        if weight is not None and phrase[:stop].count(" ") == blanks:
            best = max(best, weight)
            break
    return best


def _plain(text: str) -> str:
    return " ".join(text.strip().lower().replace("_", " ").split())
