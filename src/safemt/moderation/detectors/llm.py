"""`llm:openai/MODEL`: any chat model, asked for a verdict on the whole conversation."""

from collections.abc import Sequence
from typing import Final

from safemt.core.identity import Json
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.detectors.guards.guard import unreadable
from safemt.moderation.detectors.llm_prompt import moderation_request, prompt_hash, read_opinion
from safemt.moderation.detectors.transcript import PictureShelf, Transcript
from safemt.moderation.reading.conversation import ChatMessage

MOST_OUTPUT_TOKENS: Final = 1024
"""The verdict of a long conversation holds a number for each turn, and some models think first."""


class LLMDetector:
    """Asks a chat model, by our own prompt."""

    threshold = 0.5

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        with_pictures: bool = False,
        sampling: Sampling,
        timeout: float,
    ) -> None:
        """Without `with_pictures` the model does not see them, and coverage says so.

        Raises:
            UsageError: the endpoint's options do not fit.
        """
        self.name = f"llm:openai/{model}"
        self.shelf = PictureShelf() if with_pictures else None
        self.endpoint = ChatEndpoint(
            model=model,
            base_url=base_url,
            api_key_env=api_key_env,
            sampling=sampling,
            timeout=timeout,
            images=self.shelf,
            role="moderator",
        )
        self.endpoints: Sequence[ChatEndpoint] = (self.endpoint,)

    @property
    def identity(self) -> Json:
        """Model, sampling, whether it sees pictures, and every word it is told."""
        return {
            "kind": "llm",
            "model": self.endpoint.model,
            "temperature": self.endpoint.sampling.temperature,
            "max_output_tokens": self.endpoint.sampling.max_output_tokens,
            "with_pictures": self.shelf is not None,
            "prompt": prompt_hash(),
        }

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _LLMReading(self, ask)


class _LLMReading:
    def __init__(self, detector: LLMDetector, ask: Ask) -> None:
        self._detector = detector
        self._ask = ask
        self._transcript = Transcript(detector.shelf)

    async def add(self, message: ChatMessage) -> Scan:
        return self._transcript.add(message)

    async def assess(self) -> Assessment:
        request = moderation_request(self._transcript.entries)
        reply = await self._ask(self._detector.endpoint, request.messages)
        opinion = None if reply.blocked else read_opinion(reply.text, request)
        tokens = (reply.prompt_tokens or 0, reply.completion_tokens or 0)
        if opinion is None:
            return Assessment(
                risk=None,
                degraded=unreadable(self._detector.name, blocked=reply.blocked),
                prompt_tokens=tokens[0],
                completion_tokens=tokens[1],
            )
        degraded = None
        if request.left_out:
            degraded = Degraded(
                cause="too_long", message=f"{request.left_out:,} messages were not shown, or not wholly."
            )
        return Assessment(
            risk=opinion.risk,
            turn_risk=opinion.turn_risk,
            linkage=opinion.linkage,
            scenarios={opinion.scenario: 1.0} if opinion.scenario else {},
            earlier=opinion.after_each_turn[:-1],
            degraded=degraded,
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
        )
