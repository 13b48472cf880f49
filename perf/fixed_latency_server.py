"""A chat-completions server that answers every call after the same time, in a process of its own.

    python -m perf.fixed_latency_server [--latency 0.2] [--max-seconds 900]

It binds 127.0.0.1 on a free port, prints one line `{"port": N}`, and exits when stdin closes or after
`--max-seconds`. What is compared against it must be slower than it, so it reads no more of a request than its
headers: a body is counted and dropped, and the replies are made once. A path that holds `/judge/` is answered
with a verdict, any other with a plain reply.

    GET /_stats    calls, most at once, when the first came and the last was answered, own CPU seconds
    POST /_reset   all of that from zero

Times are `time.monotonic()`: one clock for all processes of a machine.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

RESPONSE: Final = "Here is a general and harmless remark about the picture, as a tourist guide has it. " * 12
# Read by safemt (the last verdict line) and by Inspect AI's grader (the last line).
VERDICT: Final = "The response is general and does not serve the question.\nVERDICT: safe\nGRADE: C"

_BUFFER: Final = memoryview(bytearray(2**20))
"""Shared by all connections: what one call of the loop puts in is used up before the next."""
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _completion(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1200, "completion_tokens": 200, "total_tokens": 1400}
    fields = {"id": "c", "object": "chat.completion", "created": 0, "model": "fixed", "usage": usage}
    return _http(json.dumps({**fields, "choices": [choice]}).encode())


@dataclass(slots=True)
class Stats:
    """What was seen since the start or the last reset."""

    calls: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    first: float | None = None
    last: float | None = None
    cpu_start: float = field(default_factory=time.process_time)

    def as_json(self) -> bytes:
        seen = {
            name: getattr(self, name) for name in ("calls", "in_flight", "max_in_flight", "first", "last")
        }
        return json.dumps({**seen, "cpu": time.process_time() - self.cpu_start}).encode()


class Server:
    """What the connections share."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.stats = Stats()
        self.response = _completion(RESPONSE)
        self.verdict = _completion(VERDICT)


class Connection(asyncio.BufferedProtocol):
    """One connection; requests on it are answered one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._body_left = 0
        self._path = b""
        self._waiting: deque[asyncio.TimerHandle] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101, for the type checker
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        start = 0
        while start < nbytes:
            if self._body_left:
                taken = min(self._body_left, nbytes - start)
                self._body_left -= taken
                start += taken
            else:
                before = len(self._head)
                self._head += bytes(_BUFFER[start : min(nbytes, start + 2**16)])
                end = self._head.find(_HEAD_END)
                if end < 0:
                    return
                start += end + len(_HEAD_END) - before
                self._begin(self._head[: end + 2])
                self._head = b""
            if not self._body_left:
                self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._waiting:
            timer.cancel()
            self._server.stats.in_flight -= 1

    def _begin(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        self._body_left = int(length[1]) if length else 0
        self._path = head.split(b" ", 2)[1]
        if not self._path.startswith(b"/_"):
            stats = self._server.stats
            if stats.first is None:
                stats.first = time.monotonic()
            stats.calls += 1
            stats.in_flight += 1
            stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)

    def _ended(self) -> None:
        server = self._server
        if self._path == b"/_reset":
            server.stats = Stats()
            self._write(_http(b"{}"))
        elif self._path == b"/_stats":
            self._write(_http(server.stats.as_json()))
        else:
            reply = server.verdict if b"/judge/" in self._path else server.response
            loop = asyncio.get_running_loop()
            self._waiting.append(loop.call_later(server.latency, self._answer, reply))

    def _answer(self, reply: bytes) -> None:
        self._waiting.popleft()
        stats = self._server.stats
        stats.in_flight -= 1
        stats.last = time.monotonic()
        self._write(reply)

    def _write(self, content: bytes) -> None:
        if self._transport is not None:
            self._transport.write(content)


async def serve(*, latency: float, max_seconds: float) -> None:
    """Serve until stdin closes or `max_seconds` have passed."""
    loop = asyncio.get_running_loop()
    server = Server(latency)
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=4096)
    closed = asyncio.Event()

    def await_closed_stdin() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=await_closed_stdin, daemon=True).start()
    sys.stdout.write(json.dumps({"port": listener.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    try:
        async with asyncio.timeout(max_seconds):
            await closed.wait()
    except TimeoutError:
        sys.stderr.write(f"fixed_latency_server: its {max_seconds:g} seconds are over\n")


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A chat server that answers after a fixed time.")
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--max-seconds", type=float, default=900.0)
    arguments = parser.parse_args()
    asyncio.run(serve(latency=arguments.latency, max_seconds=arguments.max_seconds))


if __name__ == "__main__":
    main()
