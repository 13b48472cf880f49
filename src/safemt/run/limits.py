"""How many calls an endpoint gets at once, and how often a failed call is made again.

Concurrency starts at one call, opens to the full limit on the first success, halves when the endpoint asks
for less (429, 503, 529), and grows back over about ten seconds (AIMD). Retries are bounded, with jitter, and
a `Retry-After` holds back every call to that endpoint.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from safemt.core.errors import CallError, CallFailure, RunStopped

MAX_RETRIES: Final = 5
"""After the first attempt, for faults."""
MAX_THROTTLED: Final = 20
"""After the first attempt, for requests to slow down."""
LONGEST_WAIT: Final = 300.0
"""Seconds; an endpoint that asks for a longer pause stops the run instead."""

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0
_CUT_INTERVAL = 1.0
_RECOVERY_SECONDS = 10.0
_RETRIES_AT_FIRST = 2
_FAILURES_AT_FIRST = 3
_FAILURES_IN_A_ROW = 25

_CLOSED = "The run is stopping."

T = TypeVar("T")


class EndpointLimits:
    """The limits and the health of one endpoint, shared by all calls to it."""

    def __init__(self, origin: str, concurrency: int) -> None:
        self.origin = origin
        self.retries = 0
        """Attempts made again so far."""
        self._ceiling = concurrency
        self._limit = 1.0
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._last_cut = float("-inf")
        self._last_growth = 0.0
        self._succeeded = False
        self._failed_in_a_row = 0
        self._closing = asyncio.Event()

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return int(self._limit)

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Make a call within the limits, again where that may help; give the result and the attempts.

        Raises:
            CallError: the call failed for good.
            RunStopped: so would every other call to this endpoint, or `close` was called before it succeeded.
        """
        faults = throttles = 0
        while True:
            await self._acquire()
            try:
                result = await attempt()
            except CallError as error:
                failure = error.failure
            else:
                self._on_success()
                return result, faults + throttles + 1
            finally:
                self._release()
            if failure.throttled:
                throttles += 1
                self._cut(failure)
            else:
                faults += 1
            if self._closing.is_set() and failure.retryable:
                raise RunStopped(_CLOSED)
            if not failure.retryable or faults > self._max_retries or throttles > MAX_THROTTLED:
                self._on_final_failure(failure)
                raise CallError(failure)
            self.retries += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _backoff(faults + throttles))

    def close(self) -> None:
        """Start no further call; those in flight may finish."""
        self._closing.set()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(RunStopped(_CLOSED))

    @property
    def _max_retries(self) -> int:
        """An endpoint that never answered is given up sooner: most likely the address is wrong."""
        return MAX_RETRIES if self._succeeded else _RETRIES_AT_FIRST

    async def _acquire(self) -> None:
        if self._closing.is_set():
            raise RunStopped(_CLOSED)
        now = asyncio.get_running_loop().time()
        if not self._waiting and self._in_flight < self.limit and now >= self._paused_until:
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()
            raise

    def _release(self) -> None:
        self._in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        if asyncio.get_running_loop().time() < self._paused_until:
            return
        while self._waiting and self._in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _on_success(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._succeeded:
            self._succeeded = True
            self._limit = float(self._ceiling)
        elapsed = min(now - self._last_growth, 1.0)
        self._limit = min(self._ceiling, self._limit + self._ceiling * elapsed / _RECOVERY_SECONDS)
        self._last_growth = now
        self._failed_in_a_row = 0

    def _cut(self, failure: CallFailure) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last_cut >= _CUT_INTERVAL:
            self._limit = max(1.0, self._limit / 2)
            self._last_cut = self._last_growth = now
        if failure.retry_after is None:
            return
        if failure.retry_after > LONGEST_WAIT:
            raise RunStopped(
                f"{self.origin} asks to wait {failure.retry_after / 60:.0f} minutes before the next call."
            )
        if now + failure.retry_after > self._paused_until:
            self._paused_until = now + failure.retry_after
            loop.call_at(self._paused_until, self._admit)

    def _on_final_failure(self, failure: CallFailure) -> None:
        self._failed_in_a_row += 1
        unreachable = failure.cause == "connection" and not self._succeeded
        most = _FAILURES_IN_A_ROW if self._succeeded else _FAILURES_AT_FIRST
        if failure.fatal or unreachable:
            raise RunStopped(_sentence(failure.message))
        if self._failed_in_a_row >= most:
            raise RunStopped(
                f"{self._failed_in_a_row} calls in a row failed. The last: {failure.message.rstrip('.')}."
            )


def _backoff(tries: int) -> float:
    """Seconds before the next attempt: doubling, with jitter so that calls do not come back together."""
    longest: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (tries - 1))
    return longest * random.uniform(0.5, 1.0)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
