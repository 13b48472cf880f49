"""The audit log: one JSON line for each request, written by a thread of its own.

Several gateways may write to one file: lines go in whole, under a lock. While the disk is full, lines wait in
a bounded queue; beyond it they are counted as lost.
"""

import fcntl
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from safemt.core.errors import FileError
from safemt.core.schema import Message
from safemt.core.verdict import Verdict
from safemt.serve.config import AuditConfig

AUDIT_SCHEMA: Final = "safemt.audit/1"
_BATCH: Final = 256
_RETRY: Final = 1.0
"""Seconds until lines that could not be written are tried again."""


class AuditLog:
    """An open audit log. `write` never waits."""

    def __init__(self, config: AuditConfig, lost: Callable[[], None] = lambda: None) -> None:
        """`lost` is called for each line that could not be kept.

        Raises:
            FileError: the file cannot be opened.
        """
        self.config = config
        self.failing = False
        """Whether the last attempt to write failed."""
        self._lost = lost
        self._lines: queue.Queue[Mapping[str, Any] | None] = queue.Queue(config.queue)
        self._file = self._open()
        self._reopen = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="safemt-audit", daemon=True)
        self._thread.start()

    def write(self, record: Mapping[str, Any]) -> None:
        """Put a line into the queue."""
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._lost()

    @property
    def refuses(self) -> bool:
        """Whether requests must be refused, because the log is required and cannot be kept."""
        return self.config.required and (self.failing or self._lines.full())

    def reopen(self) -> None:
        """Open the file again at the next line: a log rotation has moved it."""
        self._reopen.set()

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for a limited time."""
        self._ended.set()
        with suppress(queue.Full):  # the thread looks at `_ended` after each batch
            self._lines.put_nowait(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        ended = False
        while not ended:
            batch = [self._lines.get()]
            while len(batch) < _BATCH and not self._lines.empty():
                batch.append(self._lines.get_nowait())
            ended = None in batch or (self._ended.is_set() and self._lines.empty())
            data = b"".join(orjson.dumps(each, default=str) + b"\n" for each in batch if each is not None)
            while data and not self._append(data):
                if self._ended.wait(_RETRY):
                    for _ in range(data.count(b"\n")):
                        self._lost()
                    break
        os.close(self._file)

    def _append(self, data: bytes) -> bool:
        """Whether all of `data` was written; otherwise none of it."""
        try:
            if self._reopen.is_set():
                self._reopen.clear()
                again = self._open()
                os.close(self._file)
                self._file = again
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                size = os.fstat(self._file).st_size
                if os.write(self._file, data) != len(data):
                    os.ftruncate(self._file, size)
                    raise OSError("the disk is full")
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except (OSError, FileError):
            self.failing = True
            return False
        self.failing = False
        return True

    def _open(self) -> int:
        path = self.config.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FileError(
                "cannot_write",
                f"The audit log {path} cannot be written: {error.strerror}. Correct `audit.path`.",
                path=path,
            ) from error


def verdict_entry(verdict: Verdict) -> dict[str, Any]:
    """What the log keeps of a verdict: all but its numbers for earlier turns and for scenarios."""
    coverage = verdict.coverage
    return {
        "moderator": verdict.moderator,
        "risk": None if verdict.risk is None else round(verdict.risk, 6),
        "threshold": round(verdict.threshold, 6),
        "flagged": verdict.flagged,
        "action": verdict.action.value,
        "scenario": verdict.scenario.value if verdict.scenario else None,
        "turns": len(verdict.turns),
        "first_alert_turn": verdict.first_alert_turn,
        "policies": [policy.sha256 for policy in verdict.policies],
        "coverage": [
            coverage.turns_scored, coverage.turns_total, coverage.images_scored, coverage.images_total
        ],
        "unscanned": sorted({each.why for each in coverage.unscanned}),
        "degraded": verdict.degraded.cause if verdict.degraded else None,
    }  # fmt: skip


def text_entry(mode: str, secret: bytes, messages: Sequence[Message], *, flagged: bool) -> dict[str, Any]:
    """What the log keeps of the user's words in one of the modes of `AuditConfig.text`."""
    if mode == "none" or (mode == "flagged" and not flagged):
        return {}
    texts = [message.content for message in messages if message.role == "user"]
    if mode == "hash":
        keyed = hashlib.blake2b("\n".join(texts).encode("utf-8", "replace"), key=secret, digest_size=16)
        return {"text_hash": keyed.hexdigest()}
    return {"texts": texts}


def read_audit(path: Path) -> list[dict[str, Any]]:
    """The lines of an audit log. A line that was cut short is left out.

    Raises:
        FileError: the file cannot be read.
    """
    found: list[dict[str, Any]] = []
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(record, dict) and record.get("schema") == AUDIT_SCHEMA:
                    found.append(record)
    except OSError as error:
        raise FileError("unreadable_file", f"{path} cannot be read: {error.strerror}.", path=path) from error
    return found
