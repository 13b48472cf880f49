"""The protocol of a detector: what reads a conversation and says how risky it is.

A detector says how likely harm is; what follows from that (the threshold, the action, the policies, what
happens on errors) is the moderator's, and the same for all detectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.base import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What a detector makes of a conversation after its newest user turn."""

    risk: float | None
    """Of the conversation as it stands, in [0, 1]; None where nothing could be scored."""
    turn_risk: float | None = None
    """Of the newest user turn read by itself."""
    linkage: float | None = None
    """How far the newest turn serves the suspected intent."""
    scenarios: Mapping[Scenario, float] = field(default_factory=dict)
    earlier: Sequence[float | None] = ()
    """The risk after each earlier user turn, where the detector says that in the same breath."""
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
    """Part of the message (from 0) → why nobody looked at it (a code of `Unscanned.why`)."""


class Reading(Protocol):
    """One conversation being read by a detector."""

    async def add(self, message: Message) -> Scan:
        """Take in the next message. What can be computed once for a message is computed here.

        Raises:
            CallError: a call to an endpoint failed for good.
        """

    async def assess(self) -> Assessment:
        """Say what the conversation amounts to; only called where the user has spoken.

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
        """As given to `--moderator`: `embedded`, `keyword`, `llm:openai/MODEL`, `guard/llama-guard`."""

    @property
    def identity(self) -> Json:
        """The whole configuration: model and its hash, prompts, version of the parser."""

    @property
    def threshold(self) -> float:
        """The risk from which on a conversation is flagged, unless the user sets another."""

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """The endpoints it calls; empty for one that works on this machine alone."""

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation; calls to endpoints go through `ask`."""
