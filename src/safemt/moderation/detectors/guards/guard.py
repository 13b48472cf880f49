"""`guard/…`, and `llm:…` with a template: a guard model behind a chat endpoint."""

import json
from collections.abc import Sequence

from safemt.core.errors import CallError
from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.base import Ask
from safemt.moderation.detectors.detector import Assessment, Reading, Scan, all_of, degraded_by
from safemt.moderation.detectors.guards.answer import read_guard_answer
from safemt.moderation.detectors.guards.canary import Canary
from safemt.moderation.detectors.guards.template import CONVERSATION, GuardRequest, GuardTemplate
from safemt.moderation.detectors.guards.turns import ScoredTurns, worst
from safemt.moderation.detectors.transcript import Transcript, with_pictures


class GuardDetector:
    """Asks a guard model. Before the first verdict it must pass the test of its canary."""

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
        """`name` is the moderator's; `model` None is the template's.

        Raises:
            UsageError: the endpoint's options do not fit.
        """
        self.name = name
        self.template = template
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
                    option="moderator",
                    extra=request.extra,
                ),
            )
            for request in template.requests
        ]
        self.endpoints: Sequence[ChatEndpoint] = [endpoint for _, endpoint in self.requests]
        texts = template.canary
        self.canary = Canary(name, safe=texts.safe, unsafe=texts.unsafe, threshold=self.threshold)

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
        self._transcript = Transcript(pictures=detector.template.pictures)
        self._by_turn = detector.template.send == "turn"
        self._turns = ScoredTurns()

    async def add(self, message: Message) -> Scan:
        scan = self._transcript.add(message)
        if self._by_turn:
            self._turns.add(message, [message.content], self._transcript.entries[-1][1])
        return scan

    async def assess(self) -> Assessment:
        untested = await self._detector.canary.sing(lambda text: self._about([Message("user", text)]))
        if untested is not None:
            return Assessment(risk=None, degraded=untested)
        if self._by_turn:
            return await self._turns.assess(lambda turns: all_of(self._about([turn]) for turn in turns))
        return await self._about(self._transcript.bare())

    async def _about(self, messages: Sequence[Message]) -> Assessment:
        """The worst answer to the template's requests about `messages`."""
        sent = self._sent(messages)
        requests = self._detector.requests
        return worst(await all_of(self._answer(each, endpoint, sent) for each, endpoint in requests))

    async def _answer(
        self, request: GuardRequest, endpoint: ChatEndpoint, messages: Sequence[Message]
    ) -> Assessment:
        try:
            reply = await self._ask(endpoint, messages)
        except CallError as error:
            return Assessment(risk=None, degraded=degraded_by(error))
        return read_guard_answer(reply, self._detector.template, request, name=self._detector.name)

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
