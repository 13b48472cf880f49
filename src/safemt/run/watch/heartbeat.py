"""What a running process alone knows, told to those who watch: `progress.json` in the run directory.

It is a file beside the store rather than a table in it: a second's news is not worth a transaction, and the
store stays free of what is stale a moment later. It is replaced as a whole at most once a second and removed
when the run ends; one that stays behind is from a process that was killed.
"""

import asyncio
import json
import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from safemt.core.errors import FileError
from safemt.io.files import PUBLIC, write_file
from safemt.run.running import Running

HEARTBEAT_FILE: Final = "progress.json"
_SECONDS: Final = 1.0
_RATE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The news of one moment."""

    written: str
    """UTC, ISO."""
    pid: int
    host: str
    rate: float | None
    """Samples per second over the last half minute; None at the very beginning."""
    limits: Mapping[str, int]
    """Calls that each endpoint gets at once now."""
    retries: int
    """Attempts made again, by this process."""
    stopping: bool
    """Whether it only finishes what is in flight."""

    @property
    def age(self) -> float:
        """Seconds since it was written, by this machine's clock."""
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.written)).total_seconds())


async def keep_heartbeat(engine: Running, folder: Path) -> None:
    """Tell the news of `engine` until cancelled. What cannot be written is left: it is for watchers only."""
    path = folder / HEARTBEAT_FILE
    done: deque[tuple[float, int]] = deque(maxlen=_RATE_SECONDS + 1)
    try:
        while True:
            done.append((time.monotonic(), engine.tracker.done))
            (before, then), (now, finished) = done[0], done[-1]
            heartbeat = Heartbeat(
                written=datetime.now(UTC).isoformat(timespec="milliseconds"),
                pid=os.getpid(),
                host=socket.gethostname(),
                rate=(finished - then) / (now - before) if now > before else None,
                limits=engine.limits,
                retries=engine.retries,
                stopping=engine.stopping,
            )
            with suppress(FileError):
                write_file(path, json.dumps(asdict(heartbeat)).encode(), mode=PUBLIC, durable=False)
            await asyncio.sleep(_SECONDS)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """The newest heartbeat in a run directory; None if there is none that can be read."""
    try:
        content = json.loads((folder / HEARTBEAT_FILE).read_text(encoding="utf-8"))
        heartbeat = Heartbeat(**content)
        datetime.fromisoformat(heartbeat.written)
    except (OSError, ValueError, TypeError):
        return None
    return heartbeat
