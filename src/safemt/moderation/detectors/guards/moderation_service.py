"""`guard/openai-moderation`: OpenAI's moderations endpoint, or a server that speaks the same protocol.

It scores single texts and pictures, not conversations: each user turn by itself, and the worst one counts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
import orjson

from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint, json_text
from safemt.endpoints.replies import Answer, Request, failure_of
from safemt.moderation.detectors.detector import (
    UNREADABLE,
    Assessment,
    Reading,
    Scan,
    degraded_by,
)
from safemt.moderation.detectors.guards.canary import Canary
from safemt.moderation.detectors.guards.template import SAFE_TEXTS, UNSAFE_TEXTS
from safemt.moderation.detectors.guards.turns import ScoredTurns
from safemt.moderation.detectors.transcript import Transcript

NAME: Final = "guard/openai-moderation"
MODEL: Final = "omni-moderation-latest"
WINDOW: Final = 8_000
"""Characters of one text; a longer turn is sent in several, so that its end is scored too."""
OVERLAP: Final = 200
BATCH: Final = 32
"""Texts in one request."""
SCENARIOS: Final[Mapping[str, Mapping[Scenario, float]]] = {
    "harassment": {Scenario.HATE_SPEECH: 0.7, Scenario.THREAT: 0.5},
    "harassment/threatening": {Scenario.THREAT: 1.0},
    "hate": {Scenario.HATE_SPEECH: 1.0, Scenario.BIAS: 0.6},
    "hate/threatening": {Scenario.HATE_SPEECH: 1.0, Scenario.THREAT: 0.7},
    "illicit": {Scenario.ILLEGAL_ACTIVITY: 1.0, Scenario.FRAUD: 0.5},
    "illicit/violent": {Scenario.ILLEGAL_ACTIVITY: 0.8, Scenario.VIOLENCE: 0.8},
    "self-harm": {Scenario.PHYSICAL_HARM: 1.0},
    "self-harm/intent": {Scenario.PHYSICAL_HARM: 1.0},
    "self-harm/instructions": {Scenario.PHYSICAL_HARM: 1.0},
    "sexual": {Scenario.SEX: 1.0},
    "sexual/minors": {Scenario.SEX: 1.0},
    "violence": {Scenario.VIOLENCE: 1.0, Scenario.PHYSICAL_HARM: 0.5},
    "violence/graphic": {Scenario.VIOLENCE: 1.0},
}
"""Category of the service → our scenarios, with weights for its score."""


class ModerationEndpoint(ChatEndpoint):
    """Sends requests to `/moderations`: several texts without pictures, or one text with its picture.

    The text of the reply is the list of results as JSON.
    """

    path = "/moderations"

    def _body(self, messages: Sequence[Message], limit_name: str) -> bytes:
        first = messages[0]
        texts: list[object] = [json_text(message.content) for message in messages]
        if first.image is not None:
            texts = [self._wire_image(first.image)]
            if first.content.strip():
                texts.append({"type": "text", "text": json_text(first.content)})
        return orjson.dumps({"model": self.model, "input": texts})

    def _reply(self, answer: Answer, request: Request) -> Reply | CallFailure:
        if answer.status != 200:
            return failure_of(answer, request)
        results = answer.body.get("results") if isinstance(answer.body, dict) else None
        if not isinstance(results, list) or not results:
            return CallFailure("bad_reply", f"The reply of {request.origin} has no results.", retryable=True)
        return Reply(text=json.dumps(results))


class ModerationServiceDetector:
    """Asks a moderation service about each user turn. First it must pass the test of its canary."""

    name = NAME
    threshold = 0.5

    def __init__(self, endpoint: ModerationEndpoint) -> None:
        self.endpoint = endpoint
        self.endpoints: Sequence[ChatEndpoint] = (endpoint,)
        self.canary = Canary(NAME, safe=SAFE_TEXTS, unsafe=UNSAFE_TEXTS, threshold=self.threshold)

    @property
    def identity(self) -> Json:
        """The model, and how its scores are read."""
        return {
            "kind": "moderations",
            "model": self.endpoint.model,
            "window": [WINDOW, OVERLAP],
            "scenarios": {
                name: {s.value: fits for s, fits in found.items()} for name, found in SCENARIOS.items()
            },
        }

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _ServiceReading(self, ask)


class _Result(msgspec.Struct):
    category_scores: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)] | None]


class _ServiceReading:
    def __init__(self, detector: ModerationServiceDetector, ask: Ask) -> None:
        self._detector = detector
        self._ask = ask
        self._transcript = Transcript(pictures=True)
        self._turns = ScoredTurns()

    async def add(self, message: Message) -> Scan:
        scan = self._transcript.add(message)
        self._turns.add(message, windows(message.content), self._transcript.entries[-1][1])
        return scan

    async def assess(self) -> Assessment:
        untested = await self._detector.canary.sing(self._about_text)
        if untested is not None:
            return Assessment(risk=None, degraded=untested)
        return await self._turns.assess(self._about)

    async def _about_text(self, text: str) -> Assessment:
        [assessment] = await self._about([Message("user", text)])
        return assessment

    async def _about(self, messages: Sequence[Message]) -> Sequence[Assessment]:
        """An assessment of each message: those with pictures asked about alone, the others in batches."""
        alone = [[place] for place, message in enumerate(messages) if message.image is not None]
        texts = [place for place, message in enumerate(messages) if message.image is None]
        batches = [*alone, *(texts[start : start + BATCH] for start in range(0, len(texts), BATCH))]
        found: dict[int, Assessment] = {}
        for places in batches:
            found.update(zip(places, await self._batch([messages[place] for place in places]), strict=True))
        return [found[place] for place in range(len(messages))]

    async def _batch(self, messages: Sequence[Message]) -> Sequence[Assessment]:
        degraded = Degraded(cause=UNREADABLE, message=f"{NAME} did not give scores for what it was sent.")
        try:
            reply = await self._ask(self._detector.endpoint, messages)
            results = read_scores(reply.text, len(messages))
        except CallError as error:
            results, degraded = None, degraded_by(error)
        if results is None:
            return [Assessment(risk=None, degraded=degraded)] * len(messages)
        return [_assessment(scores) for scores in results]


def read_scores(text: str, count: int) -> Sequence[Mapping[str, float]] | None:
    """`category_scores` of `count` results; None unless each is there and every score is in [0, 1]."""
    try:
        results = msgspec.json.decode(text, type=list[_Result])
    except msgspec.DecodeError:
        return None
    found = [
        {category: score for category, score in result.category_scores.items() if score is not None}
        for result in results
    ]
    return found if len(found) == count and all(found) else None


def windows(text: str) -> list[str]:
    """A text in overlapping pieces of at most `WINDOW` characters."""
    step = WINDOW - OVERLAP
    return [text[start : start + WINDOW] for start in range(0, max(len(text) - OVERLAP, 1), step)]


def _assessment(scores: Mapping[str, float]) -> Assessment:
    scenarios: dict[Scenario, float] = {}
    for category, score in scores.items():
        for scenario, weight in SCENARIOS.get(category, {}).items():
            scenarios[scenario] = max(weight * score, scenarios.get(scenario, 0.0))
    return Assessment(risk=max(scores.values()), scenarios=scenarios)
