"""A moderator in a run: before a request is sent, it reads the dialogue and decides what becomes of it.

Where it allows, the request is the one that would be sent without it, under the same key, so that a response
in the store serves both. Where it injects, the policies are part of the messages, and so of the key. Where it
blocks, a fixed refusal stands in and the target is not asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from safemt.core.identity import Json, content_key
from safemt.core.schema import Message
from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.io.images import ImageFolder
from safemt.judges.base import Ask
from safemt.moderation.moderator import Moderator, Session
from safemt.moderation.policies.inject import BUDGET, FRAME, Position, inject
from safemt.run.verdicts import REFUSAL_KEY, Verdicts


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
    conversation: str
    """The key of what was moderated."""
    messages: Sequence[Message]
    """What to send; meaningless where `action` is `block`."""


class Gate:
    """The moderator of one invocation, with the store's verdicts and the engine's limits."""

    def __init__(
        self, moderation: Moderation, verdicts: Verdicts, *, settled: Callable[[], Awaitable[None]]
    ) -> None:
        """`settled` returns once what was stored is on disk."""
        self.moderation = moderation
        self.moderator = moderation.moderator
        self.id = moderation.id
        self.verdicts = verdicts
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

        A verdict in the store is taken from there, unless it was degraded: then it is made again.

        Raises:
            RunStopped: the moderator's endpoint is of no use.
            BenchmarkError: an image is gone or has changed.
        """
        gate, moderation = self._gate, self._gate.moderation
        key = _conversation_key(messages)
        stored = gate.verdicts.verdict(moderator=gate.id, conversation=key)
        if stored is None or stored.degraded or not gate.policies.keys() >= set(stored.policies):
            verdict = await self._verdict(messages)
            gate.verdicts.add_verdict(verdict, moderator=gate.id, conversation=key)
            await gate.settled()
            action, names = verdict.action, tuple(policy.id for policy in verdict.policies)
        else:
            action, names = stored.action, stored.policies
        if action is Action.INJECT:
            policies = [gate.policies[name] for name in names]
            messages = inject(messages, policies, position=moderation.position, budget=moderation.budget)
        return Decision(action, key, messages)

    async def _verdict(self, messages: Sequence[Message]) -> Verdict:
        images = self._gate.moderation.images
        new = [each.with_source(images) if images else each for each in messages[self._read :]]
        self._read = len(messages)
        if self._gate.moderator.detector.endpoints:
            # Asked once, about the whole: every turn would be a call of its own.
            for message in new:
                await self._session.aadd(message)
            return await self._session.averdict()
        # What works on this machine may take many milliseconds, in which the loop would do nothing else.
        return await asyncio.get_running_loop().run_in_executor(self._gate.pool, self._append, new)

    def _append(self, new: Sequence[Message]) -> Verdict:
        verdicts = [self._session.append(message) for message in new]
        return replace(verdicts[-1], milliseconds=sum(verdict.milliseconds for verdict in verdicts))


def _conversation_key(messages: Sequence[Message]) -> str:
    return content_key([each.identity for each in messages])
