"""Processes to measure: what a command took, and the server that it talks to."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Usage:
    """What a finished process took."""

    started: float
    """`time.monotonic()`."""
    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    rss: float
    """Peak resident memory, MB (2^20 bytes)."""


def measure(command: Sequence[object], *, env: Mapping[str, str] | None = None, most_seconds: float) -> Usage:
    """Run a command to its end in the repository's root.

    Ends the whole measurement, with the last of what the command said, if the command fails.
    """
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **(env or {})},
        )  # fmt: skip
        killer = threading.Timer(most_seconds, process.kill)
        killer.start()
        _, status, taken = os.wait4(process.pid, 0)
        ended = time.monotonic()
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            tail = said.read()[-3000:].decode("utf-8", "replace")
            sys.exit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{tail}")
    kilobytes = taken.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Usage(started, ended - started, taken.ru_utime + taken.ru_stime, kilobytes / 1024)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw of one command; its own module says what each figure is."""

    calls: int
    in_flight: int
    max_in_flight: int
    first: float
    last: float
    cpu: float

    @property
    def seconds(self) -> float:
        """From the first request to the last reply."""
        return self.last - self.first


class FixedLatencyServer:
    """The running server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.root = f"http://127.0.0.1:{port}"

    def reset(self) -> None:
        """Forget what was seen."""
        self._ask("POST", "/_reset")

    def seen(self) -> Seen:
        """What was seen since the last reset."""
        return Seen(**self._ask("GET", "/_stats"))

    def _ask(self, method: str, path: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path)
            return json.load(connection.getresponse())
        finally:
            connection.close()


@contextmanager
def fixed_latency_server() -> Iterator[FixedLatencyServer]:
    """A server for as long as the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perf.fixed_latency_server", "--max-seconds", "3600"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield FixedLatencyServer(json.loads((process.stdout or sys.stdin).readline())["port"])
    finally:
        process.kill()
        process.communicate()
