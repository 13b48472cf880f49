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

_CUT_INTERVAL: Final = 1.0
_FAILURES_AT_FIRST: Final = 3
_ABOUT_ENDPOINT: Final = ("connection", "timeout")
"""Causes that, on the first calls, speak for the whole endpoint rather than for one request."""
_FATAL_AFTER_SUCCESS: Final = 3
_FAILURES_IN_A_ROW: Final = 25

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a failed call is made again, and what happens when that does not help. Times in seconds."""

    faults: int = 5
    """Retries after faults."""
    faults_at_first: int = 2
    """Retries after faults of a model that has never answered: its address or name may be wrong."""
    throttles: int = 20
    """Retries after requests to slow down."""
    first_backoff: float = 0.5
    """Doubles with each retry."""
    longest_backoff: float = 30.0
    longest_wait: float = 300.0
    """The longest `Retry-After` that is followed."""
    recovery: float = 10.0
    """How long the limit takes to grow from nothing to the whole."""
    gives_up: bool = True
    """Whether an endpoint of no use is closed for all further calls, with RunStopped. Otherwise each call
    fails by itself."""

    def backoff(self, tries: int) -> float:
        """Seconds before the next attempt: doubling, with jitter so that calls do not come back together."""
        longest: float = min(self.longest_backoff, self.first_backoff * 2 ** (tries - 1))
        return longest * random.uniform(0.5, 1.0)


OF_A_RUN: Final = Patience()
"""For work that can wait: minutes are better than a lost answer."""
OF_A_PROGRAM: Final = Patience(faults=2, throttles=4, longest_backoff=4.0, longest_wait=10.0, gives_up=False)
"""For a program that somebody waits for, and that goes on when an endpoint does not answer."""


@dataclass(slots=True)
class _Health:
    """How the calls to one model behind an endpoint have gone."""

    succeeded: bool = False
    failed_in_a_row: int = 0


class EndpointLimits:
    """The limits of one endpoint, shared by all calls to it, and the health of the models behind it."""

    def __init__(self, origin: str, concurrency: int, patience: Patience | None = None) -> None:
        self.origin = origin
        self.retries = 0
        """Attempts made again so far."""
        self._patience = patience or OF_A_RUN
        self._ceiling = concurrency
        self._opened = not self._patience.gives_up
        """Whether others may go beside the first call. They always may where that is not given up."""
        self._limit = float(concurrency if self._opened else 1)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Each is woken with its slot already counted in, so that nobody can take it in between."""
        self._pause: asyncio.TimerHandle | None = None
        """Ends the pause that the endpoint asked for. Only its firing does: clocks are too coarse."""
        self._last_cut = float("-inf")
        self._last_growth = 0.0
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
                    backoff = max(self._patience.backoff(faults + throttles), failure.retry_after or 0.0)
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
                turn.set_exception(_closed())

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        if self._closing.is_set():
            raise _closed()

    async def _enter(self) -> None:
        """Wait for a slot."""
        while True:
            if self._closing.is_set():
                raise _closed()
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
        self._limit = min(self._ceiling, self._limit + self._ceiling * elapsed / self._patience.recovery)
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
        if retry_after > self._patience.longest_wait:
            if not self._patience.gives_up:
                return
            raise self._given_up(
                "endpoint_pauses",
                f"{self.origin} asks to wait {retry_after / 60:.0f} minutes before the next call.",
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
            RunStopped: no other call to this endpoint is, either.
        """
        if failure.retryable and self._closing.is_set():
            raise _closed()
        patience = self._patience
        retries = patience.faults if health.succeeded else patience.faults_at_first
        wait = failure.retry_after or 0.0
        few = faults <= retries and throttles <= patience.throttles
        if failure.retryable and few and wait <= patience.longest_wait:
            return
        health.failed_in_a_row += 1
        if health.succeeded:
            most = _FATAL_AFTER_SUCCESS if failure.fatal else _FAILURES_IN_A_ROW
        else:
            most = 1 if failure.fatal or failure.cause in _ABOUT_ENDPOINT else _FAILURES_AT_FIRST
        if health.failed_in_a_row < most or not patience.gives_up:
            raise CallError(failure)
        if failure.fatal or most == 1:
            raise self._given_up(failure.cause, failure.message)
        raise self._given_up(
            "failures_in_a_row",
            f"{health.failed_in_a_row} calls in a row failed. The last: {failure.message}",
        )

    def _given_up(self, code: str, reason: str) -> RunStopped:
        self.close()
        return RunStopped(code, reason, origin=self.origin)


class Limits:
    """The limits of all the endpoints that somebody calls. Use it in one event loop."""

    def __init__(self, concurrency: int, patience: Patience | None = None) -> None:
        """`concurrency` is the most calls at once to each endpoint."""
        self._concurrency = concurrency
        self._patience = patience
        self._by_origin: dict[str, EndpointLimits] = {}

    def of(self, origin: str) -> EndpointLimits:
        """The limits of the endpoint `origin`."""
        limits = self._by_origin.get(origin)
        if limits is None:
            limits = self._by_origin[origin] = EndpointLimits(origin, self._concurrency, self._patience)
        return limits

    @property
    def now(self) -> dict[str, int]:
        """How many calls each endpoint gets at once now."""
        return {origin: limits.limit for origin, limits in self._by_origin.items()}

    @property
    def retries(self) -> int:
        """Attempts made again so far."""
        return sum(limits.retries for limits in self._by_origin.values())

    def close(self) -> None:
        """Start no further call; those in flight may finish."""
        for limits in self._by_origin.values():
            limits.close()


def _closed() -> RunStopped:
    return RunStopped("stopping", "The run is stopping.")
