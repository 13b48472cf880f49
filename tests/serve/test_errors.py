"""The table of errors in docs/serving.md: what the gateway itself answers. Nothing is passed then."""

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serve.conftest import Start
from serve.upstreams import Upstream

CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def nested(depth: int) -> bytes:
    return b'{"messages": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "invalid_json"),
        (b'{"messages": NaN}', "invalid_json"),
        (b'{"messages": [], "a": "\xff"}', "invalid_json"),
        (b"[]", "invalid_json"),
        (b'{"messages": [], "messages": [1]}', "duplicate_key"),
        (nested(70), "too_deep"),
        (b"{}", "invalid_messages"),
        (b'{"messages": []}', "invalid_messages"),
        (b'{"messages": ["x"]}', "invalid_messages"),
        (b'{"messages": [{"role": "oracle", "content": "x"}]}', "invalid_messages"),
        (b'{"messages": [{"role": "user", "content": {"a": 1}}]}', "invalid_messages"),
        (b'{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x"},'
         b' {"role": "user", "content": "x"}]}', "too_many_messages"),
    ],
)  # fmt: skip
async def test_a_body_that_is_wrong_is_400(start: Start, upstream: Upstream, body: bytes, code: str) -> None:
    running = await start(limits={"messages": 2})
    status, answer, headers = await running.post("/v1/chat/completions", body)
    assert (status, answer["error"]["code"]) == (400, code)
    assert headers["x-should-retry"] == "false"
    assert upstream.received == []


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/completions", "/v1/moderations"])
@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"input": 5, "prompt": 5, "messages": 5}', b'{"input": [5], "prompt": [{}], "messages": [5]}'],
)
async def test_other_formats_are_read_strictly(
    start: Start, upstream: Upstream, path: str, body: bytes
) -> None:
    running = await start()
    status, answer, _ = await running.post(path, body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert upstream.received == []


async def test_sizes(start: Start, upstream: Upstream) -> None:
    running = await start(limits={"body_bytes": 1000, "images": 1, "parts": 3})
    status, answer, _ = await running.post("/v1/chat/completions", b" " * 1001)
    assert (status, answer["error"]["code"]) == (413, "body_too_large")

    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100

    async with running.http.post(f"{running.url}/chat/completions", data=chunks()) as answered:
        assert answered.status == 413
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    for content, code in (
        ([picture, picture], "too_many_images"),
        ([{"type": "text", "text": ""}] * 4, "too_many_parts"),
    ):
        body = {"messages": [{"role": "user", "content": content}]}
        status, answer, _ = await running.post("/v1/chat/completions", body)
        assert (status, answer["error"]["code"]) == (400, code)
    assert upstream.received == []


async def test_a_slow_body_is_408_and_an_encoded_one_415(start: Start) -> None:
    running = await start(limits={"body_seconds": 0.1})
    reader, writer = await asyncio.open_connection("127.0.0.1", running.running.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert b" 408 " in await reader.readline()
    assert b'"slow_body"' in await reader.read()
    writer.close()
    status, answer, _ = await running.post("/v1/chat/completions", b"x", headers={"Content-Encoding": "gzip"})
    assert (status, answer["error"]["code"]) == (415, "encoded_body")


async def test_slow_headers_are_cut_off_and_long_ones_refused(start: Start) -> None:
    running = await start(limits={"idle_seconds": 0.2, "header_bytes": 1000})
    reader, writer = await asyncio.open_connection("127.0.0.1", running.running.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    async with running.http.get(f"{running.url}/models", headers={"X-Long": "x" * 2000}) as answered:
        assert answered.status == 400


async def test_paths_and_methods(start: Start, upstream: Upstream) -> None:
    running = await start(upstream={"base_url": upstream.url, "pass_paths": ["/v1/files"]})
    for method, path, expected in (
        ("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("POST", "/v1/audio/speech", 404),
        ("GET", "/", 404), ("POST", "/openai/v1/responses", 404), ("POST", "/v1/chat/completions/", 404),
        ("GET", "/healthz", 200), ("GET", "/readyz", 200), ("GET", "/v1/models/m", 500),
        ("PUT", "/v1/files", 500),
    ):  # fmt: skip
        async with running.http.request(method, f"{running.root}{path}") as answered:
            assert answered.status == expected, (method, path)


async def test_an_upstream_that_is_not_there_is_502(start: Start) -> None:
    running = await start(upstream="http://127.0.0.1:9/v1")
    status, answer, _ = await running.post("/v1/chat/completions", CHAT)
    assert (status, answer["error"]["code"]) == (502, "upstream_unreachable")


async def test_an_upstream_that_does_not_answer_is_504_and_asked_once(
    start: Start, upstream: Upstream
) -> None:
    async def sleep(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    upstream.handler = sleep
    running = await start(upstream={"base_url": upstream.url, "idle_timeout": 0.2})
    status, answer, _ = await running.post("/v1/chat/completions", CHAT)
    assert (status, answer["error"]["code"]) == (504, "upstream_timeout")
    assert len(upstream.received) == 1


async def test_the_upstreams_own_errors_pass_as_they_are(start: Start, upstream: Upstream) -> None:
    async def refuse(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        return web.Response(status=429, body=b'{"odd": 1}', headers={"Retry-After": "7", "x-ratelimit": "0"})

    upstream.handler = refuse
    running = await start()
    status, answer, headers = await running.post("/v1/chat/completions", CHAT)
    assert (status, answer, headers["Retry-After"], headers["x-ratelimit"]) == (429, {"odd": 1}, "7", "0")


@pytest.mark.parametrize("sized", [True, False])
async def test_an_upstream_that_breaks_off_breaks_the_answer_off(
    start: Start, upstream: Upstream, sized: bool
) -> None:
    async def break_off(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if sized:
            response.content_length = 1000
        await response.prepare(request)
        await response.write(b"data: half\n\n")
        assert request.transport is not None
        request.transport.close()
        return response

    upstream.handler = break_off
    running = await start()
    async with running.http.post(f"{running.url}/chat/completions", json=CHAT) as answered:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answered.read()


async def test_a_hostile_upstream_gets_nowhere(start: Start, upstream: Upstream) -> None:
    async def garbage(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n\x00\x01")
        request.transport.close()
        return web.Response()

    upstream.handler = garbage
    running = await start()
    status, answer, _ = await running.post("/v1/chat/completions", CHAT)
    assert (status, answer["error"]["code"]) == (502, "upstream_failed")


async def test_anthropic_clients_get_errors_in_their_form(start: Start) -> None:
    running = await start()
    status, answer, _ = await running.post("/v1/messages", b"{}")
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")


async def test_a_gateway_that_is_not_ready_passes_nothing(start: Start, upstream: Upstream) -> None:
    running = await start()
    running.gateway.ready = False
    status, answer, _ = await running.post("/v1/chat/completions", CHAT)
    assert (status, answer["error"]["code"]) == (503, "not_ready")
    async with running.http.get(f"{running.root}/readyz") as answered:
        assert answered.status == 503
    assert upstream.received == []
