"""`openai/MODEL`: a chat-completions endpoint as the model under test."""

from collections.abc import Sequence

from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint


class OpenAITarget:
    """A model at OpenAI, or on any server that speaks the same protocol."""

    simulated = False
    answers_by_sample = False

    def __init__(self, endpoint: ChatEndpoint) -> None:
        self._endpoint = endpoint
        self.name = f"openai/{endpoint.model}"
        self.origin = endpoint.origin

    @property
    def identity(self) -> Json:
        """Model and sampling, without the base URL: a server may move during a run."""
        sampling = self._endpoint.sampling
        return {
            "kind": "chat",
            "model": self._endpoint.model,
            "temperature": sampling.temperature,
            "max_output_tokens": sampling.max_output_tokens,
        }

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        """Send one request; see `ChatEndpoint.complete`."""
        return await self._endpoint.complete(messages)

    async def close(self) -> None:
        """Close the endpoint's connections."""
        await self._endpoint.close()
