"""How soon the limit is back after a storm of 429, on a clock of the test's own."""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from safemt.core.errors import CallError, CallFailure
from safemt.endpoints.limits import EndpointLimits

THROTTLE = CallFailure("http_429", "slow down", retryable=True, throttled=True)


class QuickLoop(asyncio.SelectorEventLoop):
    """Its time does not pass: it leaps to the next thing that is due."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        mine: Any = self  # typeshed says nothing of the loop's insides
        if not mine._ready and mine._scheduled:
            self._now = max(self._now, mine._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


@dataclass(slots=True)
class Endpoint:
    """Takes so many seconds for a call, and turns all away between two points in time."""

    seconds: float
    storm: tuple[float, float]
    at_once: int = 0
    served: list[float] = field(default_factory=list)
    turned_away: int = 0

    async def __call__(self) -> None:
        now = asyncio.get_running_loop().time
        self.at_once += 1
        try:
            if self.storm[0] <= now() < self.storm[1]:
                await asyncio.sleep(0.005)
                self.turned_away += 1
                raise CallError(THROTTLE)
            await asyncio.sleep(self.seconds)
            self.served.append(now())
        finally:
            self.at_once -= 1


async def share_in_flight(
    endpoint: Endpoint, workers: int, *, between: tuple[float, float], limits: EndpointLimits
) -> float:
    """The mean share of the workers whose calls are in flight between two points in time."""

    async def work() -> None:
        while True:
            await limits.call(endpoint, asked="target")

    loop = asyncio.get_running_loop()
    seen: list[int] = []
    for tenth in range(int(10 * (between[1] - between[0]))):
        loop.call_at(between[0] + tenth / 10, lambda: seen.append(endpoint.at_once))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(between[1]):
            await asyncio.gather(*(work() for _ in range(workers)))
    return sum(seen) / len(seen) / workers


def in_no_time(work: Coroutine[Any, Any, float]) -> float:
    with asyncio.Runner(loop_factory=QuickLoop) as runner:
        return runner.run(work)


@pytest.mark.parametrize("seconds", [0.2, 2.0, 5.0, 10.0])
@pytest.mark.parametrize(("storm", "workers"), [(5.0, 20), (60.0, 20), (60.0, 200)])
def test_twenty_seconds_after_a_storm_four_fifths_of_the_calls_are_back(
    seconds: float, storm: float, workers: int
) -> None:
    random.seed(4)
    ends = 30.0 + storm
    endpoint, limits = Endpoint(seconds, storm=(30.0, ends)), EndpointLimits("http://x", workers)
    share = in_no_time(share_in_flight(endpoint, workers, between=(ends + 20, ends + 25), limits=limits))
    assert endpoint.turned_away > 20
    assert limits.limit == workers
    assert share >= 0.8


def test_during_a_storm_hardly_anything_is_sent() -> None:
    endpoint, limits = Endpoint(0.2, storm=(30.0, 400.0)), EndpointLimits("http://x", 200)
    share = in_no_time(share_in_flight(endpoint, 200, between=(200.0, 300.0), limits=limits))
    assert limits.limit == 1
    assert share <= 1 / 200
