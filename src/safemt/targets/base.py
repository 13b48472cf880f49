"""The protocol of a target."""

from collections.abc import Sequence
from typing import Protocol

from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply


class Target(Protocol):
    """A model under test. One `respond` is one attempt; the engine adds retries and limits."""

    @property
    def name(self) -> str:
        """As in the configuration: `openai/MODEL`, `replay/PATH`, `sim/NAME`."""

    @property
    def simulated(self) -> bool:
        """Whether its answers are made up. If so, every output says it."""

    @property
    def identity(self) -> Json:
        """Everything that decides an answer; part of each call's key."""

    @property
    def answers_by_sample(self) -> bool:
        """Whether an answer depends on the sample, and not only on the messages."""

    @property
    def origin(self) -> str | None:
        """The endpoint whose limits its calls share; None if it makes no calls."""

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        """Answer `messages`. Only a target that `answers_by_sample` reads `sample`.

        Raises:
            CallError: there is no answer; `failure` says whether to try again.
        """

    async def close(self) -> None:
        """Close the connections."""
