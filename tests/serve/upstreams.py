"""A server in the model's place: it answers as it is told, and keeps what it was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

Handler = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """One request that the upstream got."""

    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Upstream:
    """What the server does, and what it was asked."""

    url: str = ""
    handler: Handler | None = None
    """None: what a chat model's server would do."""
    received: list[Received] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request came."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request was cancelled because the gateway left."""

    @property
    def last(self) -> Received:
        return self.received[-1]


@asynccontextmanager
async def serve_upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        upstream.received.append(
            Received(request.method, request.path_qs, CIMultiDict(request.headers), body)
        )
        upstream.asked.set()
        try:
            return await (upstream.handler or answer_as_a_model)(request, body)
        except (asyncio.CancelledError, ConnectionError):
            upstream.closed.set()
            raise

    server = web.Server(handle, handler_cancellation=True, request_factory=_large)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield upstream
    finally:
        listening.close()
        await server.shutdown(0.1)


def _large(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=2**26)


async def answer_as_a_model(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    if request.path == "/v1/models":
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model", "created": 0,
                                                              "owned_by": "tests"}]})  # fmt: skip
    asked = json.loads(body)
    kind = request.path.removeprefix("/v1/")
    if asked.get("stream"):
        return await _stream(request, STREAMS[kind])
    return web.json_response(ANSWERS[kind], headers={"x-vendor": "kept"})


async def _stream(request: web.BaseRequest, text: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in text.split("\n\n")[:-1]:
        await response.write(f"{event}\n\n".encode())
        await asyncio.sleep(0)
    await response.write_eof()
    return response


_USAGE = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
_RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "error": None,
    "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True,
    "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
    "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Hello!", "annotations": []}]}],
    "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
              "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 13},
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "chat/completions": {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m", "vendor_field": {"a": [1]},
        "choices": [{"index": n, "finish_reason": "stop", "logprobs": None,
                     "message": {"role": "assistant", "content": "Hello!", "reasoning_content": "Greet."}}
                    for n in range(2)],
        "usage": _USAGE,
    },
    "completions": {
        "id": "t1", "object": "text_completion", "created": 1, "model": "m", "usage": _USAGE,
        "choices": [{"index": 0, "text": "Hello!", "logprobs": None, "finish_reason": "stop"}],
    },
    "messages": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": "Hello!"}],
        "usage": {"input_tokens": 11, "output_tokens": 2},
    },
    "responses": _RESPONSE,
    "embeddings": {
        "object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    },
}  # fmt: skip


_CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _chunk(delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({**_CHUNK, 'choices': [choice]})}\n\n"


def _event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
STREAMS = {
    "chat/completions": ": a comment of the server\n\n"
    + _chunk({"role": "assistant", "content": ""})
    + _chunk({"reasoning_content": "Greet."})
    + _chunk({"content": "Hel"})
    + _chunk({"content": "lo!"})
    + _chunk({"tool_calls": [_CALL]})
    + _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"q": '}}]})
    + _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"x"}'}}]})
    + _chunk({}, "tool_calls")
    + f"data: {json.dumps({**_CHUNK, 'choices': [], 'usage': _USAGE})}\n\n"
    + "data: [DONE]\n\n",
    "messages": _event("message_start", message={**ANSWERS["messages"], "content": [], "stop_reason": None})
    + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello!"})
    + _event("content_block_stop", index=0)
    + _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    + _event("message_stop"),
    "responses": _event(
        "response.created", sequence_number=0, response={**_RESPONSE, "status": "in_progress", "output": []}
    )
    + _event(
        "response.output_text.delta", sequence_number=1, item_id="msg_1", output_index=0, content_index=0,
        delta="Hello!", logprobs=[],
    )
    + _event("response.completed", sequence_number=2, response=_RESPONSE),
}  # fmt: skip
