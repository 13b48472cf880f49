"""Progress on the terminal: one live line where there is one, plain lines where there is not.

Either way the last line stays, so that a log says how far a run came.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.live import Live
from rich.text import Text

from safemt.endpoints.spend import dollars
from safemt.run.running import Running, Tracker

_LIVE_SECONDS = 0.25
_PLAIN_SECONDS = 5.0


@asynccontextmanager
async def show_progress(engine: Running, console: Console, *, simulated: bool) -> AsyncIterator[None]:
    """Keep `console` told about `engine` while the block runs."""
    try:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False, transient=True) as live:
                async with beside(_paint(engine, live, simulated)):
                    yield
        else:
            async with beside(_write(engine, console, simulated)):
                yield
    finally:
        if engine.tracker.done > engine.tracker.already_done:
            with suppress(OSError):
                _print(engine, console, simulated)


@asynccontextmanager
async def beside(display: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let `display` go on during the block. If it fails (nobody reads it any more), the run does not."""
    task = asyncio.create_task(display)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _paint(engine: Running, live: Live, simulated: bool) -> None:
    while True:
        live.update(Text(progress_line(engine, simulated=simulated), overflow="fold"), refresh=True)
        await asyncio.sleep(_LIVE_SECONDS)


async def _write(engine: Running, console: Console, simulated: bool) -> None:
    while True:
        await asyncio.sleep(_PLAIN_SECONDS)
        _print(engine, console, simulated)


def _print(engine: Running, console: Console, simulated: bool) -> None:
    line = progress_line(engine, simulated=simulated)
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def progress_line(engine: Running, *, simulated: bool) -> str:
    """`120/600 samples · 14.2/s · 0:00:34 left · ASR 1t 12 % 2t 20 % · 1,200 tokens in, 340 out · …`."""
    tracker = engine.tracker
    parts = [f"{tracker.done:,}/{tracker.total:,} samples", *_speed(tracker)]
    rounds = " ".join(
        f"{turns}t {100 * tracker.unsafe.get(turns, 0) / graded:.0f} %"
        for turns, graded in sorted(tracker.graded.items())
    )
    if rounds:
        parts.append(f"ASR {rounds}{' (simulated)' if simulated else ''}")
    if tracker.ungraded:
        parts.append(f"{tracker.ungraded:,} ungraded")
    if acted := [f"{count:,} {action}" for action, count in tracker.moderated.items()]:
        parts.append(f"moderator: {', '.join(sorted(acted))}")
    if engine.spend.tokens:
        spent = engine.spend.total
        parts.append(f"{spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out")
    if cost := engine.spend.cost:
        parts.append(dollars(cost))
    if engine.retries:
        parts.append(f"{engine.retries:,} retries, limit {min(engine.limits.values(), default=0)}")
    if tracker.last_problem:
        parts.append(f"last problem: {tracker.last_problem[:160]}")
    return " · ".join(parts)


def _speed(tracker: Tracker) -> list[str]:
    new = tracker.done - tracker.already_done
    elapsed = time.monotonic() - tracker.started
    if new == 0 or elapsed <= 0:
        return []
    rate = new / elapsed
    left = round((tracker.total - tracker.done) / rate)
    return [f"{rate:.1f}/s", f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02} left"]
