"""Text in pictures, read by RapidOCR in a process of its own, each picture once.

Only text is read. Nothing here judges what else a picture shows, and the scan of a message tells.
"""

import importlib.metadata
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from safemt.core.identity import Json
from safemt.core.schema import ImageRef
from safemt.io.images import MAX_BYTES

LIMIT_SECONDS: Final = 10.0
"""Of wall-clock time for one picture, after which the process is killed. Normally it gives up far earlier, by
processor time (`ocr_worker`)."""
START_SECONDS: Final = 60.0
"""Within which the process must start; it takes about two."""
RETRY_SECONDS: Final = 60.0
"""After a failed start; until then pictures are not read, and none waits."""
_SIGNALS: Final = signal.Signals.__members__
_STOPPED: Final = {-_SIGNALS[name] for name in ("SIGPROF", "SIGKILL") if name in _SIGNALS}
KEPT_TEXTS: Final = 4096
"""Pictures whose text is kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureText:
    """What was read in a picture."""

    text: str
    why: str | None = None
    """Why there may be more text: `ocr_budget`, `image_unreadable`, `image_too_large`,
    `image_too_many_pixels`, `too_many_frames` or `ocr_failed`; None if the whole picture was read."""


def can_read_pictures() -> bool:
    """Whether the extra `ocr` is installed."""
    return find_spec("rapidocr") is not None


class PictureReader:
    """Reads pictures one at a time and remembers their text. The process starts with the first picture."""

    def __init__(self) -> None:
        self.limit_seconds = LIMIT_SECONDS
        self.retry_seconds = RETRY_SECONDS
        self._known: OrderedDict[str, PictureText] = OrderedDict()
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._stop: weakref.finalize[[subprocess.Popen[bytes]], PictureReader] | None = None
        self._failed_at = -math.inf

    @property
    def identity(self) -> Json:
        """Everything but time that decides what is read."""
        from safemt.moderation.reading.ocr_worker import BUDGET_SECONDS, MOST_FRAMES, PARAMS

        return {
            "rapidocr": importlib.metadata.version("rapidocr"),
            "budget": BUDGET_SECONDS,
            "frames": MOST_FRAMES,
            "params": {name: str(value) for name, value in PARAMS.items()},
        }

    def knows(self, picture: ImageRef) -> bool:
        """Whether reading the picture costs nothing."""
        return picture.sha256 in self._known

    def read(self, picture: ImageRef) -> PictureText:
        """The text of a picture. No picture makes this fail, or take longer than the limit.

        Raises:
            BenchmarkError: the picture's file is gone or has changed.
        """
        with self._lock:
            known = self._known.get(picture.sha256)
            if known is not None:
                self._known.move_to_end(picture.sha256)
                return known
            content = picture.read()
            if len(content) > MAX_BYTES:
                return PictureText(text="", why="image_too_large")
            found = self._ask(content)
            if found.why != "ocr_failed":
                self._known[picture.sha256] = found
                if len(self._known) > KEPT_TEXTS:
                    self._known.popitem(last=False)
            return found

    def close(self) -> None:
        """End the process; the next picture starts another. It also ends together with the reader."""
        with self._lock:
            self._end()

    def _ask(self, content: bytes) -> PictureText:
        worker = self._started()
        if worker is None:
            return PictureText(text="", why="ocr_failed")
        line = _exchange(worker, len(content).to_bytes(8, "big") + content, self.limit_seconds)
        if line:
            reply = json.loads(line)
            return PictureText(text=reply["text"], why=reply["why"])
        # Either a limit stopped it, or it crashed on this picture.
        stopped = worker.wait() in _STOPPED
        self._end()
        return PictureText(text="", why="ocr_budget" if stopped else "image_unreadable")

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self._worker is not None and self._worker.poll() is None:
            return self._worker
        self._end()
        if time.monotonic() < self._failed_at + self.retry_seconds:
            return None
        home = str(Path(__file__).parents[3])
        paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "safemt.moderation.reading.ocr_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
        )
        self._worker, self._stop = worker, weakref.finalize(self, _stop, worker)
        if _exchange(worker, b"", START_SECONDS) != b"ready\n":
            self._failed_at = time.monotonic()
            self._end()
        return self._worker

    def _end(self) -> None:
        if self._stop is not None:
            self._stop()
        self._worker = self._stop = None


def _exchange(worker: subprocess.Popen[bytes], request: bytes, seconds: float) -> bytes:
    """The worker's next line after `request`; empty if it died, or was killed for taking too long."""
    if worker.stdin is None or worker.stdout is None:
        return b""
    timer = threading.Timer(seconds, worker.kill)
    timer.daemon = True
    timer.start()
    try:
        worker.stdin.write(request)
        worker.stdin.flush()
        return worker.stdout.readline()
    except OSError:
        return b""
    finally:
        timer.cancel()


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # buffered bytes have no reader any more
                continue
