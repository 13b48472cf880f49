"""How many calls an endpoint gets at once, and how often a failed call is made again.

One call goes first and is made again until it has an answer or is given up; only then come others. The first
success opens the full limit, which halves when the endpoint asks for less (429, 503, 529) and grows back over
about ten seconds (AIMD). Retries are bounded, with jitter, and a `Retry-After` holds back every call to that
endpoint.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from safemt.core.errors import CallError, CallFailure, RunStopped

MAX_RETRIES: Final = 5
"""After the first attempt, for faults."""
MAX_THROTTLED: Final = 20
"""After the first attempt, for requests to slow down."""
LONGEST_WAIT: Final = 300.0
"""Seconds; an endpoint that asks for a longer pause stops the run instead. A faulty call is given up then."""

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0
_CUT_INTERVAL = 1.0
_RECOVERY_SECONDS = 10.0
_RETRIES_AT_FIRST = 2
_FAILURES_AT_FIRST = 3
_ABOUT_ENDPOINT = ("connection", "timeout")
"""What says more of an endpoint than of a request, if it is the first thing that is heard of it."""
_FATAL_AFTER_SUCCESS = 3
_FAILURES_IN_A_ROW = 25

_CLOSED = "The run is stopping."

T = TypeVar("T")


@dataclass(slots=True)
class _Health:
    """How the calls to one model behind an endpoint have gone."""

    succeeded: bool = False
    failed_in_a_row: int = 0


class EndpointLimits:
    """The limits of one endpoint, shared by all calls to it, and the health of the models behind it."""

    def __init__(self, origin: str, concurrency: int) -> None:
        self.origin = origin
        self.retries = 0
        """Attempts made again so far."""
        self._ceiling = concurrency
        self._limit = 1.0
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Each is woken with its slot already counted in, so that nobody can take it in between."""
        self._pause: asyncio.TimerHandle | None = None
        """What ends the pause that the endpoint asked for. Its firing alone does: clocks are too coarse."""
        self._last_cut = float("-inf")
        self._last_growth = 0.0
        self._opened = False
        self._health: dict[str, _Health] = {}
        self._closing = asyncio.Event()

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return int(self._limit)

    async def call(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        asked: str,
        retrying: Callable[[CallFailure], None] | None = None,
    ) -> tuple[T, int]:
        """Make a call within the limits, again where that may help; give the result and the attempts.

        `asked` names who is asked (the target, the judge): one may be in order and the other not, behind
        the same address. `retrying` is told of each failure after which the call is made again.

        Raises:
            CallError: the call failed for good.
            RunStopped: so would every other call, or `close` was called before it succeeded.
        """
        health = self._health.setdefault(asked, _Health())
        faults = throttles = 0
        while True:
            await self._enter()
            try:
                while True:
                    began = asyncio.get_running_loop().time()
                    try:
                        result = await attempt()
                    except CallError as error:
                        failure = error.failure
                    else:
                        self._on_success(health, began)
                        return result, faults + throttles + 1
                    # Before the slot goes to the next call: what failed here may hold that one back, too.
                    faults += not failure.throttled
                    throttles += failure.throttled
                    if failure.throttled:
                        self._cut(failure.retry_after)
                    self._require_hope(health, failure, faults=faults, throttles=throttles)
                    self.retries += 1
                    if retrying is not None:
                        retrying(failure)
                    backoff = max(_backoff(faults + throttles), failure.retry_after or 0.0)
                    if self._opened:
                        break
                    await self._rest(backoff)
            finally:
                self._leave()
            await self._rest(backoff)

    def close(self) -> None:
        """Start no further call; those in flight may finish."""
        self._closing.set()
        if self._pause is not None:
            self._pause.cancel()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(RunStopped(_CLOSED))

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        if self._closing.is_set():
            raise RunStopped(_CLOSED)

    async def _enter(self) -> None:
        """Wait for a slot."""
        while True:
            if self._closing.is_set():
                raise RunStopped(_CLOSED)
            if not self._waiting and self._pause is None and self._in_flight < self.limit:
                self._in_flight += 1
                return
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.cancelled():
                    with contextlib.suppress(ValueError):
                        self._waiting.remove(turn)
                elif turn.exception() is None:
                    self._leave()
                raise
            if self._pause is None and not self._closing.is_set():
                return
            self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._pause is None and self._in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _on_success(self, health: _Health, began: float) -> None:
        now = asyncio.get_running_loop().time()
        if not self._opened:
            self._opened = True
            self._limit = float(self._ceiling)
        # A success speaks for the time that it took; where calls take long, there are few others to wait for.
        elapsed = min(now - self._last_growth, max(1.0, now - began))
        self._limit = min(self._ceiling, self._limit + self._ceiling * elapsed / _RECOVERY_SECONDS)
        self._last_growth = now
        health.succeeded = True
        health.failed_in_a_row = 0

    def _cut(self, retry_after: float | None) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last_cut >= _CUT_INTERVAL:
            self._limit = max(1.0, self._limit / 2)
            self._last_cut = self._last_growth = now
        if retry_after is None:
            return
        if retry_after > LONGEST_WAIT:
            raise self._given_up(
                f"{self.origin} asks to wait {retry_after / 60:.0f} minutes before the next call."
            )
        if self._pause is None or now + retry_after > self._pause.when():
            if self._pause is not None:
                self._pause.cancel()
            self._pause = loop.call_at(now + retry_after, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._admit()

    def _require_hope(self, health: _Health, failure: CallFailure, *, faults: int, throttles: int) -> None:
        """Return if the call is worth another attempt.

        A model that never answered is given up sooner: most likely its address or name is wrong. One that
        did answer is not given up for a single refusal of the key: a firewall may dislike one request.

        Raises:
            CallError: it is not.
            RunStopped: neither is any other call.
        """
        if failure.retryable and self._closing.is_set():
            raise RunStopped(_CLOSED)
        retries = MAX_RETRIES if health.succeeded else _RETRIES_AT_FIRST
        wait = failure.retry_after or 0.0
        if failure.retryable and faults <= retries and throttles <= MAX_THROTTLED and wait <= LONGEST_WAIT:
            return
        health.failed_in_a_row += 1
        if health.succeeded:
            most = _FATAL_AFTER_SUCCESS if failure.fatal else _FAILURES_IN_A_ROW
        else:
            most = 1 if failure.fatal or failure.cause in _ABOUT_ENDPOINT else _FAILURES_AT_FIRST
        if health.failed_in_a_row < most:
            raise CallError(failure)
        said = failure.message if failure.message.endswith((".", "?", "!")) else f"{failure.message}."
        if failure.fatal or most == 1:
            raise self._given_up(f"{said[:1].upper()}{said[1:]}")
        raise self._given_up(f"{health.failed_in_a_row} calls in a row failed. The last: {said}")

    def _given_up(self, reason: str) -> RunStopped:
        self.close()
        return RunStopped(reason)


def _backoff(tries: int) -> float:
    """Seconds before the next attempt: doubling, with jitter so that calls do not come back together."""
    longest: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (tries - 1))
    return longest * random.uniform(0.5, 1.0)
