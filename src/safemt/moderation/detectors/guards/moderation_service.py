"""`guard/openai-moderation`: the moderations endpoint of OpenAI, or of a server that speaks the same.

It scores single texts and pictures, not conversations: each user turn by itself, and the worst one counts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.chat import ChatEndpoint, json_text
from safemt.endpoints.replies import Answer, Request, failure_of
from safemt.moderation.detectors.canary import Canary
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.detectors.guards.template import SAFE_TEXTS, UNSAFE_TEXTS
from safemt.moderation.detectors.guards.worst_turn import WorstTurn
from safemt.moderation.detectors.transcript import PictureShelf, Transcript
from safemt.moderation.reading.conversation import JUDGED_ROLES, ChatMessage

NAME: Final = "guard/openai-moderation"
MODEL: Final = "omni-moderation-latest"
WINDOW: Final = 8_000
"""Characters of one text; a longer turn goes in several, so that its end is scored, too."""
OVERLAP: Final = 200
BATCH: Final = 32
"""Texts of one request."""
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
"""What the service's categories mean to us, as weights of their scores."""


class ModerationEndpoint(ChatEndpoint):
    """One request to `/moderations`: texts without a picture in one go, or one text with its picture.

    The reply's text is the list of results as JSON.
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
    """Asks a moderation service about each user turn. It has to prove itself on four known texts first."""

    name = NAME
    threshold = 0.5

    def __init__(
        self, *, model: str | None, base_url: str | None, api_key_env: str | None, timeout: float
    ) -> None:
        """`model` None is OpenAI's newest.

        Raises:
            UsageError: the endpoint's options do not fit.
        """
        self.shelf = PictureShelf()
        self.endpoint = ModerationEndpoint(
            model=model or MODEL,
            base_url=base_url,
            api_key_env=api_key_env,
            sampling=Sampling(),
            timeout=timeout,
            images=self.shelf,
            role="moderator",
        )
        self.endpoints: Sequence[ChatEndpoint] = (self.endpoint,)
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


class _ServiceReading:
    def __init__(self, detector: ModerationServiceDetector, ask: Ask) -> None:
        self._detector = detector
        self._ask = ask
        self._transcript = Transcript(detector.shelf)
        self._waiting: list[tuple[int, Message]] = []
        """What is still to be scored: turn and text, of a long turn in windows."""
        self._turns = 0
        self._worst = WorstTurn()

    async def add(self, message: ChatMessage) -> Scan:
        scan = self._transcript.add(message)
        if message.role in JUDGED_ROLES:
            self._turns += message.role == "user"
            turn, image = max(self._turns, 1), self._transcript.entries[-1][1]
            first, *rest = windows(message.text)
            self._waiting.append((turn, Message("user", first, image)))
            self._waiting += [(turn, Message("user", text)) for text in rest]
        return scan

    async def assess(self) -> Assessment:
        await self._detector.canary.sing(self._risk_of_text)
        degraded: Degraded | None = None
        still: list[tuple[int, Message]] = []
        for batch in _batches(self._waiting):
            try:
                results = await self._scored([message for _, message in batch])
            except CallError as error:
                degraded = Degraded(cause=error.failure.cause, message=error.failure.message)
                results = None
            if results is None:
                degraded = degraded or _UNREADABLE
                still += batch
                continue
            for (turn, _), scores in zip(batch, results, strict=True):
                self._take(turn, scores)
        self._waiting = still
        return self._worst.assess(self._turns, degraded=degraded)

    def _take(self, turn: int, scores: Mapping[str, float]) -> None:
        for category, score in scores.items():
            fits = {each: weight * score for each, weight in SCENARIOS.get(category, {}).items()}
            self._worst.take(turn, score, fits)

    async def _scored(self, messages: Sequence[Message]) -> Sequence[Mapping[str, float]] | None:
        """The scores of each message, or None if the reply does not give them."""
        reply = await self._ask(self._detector.endpoint, messages)
        return read_scores(reply.text, len(messages))

    async def _risk_of_text(self, text: str) -> float | None:
        scored = await self._scored([Message("user", text)])
        return max(scored[0].values()) if scored else None


def read_scores(text: str, count: int) -> Sequence[Mapping[str, float]] | None:
    """`category_scores` of `count` results; None unless each is there and every score is in [0, 1]."""
    results = json.loads(text)
    if len(results) != count:
        return None
    found: list[Mapping[str, float]] = []
    for result in results:
        scores = result.get("category_scores") if isinstance(result, dict) else None
        given = {k: v for k, v in scores.items() if v is not None} if isinstance(scores, dict) else {}
        if not given or not all(map(_is_score, given.values())):
            return None
        found.append(given)
    return found


def windows(text: str) -> list[str]:
    """A text in overlapping pieces of at most `WINDOW` characters."""
    step = WINDOW - OVERLAP
    return [text[start : start + WINDOW] for start in range(0, max(len(text) - OVERLAP, 1), step)]


def _batches(waiting: Sequence[tuple[int, Message]]) -> list[list[tuple[int, Message]]]:
    """What goes into one request each: pictures alone, texts together."""
    texts = [each for each in waiting if each[1].image is None]
    pictures = [[each] for each in waiting if each[1].image is not None]
    return [*pictures, *(texts[start : start + BATCH] for start in range(0, len(texts), BATCH))]


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


_UNREADABLE: Final = Degraded(
    cause="unreadable_verdict", message=f"The answer of {NAME} does not give scores for what it was sent."
)
