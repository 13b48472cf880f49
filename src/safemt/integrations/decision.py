"""What every integration asks for: the verdict on messages, and what to do with the model's request."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from safemt.core.schema import Message
from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.inject import inject
from safemt.moderation.reading.chat import message_of

REFUSAL: Final = "I cannot help with that. I am glad to help with something else."
"""The answer in the model's place where a conversation is blocked."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with what follows from it."""

    verdict: Verdict
    guidance: str | None
    """A system message to put behind the conversation; None if there is nothing to inject."""

    @property
    def blocked(self) -> bool:
        """Whether the model must not be asked."""
        return self.verdict.action is Action.BLOCK


async def decide(moderator: Moderator, said: Iterable[Message | Mapping[str, Any]]) -> Decision:
    """Moderate messages as chat APIs write them, without keeping the event loop busy.

    Raises:
        DialogueError: something is not a message, or there is no user message.
    """
    messages = [message_of(each) for each in said]
    if moderator.detector.endpoints:
        verdict = await moderator.amoderate(messages, every_turn=False)
    else:
        verdict = await asyncio.to_thread(moderator.moderate, messages)
    return _decision(moderator, messages, verdict)


def decide_now(moderator: Moderator, said: Iterable[Message | Mapping[str, Any]]) -> Decision:
    """As `decide`, for code that is not async."""
    messages = [message_of(each) for each in said]
    every_turn = not moderator.detector.endpoints
    return _decision(moderator, messages, moderator.moderate(messages, every_turn=every_turn))


def _decision(moderator: Moderator, messages: list[Message], verdict: Verdict) -> Decision:
    if verdict.action is not Action.INJECT:
        return Decision(verdict, None)
    known = {policy.id: policy for policy in moderator.policies.listed}
    injected = inject(messages, [known[ref.id] for ref in verdict.policies])
    return Decision(verdict, injected[-1].content)
