"""A moderator in a run: before a request is sent, it reads the dialogue and decides what becomes of it.

If it allows the dialogue, the request is the one that would be sent without it, under the same key, so that a
response in the store serves both. If it injects policies, they are part of the messages, and so of the key.
If it blocks, a fixed refusal is the response and the target is not asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from safemt.core.identity import Json, content_key
from safemt.core.schema import Message
from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.io.images import ImageFolder
from safemt.moderation.moderator import Moderator, Session
from safemt.moderation.policies.inject import BUDGET, FRAME, Position, inject
from safemt.run.store import Store

REFUSAL: Final = Reply(
    text="I cannot help with that. I am glad to help with something else.",
    blocked=True,
    finish_reason="moderated",
)
"""The response to a blocked dialogue. It names no policy and tells nothing about the verdict."""
REFUSAL_KEY: Final = content_key({"moderated": REFUSAL.text})
"""Its key in the store; no call can have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderation:
    """A moderator, and how its policies reach the target."""

    moderator: Moderator
    position: Position = Position.LATE_SYSTEM
    budget: int = BUDGET
    """Approximate tokens of an injection."""
    images: ImageFolder | None = None

    @property
    def id(self) -> str:
        """Verdicts are kept under it."""
        return content_key(self.moderator.identity)

    @property
    def identity(self) -> Json:
        """Everything that decides what becomes of a request."""
        return {
            "moderator": self.moderator.identity,
            "position": self.position,
            "budget": self.budget,
            "frame": content_key(FRAME),
            "refusal": REFUSAL_KEY,
        }

    @property
    def entry(self) -> dict[str, Any]:
        """For the manifest of a run."""
        return {
            "name": self.moderator.name,
            "id": self.id,
            "identity": self.identity,
            "action": self.moderator.action,
            "on_error": self.moderator.on_error,
            "threshold": self.moderator.flag_from,
            "models": sorted({f"openai/{each.model}" for each in self.moderator.detector.endpoints}),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request."""

    action: Action
    messages: Sequence[Message]
    """What to send; meaningless if `action` is `block`."""
    verdict: tuple[str, str] | None = None
    """The moderator and the conversation of the stored verdict; None without a moderator."""


class Gate:
    """The moderator of one invocation, with the verdicts in the store and the limits of the engine."""

    def __init__(
        self, moderation: Moderation, store: Store, *, settled: Callable[[], Awaitable[None]]
    ) -> None:
        """`settled` returns once what was stored is on disk."""
        self.moderation = moderation
        self.moderator = moderation.moderator
        self.id = moderation.id
        self.store = store
        self.settled = settled
        self.policies = {policy.id: policy for policy in self.moderator.policies.listed}
        # One thread: a detector's models use it whole, and the loop keeps the other core.
        self.pool = ThreadPoolExecutor(1, "safemt-moderator")

    def dialogue(self, ask: Ask) -> "WatchedDialogue":
        """Begin a dialogue; calls to endpoints go through `ask`."""
        return WatchedDialogue(self, ask)

    async def close(self) -> None:
        """Let go of connections and the thread."""
        await self.moderator.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


class WatchedDialogue:
    """One dialogue under moderation: each request of a live one goes through the same session."""

    def __init__(self, gate: Gate, ask: Ask) -> None:
        self._gate = gate
        self._session: Session = replace(gate.moderator, ask=ask).open()
        self._read = 0
        """Messages that the session has taken in."""

    async def decide(self, messages: Sequence[Message]) -> Decision:
        """Moderate a request, which holds the messages of the last one and more.

        A verdict in the store is used, unless it was degraded: then it is made again.

        Raises:
            RunStopped: the moderator's endpoint is of no use.
            BenchmarkError: an image is gone or has changed.
        """
        gate, moderation = self._gate, self._gate.moderation
        key = _conversation_key(messages)
        verdict = gate.store.verdict(moderator=gate.id, conversation=key)
        if verdict is None or verdict.degraded or not gate.policies.keys() >= _policies(verdict):
            verdict = await self._verdict(messages)
            gate.store.add_verdict(verdict, moderator=gate.id, conversation=key)
            await gate.settled()
        if verdict.action is Action.INJECT:
            policies = [gate.policies[policy.id] for policy in verdict.policies]
            messages = inject(messages, policies, position=moderation.position, budget=moderation.budget)
        return Decision(verdict.action, messages, (gate.id, key))

    async def _verdict(self, messages: Sequence[Message]) -> Verdict:
        images = self._gate.moderation.images
        new = [each.with_source(images) if images else each for each in messages[self._read :]]
        self._read = len(messages)
        if self._gate.moderator.detector.endpoints:
            # Asked once, about the whole: every turn would be a call of its own.
            for message in new:
                await self._session.aadd(message)
            return await self._session.averdict()
        # A model on this machine may take many milliseconds, in which the loop would do nothing else.
        return await asyncio.get_running_loop().run_in_executor(self._gate.pool, self._append, new)

    def _append(self, new: Sequence[Message]) -> Verdict:
        verdicts = [self._session.append(message) for message in new]
        return replace(verdicts[-1], milliseconds=sum(verdict.milliseconds for verdict in verdicts))


def _policies(verdict: Verdict) -> set[str]:
    return {policy.id for policy in verdict.policies}


def _conversation_key(messages: Sequence[Message]) -> str:
    return content_key([each.identity for each in messages])
