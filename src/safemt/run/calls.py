"""The calls of a run: made within the limits of their endpoints, counted, and told to the event log.

They also hold why the run stops, since whatever stops it must start no further call.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from safemt.core.errors import CallError, CallFailure, SafemtError
from safemt.core.schema import Message
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import Limits, Patience
from safemt.endpoints.spend import Asked, Spend
from safemt.run.running import Tracker
from safemt.run.watch.events import EventLog


class Calls:
    """Makes the calls of one invocation until it stops."""

    def __init__(
        self,
        *,
        origins: Iterable[str],
        concurrency: int,
        spend: Spend,
        events: EventLog,
        tracker: Tracker,
        patience: Patience | None = None,
    ) -> None:
        """`origins` are the endpoints; each gets at most `concurrency` calls at once."""
        self.limits = Limits(concurrency, patience)
        for origin in origins:
            self.limits.of(origin)
        self.spend = spend
        self.events = events
        self.tracker = tracker
        self.stopped: SafemtError | None = None
        """Why no new call is started any more."""
        self._logged_limits: dict[str, int] = {}

    def stop(self, reason: SafemtError) -> None:
        """Start no further call; those in flight may finish. The first reason stays."""
        if self.stopped is None:
            self.stopped = reason
            self.limits.close()

    def stop_at_caps(self) -> None:
        """Stop if there is nothing left to spend."""
        reached = self.spend.reached()
        if reached is not None:
            self.stop(reached)

    def ask(self, role: str, sample: str) -> Ask:
        """How a judge or a moderator calls its endpoints for a sample."""

        async def ask(endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
            asked = Asked(role, f"openai/{endpoint.model}", endpoint.origin)
            reply, _ = await self.make(asked, sample, messages, lambda: endpoint.complete(messages))
            return reply

        return ask

    async def make(
        self, asked: Asked, sample: str, messages: Sequence[Message], attempt: Callable[[], Awaitable[Reply]]
    ) -> tuple[Reply, int]:
        """Make a call for a sample, again where that may help; give the reply and the attempts.

        Raises:
            CallError: the call failed for good.
            RunStopped: so would every other call, or the run stopped before this one succeeded.
        """
        call = _Call(self, asked, sample, messages, attempt)
        try:
            if not asked.origin:
                return await call.once(), 1
            limits = self.limits.of(asked.origin)
            return await limits.call(call.once, asked=f"{asked.role} {asked.model}", retrying=call.retrying)
        except CallError as error:
            call.emit("call_failed", cause=error.failure.cause)
            raise

    def emit_limit(self, origin: str) -> None:
        """Log how many calls an endpoint gets at once, unless that is what was last logged."""
        limit = self.limits.of(origin).limit
        if self._logged_limits.get(origin) != limit:
            self._logged_limits[origin] = limit
            self.events.emit("limit_changed", origin=origin, limit=limit)


@dataclass(slots=True)
class _Call:
    """One call while it is being made."""

    calls: Calls
    asked: Asked
    sample: str
    messages: Sequence[Message]
    attempt: Callable[[], Awaitable[Reply]]
    made: int = 0
    started: float = 0.0

    async def once(self) -> Reply:
        """Make one attempt, and count what it cost."""
        calls = self.calls
        self.made += 1
        self.started = time.monotonic()
        if self.asked.origin:
            calls.emit_limit(self.asked.origin)
        try:
            reply = await self.attempt()
        except CallError as error:
            calls.tracker.last_problem = error.failure.message
            calls.spend.count_failure(self.asked, error.failure)
            calls.stop_at_caps()
            raise
        calls.spend.count_reply(self.asked, self.messages, reply)
        calls.stop_at_caps()
        self.emit(
            "call_succeeded",
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            finish_reason=reply.finish_reason,
        )
        return reply

    def retrying(self, failure: CallFailure) -> None:
        """Log that the last attempt failed and another follows."""
        self.emit("call_retried", cause=failure.cause)
        self.calls.emit_limit(self.asked.origin)

    def emit(self, event: str, **fields: object) -> None:
        """Log something about the last attempt."""
        self.calls.events.emit(
            event,
            role=self.asked.role,
            model=self.asked.model,
            sample=self.sample,
            attempt=self.made,
            seconds=round(time.monotonic() - self.started, 3),
            **fields,
        )
