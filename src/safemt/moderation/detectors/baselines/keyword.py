"""`keyword`: a short list of phrases for each scenario, such as anybody could write in an afternoon."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from safemt.core.identity import Json, content_key
from safemt.core.schema import JUDGED_ROLES, Message
from safemt.core.taxonomy import Scenario
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.yaml import load_yaml, typed
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.detectors.transcript import scan_text

FIRST: Final = 0.6
"""Risk of one phrase. Each further one halves the distance to 1."""


class KeywordDetector:
    """Flags a conversation from the first listed phrase on, and never forgets one."""

    name = "keyword"
    threshold = 0.5
    endpoints: Sequence[ChatEndpoint] = ()

    @property
    def identity(self) -> Json:
        """The list of phrases."""
        return {"kind": "keyword", "list": content_key({s.value: list(p) for s, p in _phrases().items()})}

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _KeywordReading()


class _KeywordReading:
    def __init__(self) -> None:
        self._found: dict[Scenario, set[str]] = {}
        self._turn: set[str] = set()

    def fork(self) -> "_KeywordReading":
        forked = _KeywordReading()
        forked._found = {scenario: set(phrases) for scenario, phrases in self._found.items()}
        forked._turn = self._turn
        return forked

    async def add(self, message: Message) -> Scan:
        if message.role in JUDGED_ROLES:
            found = find_phrases(message.content)
            self._turn = {phrase for phrases in found.values() for phrase in phrases}
            for scenario, phrases in found.items():
                self._found.setdefault(scenario, set()).update(phrases)
        return scan_text(message)

    async def assess(self) -> Assessment:
        every = {phrase for phrases in self._found.values() for phrase in phrases}
        return Assessment(
            risk=_risk(len(every)),
            turn_risk=_risk(len(self._turn)),
            scenarios={scenario: _risk(len(phrases)) for scenario, phrases in self._found.items()},
        )


def find_phrases(text: str) -> Mapping[Scenario, set[str]]:
    """The listed phrases in a text, by scenario."""
    folded = " ".join(text.lower().split())
    return {
        scenario: hits for scenario, pattern in _patterns().items() if (hits := set(pattern.findall(folded)))
    }


def _risk(phrases: int) -> float:
    return 1 - (1 - FIRST) * 0.5 ** (phrases - 1) if phrases else 0.0


@cache
def _phrases() -> Mapping[Scenario, Sequence[str]]:
    file = files("safemt.moderation.detectors.baselines").joinpath("keywords.yaml")
    data = load_yaml(file.read_bytes(), where="keywords.yaml")
    return typed(data, dict[Scenario, tuple[str, ...]], where="keywords.yaml")


@cache
def _patterns() -> Mapping[Scenario, re.Pattern[str]]:
    return {
        scenario: re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\w{{0,4}}\b")
        for scenario, phrases in _phrases().items()
    }
