"""What a build shows while it works: one live line on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

_PLAIN_SECONDS: Final = 5.0


class Progress:
    """The stage that a build is in, and how far. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_stage()
        if self._live:
            self._live.stop()

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps; None where nobody knows."""
        self._close_stage()
        self._name, self._total, self._done = name, total, 0
        self._started = self._told = time.monotonic()
        if self._live:
            self._live.update(Text(self._line()))

    def advance(self, note: str = "") -> None:
        """One step more."""
        self._done += 1
        if self._live:
            self._live.update(Text(self._line(note)))
        elif time.monotonic() - self._told >= _PLAIN_SECONDS:
            self._told = time.monotonic()
            self._print(self._line(note))

    def _line(self, note: str = "") -> str:
        elapsed = time.monotonic() - self._started
        parts = [self._name if self._total is None else f"{self._name} {self._done:,}/{self._total:,}"]
        if self._total and self._done and elapsed > 1:
            parts.append(f"{(self._total - self._done) * elapsed / self._done:.0f} s left")
        return " · ".join([*parts, note] if note else parts)

    def _close_stage(self) -> None:
        if self._name:
            seconds = time.monotonic() - self._started
            count = f" {self._done:,}" if self._total else ""
            self._print(f"{self._name}{count}: {seconds:.1f} s")
        self._name = ""

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
