"""The protocol of a target."""

from collections.abc import Sequence
from typing import Protocol

from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply


class Target(Protocol):
    """A model under test. One `respond` is one attempt: retries and limits are the engine's."""

    @property
    def name(self) -> str:
        """As given to `--target`: `openai/MODEL`, `replay/PATH`, `sim/NAME`."""

    @property
    def simulated(self) -> bool:
        """Whether its answers are made up; every output then says so."""

    @property
    def identity(self) -> Json:
        """Everything about it that decides an answer, for the call's key."""

    @property
    def answers_by_sample(self) -> bool:
        """Whether an answer depends on which sample is asked, not on the messages alone."""

    @property
    def origin(self) -> str | None:
        """The endpoint whose limits its calls share; None if it makes no call."""

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        """Answer `messages`. Only a target that `answers_by_sample` looks at `sample`.

        Raises:
            CallError: there is no answer; its `failure` says whether to try again.
        """

    async def close(self) -> None:
        """Let go of connections."""
