"""Where the moderator works: threads in two lanes, and a loop of its own for moderators that make calls.

Short work must not wait behind long work. What is estimated to take many windows (a very long message, a long
conversation that was never seen, a new picture) goes to the slow lane, which has at most half of the threads.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from safemt.core.schema import Message

SHORT: Final = 8
"""Windows of the encoder up to which work is short; each takes some milliseconds."""
_WINDOW: Final = 400
"""Characters that a window covers, roughly."""
_PICTURE: Final = 50
"""Windows that take as long as reading one picture."""

T = TypeVar("T")


class Overloaded(Exception):
    """Too much work waits already."""


class Lanes:
    """The threads of a gateway. Its methods are called on the event loop."""

    def __init__(
        self, threads: int | None, max_waiting: int, observe: Callable[[float], None] = lambda _: None
    ) -> None:
        """`observe` is given the seconds that each piece of work waited; it is called in a thread."""
        threads = max(2, threads or os.cpu_count() or 2)
        self._slow = ThreadPoolExecutor(threads // 2, "safemt-slow")
        self._fast = ThreadPoolExecutor(threads - threads // 2, "safemt-fast")
        self._max_waiting = max_waiting
        self._observe = observe
        self._calls: asyncio.AbstractEventLoop | None = None
        self.waiting = 0
        """Pieces of work that wait or run."""

    def run(self, work: Callable[[], T], windows: int) -> "asyncio.Future[T]":
        """Do `work` in a thread.

        Raises:
            Overloaded: too much work waits already.
        """
        lane = self._fast if windows <= SHORT else self._slow
        asked = time.perf_counter()

        def timed() -> T:
            self._observe(time.perf_counter() - asked)
            return work()

        self._require_room()
        return self._counted(asyncio.get_running_loop().run_in_executor(lane, timed))

    def call(self, work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        """Run a coroutine that makes calls on the loop for such work.

        Raises:
            Overloaded: too much work waits already.
        """
        try:
            self._require_room()
        except Overloaded:
            work.close()
            raise
        if self._calls is None:
            self._calls = asyncio.new_event_loop()
            threading.Thread(target=self._calls.run_forever, name="safemt-calls", daemon=True).start()
        return self._counted(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._calls)))

    def close(self) -> None:
        """Let go of the threads. Work that waits is dropped."""
        for lane in (self._fast, self._slow):
            lane.shutdown(wait=False, cancel_futures=True)
        if self._calls is not None:
            self._calls.call_soon_threadsafe(self._calls.stop)

    def _require_room(self) -> None:
        if self.waiting >= self._max_waiting:
            raise Overloaded
        self.waiting += 1

    def _counted(self, future: "asyncio.Future[T]") -> "asyncio.Future[T]":
        future.add_done_callback(self._done)
        return future

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self.waiting -= 1
        if not future.cancelled():
            future.exception()  # whoever waited for it may have left


def windows_of(messages: Sequence[Message]) -> int:
    """The windows that reading these messages takes, roughly."""
    user = [message for message in messages if message.role == "user"]
    return sum(2 + len(each.content) // _WINDOW + _PICTURE * len(each.images) for each in user)
