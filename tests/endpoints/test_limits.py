"""The limits of one endpoint: how much at once, how often again, when to give up, and how to let go."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemt.core.errors import CallError, CallFailure, RunStopped
from safemt.endpoints.limits import OF_A_PROGRAM, OF_A_RUN, EndpointLimits, Limits, Patience

FAULT = CallFailure("http_500", "The server broke.", retryable=True)
THROTTLE = CallFailure("http_429", "Slow down.", retryable=True, throttled=True)
BAD_KEY = CallFailure("bad_key", "The key is wrong.", fatal=True)
REFUSED = CallFailure("http_400", "The request is bad.")
NOBODY = CallFailure("connection", "Cannot connect.", retryable=True)
SILENCE = CallFailure("timeout", "No reply within 120 s.", retryable=True)

Attempt = Callable[[], Awaitable[str]]


QUICK = Patience(first_backoff=0.0005, longest_backoff=0.03)
"""The patience of a run, with waits a thousandth as long."""


def wait(seconds: float) -> CallFailure:
    return CallFailure("http_429", "Slow down.", retryable=True, throttled=True, retry_after=seconds)


@dataclass
class Endpoint:
    """Answers each call with the next of `failures` (None for a success); then succeeds for ever."""

    failures: list[CallFailure | None] = field(default_factory=list)
    seconds: float = 0.0
    started: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def __call__(self) -> str:
        self.started.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise CallError(failure)
        return "answer"


def for_ever(failure: CallFailure) -> Endpoint:
    return Endpoint([failure] * 1000)


def fresh(concurrency: int, patience: Patience = QUICK) -> EndpointLimits:
    return EndpointLimits("http://x", concurrency, patience)


async def opened(concurrency: int, patience: Patience = QUICK) -> EndpointLimits:
    """Limits of an endpoint that has answered once."""
    limits = fresh(concurrency, patience)
    await limits.call(Endpoint(), asked="target")
    return limits


async def calls(limits: EndpointLimits, attempt: Attempt, many: int) -> list[object]:
    together = (limits.call(attempt, asked="target") for _ in range(many))
    return list(await asyncio.gather(*together, return_exceptions=True))


def at_rest(limits: EndpointLimits) -> bool:
    return limits._in_flight == 0 and not limits._waiting


# How much at once


async def test_one_call_goes_first_and_its_success_opens_the_limit() -> None:
    limits, endpoint = fresh(8), Endpoint(seconds=0.01)
    first = asyncio.create_task(calls(limits, endpoint, 30))
    await asyncio.sleep(0.005)
    assert (endpoint.at_once, limits.limit) == (1, 1)
    assert await first == [("answer", 1)] * 30
    assert endpoint.most_at_once == 8
    assert at_rest(limits)


async def test_a_request_to_slow_down_halves_the_limit_at_most_once_a_second() -> None:
    limits = await opened(16)
    throttling = Endpoint([THROTTLE] * 10)
    await calls(limits, throttling, 10)
    assert 8 <= limits.limit < 10
    assert limits.retries == 10


async def test_the_limit_grows_back_in_the_time_of_its_recovery() -> None:
    assert OF_A_RUN.recovery == 10
    limits = await opened(20, replace(QUICK, recovery=0.2))
    limits._limit = 1.0
    limits._last_growth = asyncio.get_running_loop().time()
    began = time.monotonic()
    while limits.limit < 20:
        await limits.call(Endpoint(seconds=0.005), asked="target")
    assert 0.15 < time.monotonic() - began < 0.6
    await limits.call(Endpoint(), asked="target")
    assert limits.limit == 20


async def test_a_long_silence_does_not_count_as_recovery() -> None:
    limits = await opened(100)
    limits._limit = 1.0
    limits._last_growth = asyncio.get_running_loop().time() - 3600
    await limits.call(Endpoint(), asked="target")
    assert limits.limit == 11


# Retry-After


async def test_a_pause_holds_back_every_call_also_one_that_waits_for_a_slot() -> None:
    limits = await opened(1)
    paused = Endpoint([wait(0.1)])
    first = asyncio.create_task(limits.call(paused, asked="target"))
    await asyncio.sleep(0)
    others = Endpoint()
    waiting = asyncio.create_task(calls(limits, others, 5))
    asked = time.monotonic()
    await asyncio.gather(first, waiting)
    assert min(others.started) - asked >= 0.099
    assert paused.started[1] - asked >= 0.099
    assert at_rest(limits)


async def test_a_pause_holds_back_a_call_that_was_let_in_but_has_not_begun() -> None:
    limits = await opened(2)
    held = asyncio.Event()

    async def until_held() -> str:
        await held.wait()
        return "answer"

    async def throttled() -> str:
        await held.wait()
        raise CallError(wait(0.1))

    # The first to end lets the third in; the second asks for a pause before the third has woken.
    first = asyncio.create_task(limits.call(until_held, asked="target"))
    second = asyncio.create_task(limits.call(throttled, asked="target"))
    await asyncio.sleep(0.01)
    third = Endpoint()
    waiting = asyncio.create_task(limits.call(third, asked="target"))
    await asyncio.sleep(0.01)
    held.set()
    begun = time.monotonic()
    await asyncio.gather(first, waiting)
    assert third.started[0] - begun >= 0.099
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert at_rest(limits)


async def test_the_longer_of_two_pauses_holds() -> None:
    limits = await opened(3)
    began = time.monotonic()
    endpoint = Endpoint([wait(0.05), wait(0.15), wait(0.01)])
    await calls(limits, endpoint, 3)
    assert min(endpoint.started[3:]) - began >= 0.149


async def test_a_pause_of_no_time_is_none() -> None:
    limits = await opened(2)
    assert await limits.call(Endpoint([wait(0.0)]), asked="target") == ("answer", 2)


async def test_a_pause_that_is_too_long_stops_the_run() -> None:
    limits = await opened(2)
    with pytest.raises(RunStopped, match="60 minutes") as stopped:
        await limits.call(Endpoint([wait(3600)]), asked="target")
    assert (stopped.value.code, stopped.value.fields) == ("endpoint_pauses", {"origin": "http://x"})
    with pytest.raises(RunStopped) as stopped:
        await limits.call(Endpoint(), asked="target")
    assert stopped.value.code == "stopping"


# How often again


async def test_faults_are_retried_a_bounded_number_of_times() -> None:
    limits, endpoint = await opened(1), for_ever(FAULT)
    with pytest.raises(CallError, match="server broke"):
        await limits.call(endpoint, asked="target")
    assert len(endpoint.started) == 1 + QUICK.faults
    assert limits.retries == QUICK.faults


async def test_requests_to_slow_down_are_followed_a_bounded_number_of_times() -> None:
    limits, endpoint = await opened(1), for_ever(THROTTLE)
    with pytest.raises(CallError, match="Slow down"):
        await limits.call(endpoint, asked="target")
    assert len(endpoint.started) == 1 + QUICK.throttles


async def test_faults_and_throttles_have_bounds_of_their_own() -> None:
    limits = await opened(1)
    mixed: list[CallFailure | None] = [FAULT, THROTTLE, THROTTLE] * QUICK.faults
    assert await limits.call(Endpoint(mixed), asked="target") == ("answer", 3 * QUICK.faults + 1)


async def test_a_fault_that_says_when_to_come_back_holds_up_its_own_call_alone() -> None:
    limits = await opened(2)
    waits = Endpoint([CallFailure("http_500", "It broke.", retryable=True, retry_after=0.1)])
    held = asyncio.create_task(limits.call(waits, asked="target"))
    await asyncio.sleep(0.01)
    assert await limits.call(Endpoint(), asked="target") == ("answer", 1)
    assert not held.done()
    assert await held == ("answer", 2)
    assert waits.started[1] - waits.started[0] >= 0.1


@pytest.mark.parametrize("after_a_success", [True, False])
async def test_a_fault_that_asks_for_too_long_a_wait_is_given_up(after_a_success: bool) -> None:
    limits = await opened(1) if after_a_success else fresh(1)
    endpoint = for_ever(
        CallFailure("http_500", "It broke.", retryable=True, retry_after=QUICK.longest_wait + 1)
    )
    with pytest.raises(CallError, match="It broke"):
        await asyncio.wait_for(limits.call(endpoint, asked="target"), 5)
    assert len(endpoint.started) == 1


async def test_what_cannot_succeed_is_not_tried_again() -> None:
    limits, endpoint = await opened(1), for_ever(REFUSED)
    with pytest.raises(CallError):
        await limits.call(endpoint, asked="target")
    assert len(endpoint.started) == 1


def test_backoff_doubles_with_jitter_up_to_a_bound() -> None:
    for tries, longest in ((1, 0.5), (2, 1.0), (4, 4.0), (7, 30.0), (25, 30.0)):
        drawn = [OF_A_RUN.backoff(tries) for _ in range(200)]
        assert longest / 2 <= min(drawn) < 0.6 * longest
        assert 0.9 * longest < max(drawn) <= longest


# When to give up


@pytest.mark.parametrize(("failure", "attempts"), [(BAD_KEY, 1), (NOBODY, 3), (SILENCE, 3)])
async def test_an_endpoint_that_never_answered_is_given_up_at_once(
    failure: CallFailure, attempts: int
) -> None:
    limits, endpoint = fresh(20), for_ever(failure)
    ends = await calls(limits, endpoint, 20)
    assert len(endpoint.started) == attempts
    assert all(isinstance(end, RunStopped) for end in ends)
    assert (ends[0].code, str(ends[0])) == (failure.cause, failure.message)  # type: ignore[attr-defined]
    assert at_rest(limits)


@pytest.mark.parametrize(("failure", "attempts"), [(REFUSED, 3), (FAULT, 9)])
async def test_three_calls_that_fail_at_first_stop_the_run(failure: CallFailure, attempts: int) -> None:
    limits, endpoint = fresh(20), for_ever(failure)
    ends = await calls(limits, endpoint, 20)
    assert len(endpoint.started) == attempts
    assert [type(end) for end in ends[:3]] == [CallError, CallError, RunStopped]
    assert str(ends[2]) == f"3 calls in a row failed. The last: {failure.message}"


async def test_the_first_call_also_keeps_its_turn_through_a_pause() -> None:
    limits, first, others = fresh(4), Endpoint([wait(0.05), FAULT]), Endpoint()
    began = time.monotonic()
    call = asyncio.create_task(limits.call(first, asked="target"))
    await asyncio.sleep(0)
    ends = await asyncio.gather(call, calls(limits, others, 4))
    assert ends[0] == ("answer", 3)
    assert first.started[1] - began >= 0.049
    assert min(others.started) >= first.started[2]


async def test_one_refused_key_after_a_success_is_that_calls_failure_and_three_in_a_row_stop() -> None:
    limits = await opened(1)
    assert isinstance((await calls(limits, Endpoint([BAD_KEY]), 1))[0], CallError)
    assert (await calls(limits, Endpoint([BAD_KEY]), 2))[1] == ("answer", 1)
    ends = await calls(limits, for_ever(BAD_KEY), 5)
    assert [type(end) for end in ends] == [CallError, CallError, RunStopped, RunStopped, RunStopped]
    assert str(ends[2]) == BAD_KEY.message


async def test_many_failures_in_a_row_stop_the_run() -> None:
    limits = await opened(4)
    mixed: list[CallFailure | None] = [*[REFUSED] * 24, None, *[REFUSED] * 100]
    ends = await calls(limits, Endpoint(mixed), 60)
    assert [isinstance(end, RunStopped) for end in ends].index(True) == 24 + 1 + 24
    assert "25 calls in a row failed" in str(ends[49])


async def test_a_judge_that_never_answers_is_noticed_though_the_target_does() -> None:
    limits = await opened(8)
    bad = for_ever(REFUSED)
    ends: list[object] = []
    for _ in range(3):
        await limits.call(Endpoint(), asked="target")
        ends += await asyncio.gather(limits.call(bad, asked="judge"), return_exceptions=True)
    assert [type(end) for end in ends] == [CallError, CallError, RunStopped]
    assert "3 calls in a row failed" in str(ends[2])


# The patience of a program


async def test_a_program_that_is_patient_with_nobody_opens_at_once_and_gives_nobody_up() -> None:
    limits = fresh(8, replace(OF_A_PROGRAM, first_backoff=0.0005, longest_backoff=0.001))
    for failure in (BAD_KEY, NOBODY, REFUSED, FAULT, wait(3600)):
        ends = await calls(limits, for_ever(failure), 30)
        assert {type(end) for end in ends} == {CallError}
    endpoint = Endpoint(seconds=0.01)
    assert {end[0] for end in await calls(limits, endpoint, 30)} == {"answer"}  # type: ignore[index]
    assert endpoint.most_at_once == limits.limit >= 4
    assert at_rest(limits)


def test_a_program_waits_for_a_call_for_seconds_and_not_for_minutes() -> None:
    patience = OF_A_PROGRAM
    backoffs = sum(
        min(patience.longest_backoff, patience.first_backoff * 2**n) for n in range(patience.throttles)
    )
    assert backoffs <= 8
    assert patience.longest_wait <= 10


# Many endpoints


async def test_each_endpoint_has_limits_of_its_own() -> None:
    limits = Limits(4, QUICK)
    await limits.of("http://a").call(Endpoint([FAULT]), asked="target")
    assert limits.of("http://a") is limits.of("http://a")
    limits.of("http://b")
    assert (limits.now, limits.retries) == ({"http://a": 4, "http://b": 1}, 1)
    limits.close()
    for origin in ("http://a", "http://b"):
        with pytest.raises(RunStopped):
            await limits.of(origin).call(Endpoint(), asked="target")


# Letting go


async def test_closing_ends_waits_for_a_slot_for_a_retry_and_for_a_pause_at_once() -> None:
    limits = await opened(2, Patience(first_backoff=60.0, longest_backoff=60.0))
    slow = Endpoint(seconds=0.05)
    in_flight = asyncio.create_task(limits.call(slow, asked="target"))
    retrying = asyncio.create_task(limits.call(for_ever(FAULT), asked="target"))
    await asyncio.sleep(0.01)
    paused = asyncio.create_task(limits.call(Endpoint([wait(100)]), asked="target"))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(limits.call(Endpoint(), asked="target")) for _ in range(5)]
    await asyncio.sleep(0.01)
    began = time.monotonic()
    limits.close()
    ends = await asyncio.gather(in_flight, retrying, paused, *waiting, return_exceptions=True)
    assert time.monotonic() - began < 1
    assert ends[0] == ("answer", 1)
    assert [type(end) for end in ends[1:]] == [RunStopped] * 7
    assert at_rest(limits)


async def test_a_call_in_flight_that_fails_while_closing_is_left_for_the_next_run() -> None:
    limits = await opened(2)
    for failure, end in ((FAULT, RunStopped), (THROTTLE, RunStopped), (REFUSED, CallError)):
        limits = await opened(2)
        failing = asyncio.create_task(limits.call(Endpoint([failure], seconds=0.01), asked="target"))
        await asyncio.sleep(0)
        limits.close()
        assert type((await asyncio.gather(failing, return_exceptions=True))[0]) is end
        assert limits.retries == 0


async def test_an_error_that_is_no_call_failure_frees_its_slot() -> None:
    limits = await opened(1)

    async def broken() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await limits.call(broken, asked="target")
    assert await limits.call(Endpoint(), asked="target") == ("answer", 1)


# The law, whatever happens: see `Trial`

steps = st.sampled_from([None, None, None, FAULT, THROTTLE, wait(0.0), wait(0.002), wait(0.004), REFUSED])
moments = st.floats(0.0, 0.01)


@dataclass(frozen=True)
class Planned:
    """One call of a trial: when it is made, what its attempts meet, when it is cancelled if ever."""

    start: float
    seconds: float
    failures: tuple[CallFailure | None, ...]
    cancel: float | None


plans = st.builds(
    Planned,
    start=moments,
    seconds=st.floats(0.0, 0.003),
    failures=st.lists(steps, max_size=4).map(tuple),
    cancel=st.none() | st.none() | moments,
)


class Trial:
    """Makes the planned calls and watches every attempt.

    Never more at once than the ceiling or, when one is let in, than the limit; none begins in a pause or
    after the end; all end; nothing is left behind.
    """

    def __init__(self, ceiling: int) -> None:
        self.limits = fresh(ceiling)
        self.ceiling = ceiling
        self.at_once = 0

    async def attempt(self, failures: list[CallFailure | None], seconds: float) -> str:
        limits = self.limits
        assert limits._pause is None
        assert not limits._closing.is_set()
        self.at_once += 1
        assert self.at_once <= limits._in_flight <= self.ceiling
        try:
            await asyncio.sleep(seconds)
        finally:
            self.at_once -= 1
        failure = failures.pop(0) if failures else None
        if failure is not None:
            raise CallError(failure)
        return "answer"

    async def one(self, plan: Planned) -> object:
        await asyncio.sleep(plan.start)
        failures = list(plan.failures)
        call = asyncio.create_task(
            self.limits.call(lambda: self.attempt(failures, plan.seconds), asked="target")
        )
        if plan.cancel is not None:
            await asyncio.sleep(plan.cancel)
            call.cancel()
        (end,) = await asyncio.gather(call, return_exceptions=True)
        return end

    async def all(self, planned: list[Planned], close: float | None) -> list[object]:
        ends = asyncio.gather(*map(self.one, planned))
        if close is not None:
            await asyncio.sleep(close)
            self.limits.close()
        async with asyncio.timeout(10):
            return list(await ends)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.lists(plans, min_size=1, max_size=12), st.none() | st.floats(0.0, 0.02))
def test_whatever_happens_the_limit_holds_and_nobody_is_forgotten(
    ceiling: int, planned: list[Planned], close: float | None
) -> None:
    trial = Trial(ceiling)
    ends = asyncio.run(trial.all(planned, close))
    for end in ends:
        assert end.__class__ in {tuple, CallError, RunStopped, asyncio.CancelledError}, repr(end)
    assert at_rest(trial.limits)
    assert trial.at_once == 0
