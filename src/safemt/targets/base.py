"""The protocol of a target, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from safemt.core.identity import Json
from safemt.core.schema import Message, Sample


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a chat model is asked to generate."""

    temperature: float | None = 0.0
    """None leaves it to the endpoint's default (some models accept no other)."""
    max_output_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered to one request."""

    text: str
    blocked: bool = False
    """Whether the provider's content filter stood in; `text` is then its notice or a partial answer."""
    finish_reason: str | None = None
    model: str | None = None
    """The model as the endpoint names it, often a dated version."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token: Mapping[str, float] | None = None
    """Probabilities of the answer's first token; None unless they were asked for and given."""


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
