"""Starts and stops the chat test server from a test."""

import json
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

SERVER: Final = Path(__file__).with_name("chat_server.py")


class ChatServer:
    """A running chat server: where it is, what it has seen. Use as a context manager, or call `close`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.root = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.root}/v1"

    def mode_url(self, mode: str) -> str:
        """The base URL under which the rules with this `mode` hold."""
        return f"{self.root}/{mode}/v1"

    def log(self) -> list[dict[str, Any]]:
        """Every request since the start or the last reset, in order of arrival.

        Keys: `n` (the chat request's number, None for others), `mode`, `method`, `path`, `headers` (names in
        lower case), `body` (text, or None without bodies), `sha256`, `status` (None where none was sent),
        `arrived` and `ended` (`time.monotonic()` seconds), `rule` (index, None for none), `do` (the action),
        `retry_after` (the header as sent, None for none).
        """
        entries: list[dict[str, Any]] = self._ask("GET", "/_log")
        return entries

    def stats(self) -> dict[str, Any]:
        """Counts over the chat requests since the start or the last reset.

        Keys: `total`, `other` (requests that were not chats), `by_status`, `by_rule`, `by_action` (of those
        ended; keys are strings, "none" for no status or rule), `in_flight`, `max_in_flight`,
        `distinct_bodies`, and `repeated_after_success` (asked again in the same mode after a proper reply was
        sent whole; a reply that was sent to a client killed before it could store it counts too).
        """
        counts: dict[str, Any] = self._ask("GET", "/_stats")
        return counts

    def reset(self) -> None:
        """Forget every request, count and attempt; the first chat request after it is number 1."""
        self._ask("POST", "/_reset")

    def close(self) -> None:
        """Kill the server, at once and whatever it is doing."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str) -> Any:
        # Not urlopen: a proxy set in the environment must not stand between a test and its own server.
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            return json.load(connection.getresponse())
        finally:
            connection.close()


def start_chat_server(
    scenario: Mapping[str, Any], *, log_bodies: bool = True, max_seconds: float = 300.0
) -> ChatServer:
    """Start a server with this scenario (its format: `chat_server.py`) and wait until it answers.

    `log_bodies=False` keeps only the bodies' hashes, for speed. Raises `RuntimeError` if the server does not
    start; its reason is on stderr.
    """
    process = subprocess.Popen(
        [
            sys.executable,
            str(SERVER),
            f"--scenario-json={json.dumps(scenario)}",
            f"--log-bodies={'on' if log_bodies else 'off'}",
            f"--max-seconds={max_seconds}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A Ctrl-C is meant for the test run, whose end closes stdin; here it would only print a traceback.
        start_new_session=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    if not ready:
        process.communicate()
        raise RuntimeError(
            f"The chat test server ended at its start (exit code {process.returncode}); see stderr."
        )
    return ChatServer(process, json.loads(ready)["port"])
