"""`guard/…` and `llm:… --template`: a guard model behind a chat endpoint, asked as its template says."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from safemt.core.errors import CallError
from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.canary import Canary
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.detectors.guards.answer import read_guard_answer
from safemt.moderation.detectors.guards.template import CONVERSATION, GuardRequest, GuardTemplate
from safemt.moderation.detectors.guards.worst_turn import WorstTurn
from safemt.moderation.detectors.transcript import PictureShelf, Transcript, with_pictures
from safemt.moderation.reading.conversation import JUDGED_ROLES, ChatMessage

UNREADABLE: Final = "unreadable_verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What came of asking a guard about one thing: the worst of its answers, and what they cost."""

    risk: float | None
    scenarios: dict[Scenario, float]
    degraded: Degraded | None
    failure: CallError | None
    """The call that failed, if one did."""
    prompt_tokens: int
    completion_tokens: int


class GuardDetector:
    """Asks a guard model. Before the first verdict it has to prove itself on four known texts."""

    threshold = 0.5

    def __init__(
        self,
        template: GuardTemplate,
        *,
        name: str,
        model: str | None = None,
        base_url: str | None = None,
        api_key_env: str | None = None,
        sampling: Sampling,
        timeout: float,
    ) -> None:
        """`name` is as given to `--moderator`; `model` None is the template's.

        Raises:
            UsageError: the endpoint's options do not fit.
        """
        self.name = name
        self.template = template
        self.shelf = PictureShelf() if template.pictures else None
        self._model = model or template.model
        self._sampling = sampling
        self.requests: Sequence[tuple[GuardRequest, ChatEndpoint]] = [
            (
                request,
                ChatEndpoint(
                    model=self._model,
                    base_url=base_url,
                    api_key_env=api_key_env,
                    sampling=sampling,
                    timeout=timeout,
                    images=self.shelf,
                    role="moderator",
                    extra=request.extra,
                ),
            )
            for request in template.requests
        ]
        self.endpoints: Sequence[ChatEndpoint] = [endpoint for _, endpoint in self.requests]
        self.canary = Canary(name, safe=template.safe, unsafe=template.unsafe, threshold=self.threshold)

    @property
    def identity(self) -> Json:
        """Model, sampling and the whole template."""
        return {
            "kind": "guard",
            "model": self._model,
            "temperature": self._sampling.temperature,
            "max_output_tokens": self._sampling.max_output_tokens,
            "template": self.template.sha256,
        }

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _GuardReading(self, ask)


class _GuardReading:
    def __init__(self, detector: GuardDetector, ask: Ask) -> None:
        self._detector = detector
        self._ask = ask
        self._by_turn = detector.template.send == "turn"
        self._transcript = Transcript(detector.shelf)
        self._waiting: list[tuple[int, list[Message]]] = []
        """Turns by themselves that are still to be asked about, with their places."""
        self._turns = 0
        self._worst = WorstTurn()

    async def add(self, message: ChatMessage) -> Scan:
        scan = self._transcript.add(message)
        if self._by_turn and message.role in JUDGED_ROLES:
            self._turns += message.role == "user"
            alone = Message("user", message.text, self._transcript.entries[-1][1])
            self._waiting.append((max(self._turns, 1), [alone]))
        return scan

    async def assess(self) -> Assessment:
        await self._detector.canary.sing(self._risk_of_text)
        if self._by_turn:
            return await self._assess_turns()
        asked = await self._put(self._transcript.bare())
        return Assessment(
            risk=asked.risk,
            scenarios=asked.scenarios,
            degraded=asked.degraded,
            prompt_tokens=asked.prompt_tokens,
            completion_tokens=asked.completion_tokens,
        )

    async def _assess_turns(self) -> Assessment:
        """The worst turn so far. One that could not be asked about is asked about again next time."""
        waiting, self._waiting = self._waiting, []
        answers = await asyncio.gather(*(self._put(messages) for _, messages in waiting))
        degraded: Degraded | None = None
        for (turn, messages), asked in zip(waiting, answers, strict=True):
            self._worst.take(turn, asked.risk, asked.scenarios)
            if asked.degraded is not None:
                degraded = asked.degraded
                self._waiting.append((turn, messages))
        return self._worst.assess(
            self._turns,
            degraded=degraded,
            prompt_tokens=sum(asked.prompt_tokens for asked in answers),
            completion_tokens=sum(asked.completion_tokens for asked in answers),
        )

    async def _put(self, messages: Sequence[Message]) -> _Asked:
        """All of the template's requests about `messages`; the worst answer counts."""
        sent = self._sent(messages)
        replies = await asyncio.gather(
            *(self._ask(endpoint, sent) for _, endpoint in self._detector.requests), return_exceptions=True
        )
        risks: list[float] = []
        scenarios: dict[Scenario, float] = {}
        degraded: Degraded | None = None
        failure: CallError | None = None
        tokens = [0, 0]
        for (request, _), reply in zip(self._detector.requests, replies, strict=True):
            if isinstance(reply, CallError):
                failure = reply
                degraded = Degraded(cause=reply.failure.cause, message=reply.failure.message)
                continue
            if isinstance(reply, BaseException):
                raise reply
            tokens[0] += reply.prompt_tokens or 0
            tokens[1] += reply.completion_tokens or 0
            answer = None if reply.blocked else read_guard_answer(reply, self._detector.template, request)
            if answer is None:
                degraded = unreadable(self._detector.name, blocked=reply.blocked)
                continue
            risks.append(answer.risk)
            scenarios.update({s: max(f, scenarios.get(s, 0.0)) for s, f in answer.scenarios.items()})
        return _Asked(
            risk=max(risks, default=None),
            scenarios=scenarios,
            degraded=degraded,
            failure=failure,
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
        )

    def _sent(self, messages: Sequence[Message]) -> Sequence[Message]:
        prompt = self._detector.template.prompt
        if prompt is None:
            return messages
        turns: list[dict[str, str]] = []
        images = []
        for message in messages:
            shown = ""
            if message.image is not None:
                images.append(message.image)
                shown = f"Image{len(images)}: "
            turns.append({"role": message.role, "content": f"{shown}{message.content}"})
        return with_pictures(prompt.replace(CONVERSATION, json.dumps(turns, ensure_ascii=False)), images)

    async def _risk_of_text(self, text: str) -> float | None:
        asked = await self._put([Message("user", text)])
        if asked.failure is not None:
            raise asked.failure
        return asked.risk


def unreadable(name: str, *, blocked: bool) -> Degraded:
    """Why an answer that came gave no verdict."""
    if blocked:
        return Degraded(
            cause="moderator_blocked", message=f"The content filter before {name} answered in its place."
        )
    return Degraded(cause=UNREADABLE, message=f"The answer of {name} has not the form of a verdict.")
