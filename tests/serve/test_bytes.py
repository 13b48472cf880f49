"""What the gateway does not change goes through byte for byte, whatever it is and however it is cut up."""

import asyncio
import json
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safemt.serve.config import config_from
from safemt.serve.gateway import Gateway
from safemt.serve.problems import Problem
from safemt.serve.server import RunningGateway
from safemt.serve.wire import parse_object
from serve.conftest import Start
from serve.upstreams import Upstream, serve_upstream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e30, 1e30)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    vendor=st.dictionaries(
        st.text(min_size=1, max_size=10).filter(lambda k: k not in ("messages", "prompt")), VALUES
    ),
    text=st.text(max_size=50),
    chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=8),
    spaces=st.booleans(),
    sized=st.booleans(),
)
def test_bodies_and_responses_are_equal_to_the_byte(
    vendor: dict[str, Any], text: str, chunks: list[bytes], spaces: bool, sized: bool
) -> None:
    body = {**vendor, "messages": [{"role": "user", "content": text, "vendor": vendor}]}
    sent = json.dumps(body, ensure_ascii=not spaces, indent=1 if spaces else None).encode(
        "utf-8", "surrogatepass"
    )
    asyncio.run(_pass_through(sent, chunks, sized=sized))


async def _pass_through(sent: bytes, chunks: list[bytes], *, sized: bool) -> None:
    async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        if sized:
            response.content_length = len(b"".join(chunks))
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    async with serve_upstream() as upstream:
        upstream.handler = answer
        config = config_from(
            {
                "upstream": upstream.url,
                "moderator": {"name": "keyword", "on_error": "open"},
                "listen": {"port": 0},
            },
            where="the test",
        )
        running = RunningGateway(await Gateway.open(config))
        await running.start()
        await running.gateway.prove()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(
                b"POST /v1/chat/completions?x=%%41 HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s"
                % (len(sent), sent)
            )
            head, _, got = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
        finally:
            await running.close()
    assert head.split(b" ")[1] == b"200"
    assert upstream.last.body == sent
    assert upstream.last.path == "/v1/chat/completions?x=%41"
    assert got == b"".join(chunks)


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_as_every_parser_reads_it(
    body: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert parse_object(text) == orjson.loads(text)


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.data())
def test_a_duplicate_key_is_refused_at_any_depth(body: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(body)))
    inner = json.dumps(body)
    doubled = f"{inner[:-1]}, {json.dumps(key)}: 1}}"
    for text in (doubled, f'{{"a": [1, {doubled}]}}', f'{{"a": {{"b": {doubled}}}}}'):
        with pytest.raises(Problem) as problem:
            parse_object(text.encode())
        assert problem.value.code == "duplicate_key"


async def test_headers_pass_but_those_of_a_connection_and_ours(start: Start, upstream: Upstream) -> None:
    running = await start()
    headers = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "OpenAI-Organization": "o", "X-Safemt-Action": "allow", "Connection": "x-hop, keep-alive",
        "X-Hop": "1", "Accept-Encoding": "br",
    }  # fmt: skip
    _, _, answered = await running.post("/v1/chat/completions", CHAT, headers=headers)
    got = upstream.last.headers
    assert got["traceparent"] == headers["traceparent"]
    assert (got["OpenAI-Organization"], got["Accept-Encoding"]) == ("o", "br")
    assert "X-Safemt-Action" not in got
    assert "X-Hop" not in got
    assert answered["x-vendor"] == "kept"
    assert "x-request-id" in answered


async def test_a_compressed_answer_stays_compressed(start: Start, upstream: Upstream) -> None:
    async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        return web.Response(body=b"not really gzip", headers={"Content-Encoding": "gzip"})

    upstream.handler = answer
    running = await start()
    async with running.http.post(f"{running.url}/chat/completions", json=CHAT, auto_decompress=False) as got:
        assert await got.read() == b"not really gzip"
        assert got.headers["Content-Encoding"] == "gzip"


CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
