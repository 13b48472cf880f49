"""What the tests of targets share: a way to ask once, and a server that sends exactly the bytes it is told.

The chat server of `servers` answers as providers do; `wire_server` is for shapes that it has no action for.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import pytest

from safemt.core.errors import CallError, CallFailure
from safemt.core.schema import Message
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.chat import ChatEndpoint

HELLO = (Message(role="user", content="hello"),)


def open_endpoint(base_url: str | None, **options: Any) -> ChatEndpoint:
    return ChatEndpoint(
        **{"model": "sim-model", "base_url": base_url, "sampling": Sampling(), "timeout": 10.0, **options}
    )


async def ask(base_url: str, messages: Sequence[Message] = HELLO, **options: Any) -> Reply:
    endpoint = open_endpoint(base_url, **options)
    try:
        return await endpoint.complete(messages)
    finally:
        await endpoint.close()


async def fail(base_url: str, messages: Sequence[Message] = HELLO, **options: Any) -> CallFailure:
    """The failure of a call that is expected to fail."""
    with pytest.raises(CallError) as caught:
        await ask(base_url, messages, **options)
    assert str(caught.value) == caught.value.failure.message
    return caught.value.failure


@dataclass(slots=True)
class Wire:
    base_url: str
    requests: list[bytes] = field(default_factory=list)


def http(body: object, *, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """One HTTP answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def wire_server(*answers: bytes, tls: SSLContext | None = None) -> AsyncIterator[Wire]:
    """A server that sends these answers in turn, the last one again and again, and ends each connection."""
    wire = Wire("")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length:")
            )
            wire.requests.append(head + await reader.readexactly(length))
            writer.write(answers[min(len(wire.requests), len(answers)) - 1])
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    wire.base_url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield wire
    finally:
        server.close()
        await server.wait_closed()


def completion(message: object, **more: Any) -> dict[str, Any]:
    """A completion with this message, its choice and body extended by `choice_…` and other keywords."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    choice |= {
        name.removeprefix("choice_"): more.pop(name) for name in list(more) if name.startswith("choice_")
    }
    return {"id": "x", "object": "chat.completion", "choices": [choice], **more}
