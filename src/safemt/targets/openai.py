"""`openai/MODEL`: a chat-completions endpoint as the model under test."""

from collections.abc import Sequence

from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint


class OpenAITarget:
    """A model at OpenAI, or at any server that speaks the same protocol."""

    simulated = False
    answers_by_sample = False

    def __init__(self, endpoint: ChatEndpoint) -> None:
        self._endpoint = endpoint
        self.name = f"openai/{endpoint.model}"
        self.origin = endpoint.origin

    @property
    def identity(self) -> Json:
        """Model and sampling; not the base URL, so that a server may move while a run is under way."""
        sampling = self._endpoint.sampling
        return {
            "kind": "chat",
            "model": self._endpoint.model,
            "temperature": sampling.temperature,
            "max_output_tokens": sampling.max_output_tokens,
        }

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        """One request. See `ChatEndpoint.complete`."""
        return await self._endpoint.complete(messages)

    async def close(self) -> None:
        """Close the endpoint's connections."""
        await self._endpoint.close()
