"""A tenant's moderator in service: verdicts on conversations as they arrive, each within its time.

This module is the gateway's only contact with how moderators are asked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from safemt.core.errors import SafemtError
from safemt.core.identity import content_key
from safemt.core.schema import JUDGED_ROLES, Message
from safemt.core.taxonomy import Action, OnError
from safemt.core.verdict import Coverage, Degraded, Verdict
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.moderator import Moderator, Session, wait_for
from safemt.moderation.policies.policy import Policy
from safemt.serve.dialects.dialect import Conversation
from safemt.serve.lanes import Lanes, Overloaded, windows_of
from safemt.serve.state import State, States, chain, chain_start

_NAME: Final = 16
_PASSING: Final = ("ocr_budget", "ocr_failed", "image_unreadable")
"""Causes of a degraded verdict that may be gone the next time, besides those of calls."""
_MESSAGES: Final = {
    "moderation_timeout": "The verdict was not ready in time.",
    "overload": "Too many conversations waited for the moderator.",
    "unknown_history": "The request continues a response that the gateway does not know.",
    "no_user_message": "There is no user message to moderate.",
    "moderator_failed": "The moderator failed.",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and how it came about."""

    verdict: Verdict
    known: bool
    """Whether it was remembered, and nothing was read for it."""
    digest: bytes
    """The end of the conversation's chain of hashes."""
    conversation: str
    """Names the conversation, for the audit log."""
    unknown: bool = False
    """Whether it continues a response that is not known here."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be read for a verdict."""

    messages: Sequence[Message]
    base: State | None
    """What they continue."""
    digest: bytes
    """The end of the conversation's chain of hashes."""
    conversation: str


class Guard:
    """One moderator, the memory that it shares with others, and the threads that it works in."""

    def __init__(
        self, moderator: Moderator, states: States, lanes: Lanes, *, secret: bytes, seconds: float
    ) -> None:
        """`secret` keeps its entries in `states` apart from others'; `seconds` is the time for a verdict."""
        self.moderator = moderator
        self.policies = {policy.id: policy for policy in moderator.policies.listed}
        self.detector = detector_id(moderator.detector)
        """Identifies the moderator that a threshold holds for."""
        self.start = chain_start(secret, content_key(moderator.identity))
        self._states = states
        self._lanes = lanes
        self._seconds = seconds
        self._calls = bool(moderator.detector.endpoints)
        self._running: dict[bytes, asyncio.Future[State]] = {}
        """Work in progress, so that equal requests at once are one piece of work."""

    async def judge(self, conversation: Conversation, name: str) -> Judgement:
        """The verdict on a conversation; `name` becomes its id. It never fails: then it is degraded."""
        before, unknown = self._before(conversation)
        messages = conversation.messages
        digests = chain(before[0], messages)
        named = before[1].conversation if before[1] else _name_of(messages, digests)
        known, state = self._states.longest(digests)
        remembered = state is not None and known == len(digests)
        if state is not None and remembered:
            verdict = replace(state.verdict, id=name, milliseconds=0.0, prompt_tokens=0, completion_tokens=0)
        else:
            base = state or before[1]
            verdict = await self._fresh(Work(messages[known:], base, digests[-1], named), name)
        if unknown:
            verdict = self.degraded("unknown_history", verdict)
        return Judgement(verdict, remembered, digests[-1], named, unknown)

    def chosen(self, verdict: Verdict) -> list[Policy]:
        """The policies of a verdict."""
        return [self.policies[ref.id] for ref in verdict.policies]

    def degraded(self, cause: str, verdict: Verdict | None = None, *, name: str = "") -> Verdict:
        """`verdict`, or one without a risk, with what `moderator.on_error` makes of it."""
        moderator = self.moderator
        on_error, baseline = moderator.on_error, moderator.policies.baseline
        if verdict is None:
            verdict = Verdict(
                id=name,
                moderator=moderator.name,
                risk=None,
                threshold=moderator.flag_from,
                flagged=False,
                action=Action.ALLOW,
                scenario=None,
                coverage=Coverage(turns_scored=0, turns_total=0, images_scored=0, images_total=0),
                milliseconds=0.0,
            )
        verdict = replace(
            verdict, degraded=verdict.degraded or Degraded(cause=cause, message=_MESSAGES.get(cause, cause))
        )
        if on_error is OnError.CLOSED:
            return replace(verdict, action=Action.BLOCK, policies=())
        if on_error is OnError.INJECT and verdict.action is Action.ALLOW:
            return replace(verdict, action=Action.INJECT, policies=(baseline.ref,))
        return verdict

    def remember(self, response: str, digest: bytes) -> None:
        """Remember that the upstream knows the conversation that ends at `digest` under an id."""
        self._states.name(self.start, response, digest)

    async def try_out(self) -> Verdict:
        """A verdict on a greeting. A guard model proves itself on known texts before it.

        Raises:
            SafemtError: the moderator cannot be used.
        """
        greeting = [Message("user", "Hello!")]
        if self._calls:
            return await self._lanes.call(self.moderator.amoderate(greeting, every_turn=False))
        return await self._lanes.run(lambda: self.moderator.moderate(greeting), 1)

    async def close(self) -> None:
        """Close the connections of the moderator."""
        if self._calls:
            await self._lanes.call(self.moderator.close())

    def _before(self, conversation: Conversation) -> tuple[tuple[bytes, State | None], bool]:
        """What the messages continue: its hash and state; and whether that should be known but is not."""
        if conversation.after is None:
            return (self.start, None), False
        digest = self._states.named(self.start, conversation.after)
        state = self._states.get(digest) if digest else None
        if digest is None or state is None or state.session is None:
            return (self.start, None), True
        return (digest, state), False

    async def _fresh(self, work: Work, name: str) -> Verdict:
        if work.base is None and not any(message.role == "user" for message in work.messages):
            return self.degraded("no_user_message", name=name)
        running = self._running.get(work.digest)
        try:
            if running is None:
                running = self._begin(work)
            state = await asyncio.wait_for(asyncio.shield(running), self._seconds)
        except TimeoutError:
            return self.degraded("moderation_timeout", name=name)
        except Overloaded:
            return self.degraded("overload", name=name)
        except SafemtError as error:
            return self.degraded(error.code or "moderator_failed", name=name)
        except Exception:  # noqa: BLE001 - whatever a detector does, the request must get an answer
            return self.degraded("moderator_failed", name=name)
        return replace(state.verdict, id=name)

    def _begin(self, work: Work) -> "asyncio.Future[State]":
        """Start the work. Its result is kept even if nobody waits for it any more."""
        if self._calls:
            running = self._lanes.call(self._ask(work))
        else:
            running = self._lanes.run(lambda: self._read(work), windows_of(work.messages))
        digest = work.digest
        self._running[digest] = running

        def keep(done: "asyncio.Future[State]") -> None:
            self._running.pop(digest, None)
            if not done.cancelled() and done.exception() is None and self._lasts(done.result().verdict):
                self._states.put(digest, done.result())

        running.add_done_callback(keep)
        return running

    def _lasts(self, verdict: Verdict) -> bool:
        """Whether the next verdict on the same conversation would be the same."""
        if verdict.degraded is None:
            return True
        cause = verdict.degraded.cause
        return cause in ("unknown_part", "too_long") if self._calls else cause not in _PASSING

    def _read(self, work: Work) -> State:
        before = work.base.session if work.base else None
        session = before.fork() if before else self.moderator.open()
        reading = _continued(session, work.messages, spoken=work.base is not None)
        return State(wait_for(reading, calls=False), session, work.conversation)

    async def _ask(self, work: Work) -> State:
        return State(await self.moderator.amoderate(work.messages, every_turn=False), None, work.conversation)


def _name_of(messages: Sequence[Message], digests: Sequence[bytes]) -> str:
    first = next((n for n, message in enumerate(messages) if message.role == "user"), 0)
    return digests[first].hex()[:_NAME]


async def _continued(session: Session, messages: Sequence[Message], *, spoken: bool) -> Verdict:
    """The verdict after the messages; `spoken` is whether there were user messages before them.

    Each message that can carry an intent is assessed, wherever a request ended, so that the verdict does not
    depend on how the conversation was cut into requests.
    """
    for message in messages:
        await session.aadd(message)
        spoken = spoken or message.role == "user"
        if spoken and message.role in JUDGED_ROLES:
            await session.aassess()
    return await session.averdict()
