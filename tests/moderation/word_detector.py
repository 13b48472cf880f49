"""A detector that counts words, and dialogues to try it on: real enough for the moderator around it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Scan
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.policy import Policies, Policy

BAD = "frobnicate"
"""The word that stands for harm in invented dialogues."""
UNREADABLE = "unreadable"
"""A turn that says this cannot be read."""


@dataclass(frozen=True, kw_only=True)
class WordDetector:
    """Risk: how often `word` was said by the user so far, of five times; pictures are looked at by nobody."""

    word: str = BAD
    name: str = "word"
    version: int = 1
    threshold: float = 0.4
    asked: list[int] = field(default_factory=list)
    """One entry for each conversation opened."""

    @property
    def identity(self) -> Json:
        return {"kind": "word", "word": self.word, "version": self.version}

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        return ()

    def open(self, ask: Ask) -> "WordReading":
        self.asked.append(len(self.asked))
        return WordReading(self.word)


class WordReading:
    def __init__(self, word: str) -> None:
        self._word = word
        self._said = 0
        self._unreadable = False

    async def add(self, message: Message) -> Scan:
        if message.role == "user":
            self._unreadable = UNREADABLE in message.content
            self._said += message.content.split().count(self._word)
        pictures = {
            i: "pixels_not_scored" for i, part in enumerate(message.parts) if not isinstance(part, str)
        }
        return Scan(text=not self._unreadable, unscanned=pictures)

    async def assess(self) -> Assessment:
        if self._unreadable:
            return Assessment(
                risk=None, degraded=Degraded(cause="unreadable_verdict", message="nothing read")
            )
        risk = min(1.0, self._said / 5)
        return Assessment(risk=risk, scenarios={Scenario.FRAUD: risk}, prompt_tokens=7, completion_tokens=1)


def word_moderator(detector: WordDetector | None = None, **options: Any) -> Moderator:
    return Moderator(detector=detector or WordDetector(), policies=policies(), **options)


def policies() -> Policies:
    def one(name: str, scenario: Scenario | None) -> Policy:
        return Policy(
            id=name, version="1", scenario=scenario, title=name, definition="", dont=(), do=(),
            short="s", full="f",
        )  # fmt: skip

    return Policies(
        baseline=one("baseline", None), by_scenario={each: one(each.slug, each) for each in Scenario}
    )


def row(name: str, label: str | None, *said: str, **more: Any) -> dict[str, Any]:
    """A row in the shape of published dialogues; the assistant answers `said` with numbered okays."""
    turns: list[dict[str, str]] = []
    for number, text in enumerate(said):
        if number:
            turns.append({"role": "assistant", "content": f"okay {name} {number}"})
        turns.append({"role": "user", "content": text})
    return {"id": name, "turns": turns, "label": label, **more}
