"""Progress on the terminal: one live line on a terminal, plain lines now and then elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from safemt.endpoints.spend import dollars
from safemt.run.running import Running, Tracker

_LIVE_SECONDS: Final = 0.25
PLAIN_SECONDS: Final = 5.0


class LiveLine:
    """A line that changes in place on a terminal, and is printed from time to time elsewhere."""

    def __init__(self, console: Console, *, every: float = PLAIN_SECONDS) -> None:
        """`every` is the seconds between two printed lines."""
        self._console = console
        live = Live(console=console, auto_refresh=False, transient=True)
        self._live = live if console.is_terminal else None
        self.every = _LIVE_SECONDS if self._live else every
        self._shown = 0.0 if self._live else time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, line: str) -> None:
        """Show what is true now, unless something was shown a moment ago."""
        if time.monotonic() - self._shown < self.every:
            return
        if self._live:
            self._live.update(Text(line, overflow="fold"), refresh=True)
            self._shown = time.monotonic()
        else:
            self.keep(line)

    def keep(self, line: str) -> None:
        """Print a line that stays."""
        self._shown = time.monotonic()
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class Progress:
    """Work in stages, each with a count. What a stage took stays on the screen."""

    def __init__(self, console: Console) -> None:
        self._line = LiveLine(console)
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        self._line.__exit__(*error)

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps; None if that is not known."""
        self._end()
        self._name, self._total, self._done, self._started = name, total, 0, time.monotonic()
        self._line.show(name)

    def advance(self, note: str = "") -> None:
        """Count a step of the stage."""
        self._done += 1
        elapsed = time.monotonic() - self._started
        parts = [self._name if self._total is None else f"{self._name} {self._done:,}/{self._total:,}"]
        if self._total and elapsed > 1:
            parts.append(f"{(self._total - self._done) * elapsed / self._done:.0f} s left")
        self._line.show(" · ".join([*parts, note] if note else parts))

    def _end(self) -> None:
        if self._name:
            count = f" {self._done:,}" if self._total else ""
            self._line.keep(f"{self._name}{count}: {time.monotonic() - self._started:.1f} s")
        self._name = ""


@asynccontextmanager
async def show_progress(
    engine: Running, console: Console, *, simulated: bool, every: float = PLAIN_SECONDS
) -> AsyncIterator[None]:
    """Show how far `engine` is while the block runs. The last line stays, so that a log has it."""
    line = LiveLine(console, every=every)
    try:
        with line:
            async with beside(_keep_showing(engine, line, simulated=simulated)):
                yield
    finally:
        if engine.tracker.done > engine.tracker.already_done:
            with suppress(OSError):
                line.keep(progress_line(engine, simulated=simulated))


@asynccontextmanager
async def beside(display: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let `display` go on during the block. If it fails (nobody reads it any more), the run does not."""
    task = asyncio.create_task(display)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_showing(engine: Running, line: LiveLine, *, simulated: bool) -> None:
    while True:
        line.show(progress_line(engine, simulated=simulated))
        await asyncio.sleep(line.every)


def progress_line(engine: Running, *, simulated: bool) -> str:
    """`120/600 samples · 14.2/s · 0:00:34 left · ASR 1t 12 % 2t 20 % · 1,200 tokens in, 340 out · …`."""
    tracker = engine.tracker
    parts = [f"{tracker.done:,}/{tracker.total:,} samples", *_speed(tracker)]
    rounds = " ".join(
        f"{turns}t {100 * tracker.unsafe[turns] / graded:.0f} %"
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
