"""The protocol of a detector, which reads a conversation and estimates how risky it is.

The moderator does the rest the same way for every detector: threshold, action, policies, and what happens
on errors.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar, runtime_checkable

from safemt.core.errors import CallError, SafemtError
from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint

UNREADABLE: Final = "unreadable_verdict"
BLOCKED: Final = "moderator_blocked"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A detector's view of a conversation after its newest user turn. All numbers are in [0, 1]."""

    risk: float | None
    """Risk of the conversation as a whole; None if nothing could be scored."""
    turn_risk: float | None = None
    """Risk of the newest user turn read by itself."""
    linkage: float | None = None
    """How far the newest turn serves the suspected intent."""
    scenarios: Mapping[Scenario, float] = field(default_factory=dict)
    earlier: Sequence[float | None] = ()
    """The risk after each earlier user turn, if the detector gives it together with the last."""
    degraded: Degraded | None = None
    """Set if something that should have been looked at was not."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a detector looked at in one message."""

    text: bool
    """Whether its text was read, or there was none."""
    images: int = 0
    """Pictures that were looked at."""
    unscanned: Mapping[int, str] = field(default_factory=dict)
    """Part of the message (from 0) → why it was not looked at (a code of `Unscanned.why`)."""


class Reading(Protocol):
    """One conversation that a detector reads."""

    async def add(self, message: Message) -> Scan:
        """Take in the next message. What depends on this message alone is computed here.

        Raises:
            CallError: a call to an endpoint failed for good.
        """

    async def assess(self) -> Assessment:
        """Assess the conversation so far. Called only after the user has spoken.

        What a tool brings in belongs to the user turn before it, which may then be assessed again.

        Raises:
            CallError: a call to an endpoint failed for good.
        """


@runtime_checkable
class ForkableReading(Reading, Protocol):
    """A reading that can be copied cheaply, so that several conversations continue from one beginning."""

    def fork(self) -> "Reading":
        """A copy that shares nothing that changes."""


class Detector(Protocol):
    """Reads conversations. Its identity is everything that decides an assessment."""

    @property
    def name(self) -> str:
        """The moderator's name: `embedded`, `keyword`, `llm:openai/MODEL`, `guard/llama-guard`."""

    @property
    def identity(self) -> Json:
        """The whole configuration: model and its hash, prompts, version of the parser."""

    @property
    def threshold(self) -> float:
        """The risk from which a conversation is flagged, unless the user sets another."""

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """The endpoints it calls; empty if it works on this machine alone."""

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation; calls to endpoints go through `ask`."""


async def assess_safely(reading: Reading) -> Assessment:
    """What `reading` assesses; a degraded assessment without a risk if it fails or gives impossible numbers.

    Raises:
        SafemtError: the moderator does not work at all, or a run stops; never a failed call.
    """
    try:
        assessment = await reading.assess()
        numbers = [assessment.risk, assessment.turn_risk, assessment.linkage, *assessment.earlier]
        numbers += assessment.scenarios.values()
        if all(number is None or 0 <= number <= 1 for number in numbers):  # NaN is in no range
            return assessment
    except Exception as error:  # noqa: BLE001 - a detector may run anybody's code
        return Assessment(risk=None, degraded=degraded_by(error))
    message = "The detector gave a number outside 0 to 1."
    return Assessment(risk=None, degraded=Degraded(cause=UNREADABLE, message=message))


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of calls that run side by side. All have ended before the first error is raised."""
    found = await asyncio.gather(*work, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


def degraded_by(error: Exception) -> Degraded:
    """How a failed call, or any error that nobody foresaw, degrades a verdict.

    Raises:
        SafemtError: `error` itself, if it is another of ours: those are not about one conversation.
    """
    if isinstance(error, CallError):
        return Degraded(cause=error.failure.cause, message=error.failure.message)
    if isinstance(error, SafemtError):
        raise error
    logging.getLogger(__name__).debug("A detector failed.", exc_info=error)
    return Degraded(cause=UNREADABLE, message=f"The detector failed with {type(error).__name__}.")


async def ask_and_read(
    ask: Ask,
    endpoint: ChatEndpoint,
    messages: Sequence[Message],
    read: Callable[[Reply], Assessment | None],
    *,
    name: str,
) -> Assessment:
    """What `read` finds in the reply to one request, with its tokens; degraded if there is no verdict in it.

    Raises:
        CallError: the call failed for good.
    """
    reply = await ask(endpoint, messages)
    found = None if reply.blocked else read(reply)
    if found is None:
        cause, message = UNREADABLE, f"The answer of {name} is not a verdict in its form."
        if reply.blocked:
            cause, message = BLOCKED, f"A content filter answered in place of {name}."
        found = Assessment(risk=None, degraded=Degraded(cause=cause, message=message))
    return replace(
        found, prompt_tokens=reply.prompt_tokens or 0, completion_tokens=reply.completion_tokens or 0
    )
