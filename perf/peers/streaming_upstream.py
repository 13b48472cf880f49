"""A chat model's server for measurements: 20 ms to the answer, or to the first of 22 chunks 5 ms apart.

    python -m perf.peers.streaming_upstream

Prints its port. It ends with its standard input.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

FIRST: Final = 0.020
BETWEEN: Final = 0.005
CHUNKS: Final = 22

_ANSWER: Final = (
    b'{"id":"c","created":1,"model":"m","object":"chat.completion","choices":[{"index":0,'
    b'"finish_reason":"stop","message":{"role":"assistant","content":"A short answer in one sentence."}}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)
_CHUNK: Final = (
    b'data: {"id":"c","created":1,"model":"m","object":"chat.completion.chunk","choices":[{"index":0,'
    b'"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)
_LAST: Final = (
    b'data: {"id":"c","created":1,"model":"m","object":"chat.completion.chunk","choices":[{"index":0,'
    b'"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:-2])
            if b"content-length" not in fields:  # LiteLLM looks whether the model is there
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            body = await reader.readexactly(int(fields[b"content-length"]))
            await asyncio.sleep(FIRST)
            if b'"stream": true' in body or b'"stream":true' in body:
                await _stream(writer)
            else:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(_ANSWER), _ANSWER)
                )
    except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):  # uvloop's for a closed connection
        writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for chunk in (*[_CHUNK] * CHUNKS, _LAST):
        writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await asyncio.sleep(BETWEEN)
    writer.write(b"0\r\n\r\n")


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_main())
