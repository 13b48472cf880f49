"""Waiting for a coroutine from code that is not async."""

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def wait_for(work: Coroutine[Any, Any, T], *, calls: bool) -> T:
    """The result of `work`. Without `calls` it never waits for anything, and needs no event loop.

    What makes calls runs in a thread of its own, which keeps connections open from one call to the next and
    also works where this thread has a running loop.
    """
    if calls:
        return asyncio.run_coroutine_threadsafe(work, _loop()).result()
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("a detector without endpoints waited for something")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="safemt-moderator", daemon=True).start()
    return loop
