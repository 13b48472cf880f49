"""Calls to the model's server, and the way of its bytes back to the client.

Bytes go through as they are, in both directions. The gateway never repeats a call by itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from safemt.serve.config import UpstreamConfig
from safemt.serve.problems import Problem

# RFC 9110, 7.6.1, and what belongs to one connection only.
_HOP_BY_HOP: Final = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "expect",
    )
)  # fmt: skip
_DROPPED: Final = _HOP_BY_HOP | {"host", "content-length"}
_KEYS: Final = ("authorization", "x-api-key")
_IDLE_CONNECTION: Final = 4.0
"""Seconds that an unused connection is kept: less than the five after which common servers close it."""
_PUT_OFF: Final = 0.2
"""Seconds by which a deadline must be late before it is put off."""
_NO_WAIT: Final = 32 * 2**10
"""Bytes that a transport takes without making the writer wait."""
_AT_ONCE: Final = 64 * 2**10
"""A response that is known to be no longer goes out in one piece."""


class Upstream:
    """The pool of connections to one server."""

    def __init__(self, config: UpstreamConfig) -> None:
        self.config = config
        self._base = config.base_url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_CONNECTION),
            # Not `sock_read`: it sets a timer for each piece that arrives.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def send(
        self, request: web.BaseRequest, body: bytes | None, headers: CIMultiDict[str]
    ) -> aiohttp.ClientResponse:
        """Pass a request on, and wait for the head of the response. The caller releases or closes it.

        Raises:
            Problem: the server cannot be reached, or does not answer.
        """
        path = request.rel_url.raw_path_qs.removeprefix("/v1")
        try:
            async with asyncio.timeout(self.config.idle_timeout):
                return await self._session.request(
                    request.method,
                    URL(f"{self._base}{path}", encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                )
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise Problem(504, "upstream_timeout", "The model's server did not answer in time.") from None
        except aiohttp.ClientConnectorError:
            raise Problem(502, "upstream_unreachable", "The model's server cannot be reached.") from None
        except (aiohttp.ClientError, OSError):
            raise Problem(
                502, "upstream_failed", "The model's server broke the connection before it answered."
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def request_headers(headers: Mapping[str, str], *, upstream_key: str | None, keyed: bool) -> CIMultiDict[str]:
    """The client's headers for the upstream, without those of its connection and those that are ours.

    Args:
        headers: The client's.
        upstream_key: Takes the place of the client's key, if there is one.
        keyed: Whether the client's key is one of the gateway's, which the upstream must not see.
    """
    dropped = _dropped(headers)
    replaced = upstream_key is not None or keyed
    kept = CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (lower := name.lower()) not in dropped
        and not lower.startswith("x-safemt-")
        and not (replaced and lower in _KEYS)
    )
    if upstream_key is not None:
        if "x-api-key" in headers:
            kept["x-api-key"] = upstream_key
        else:
            kept["Authorization"] = f"Bearer {upstream_key}"
    return kept


def response_headers(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The upstream's headers for the client, without those of its connection."""
    dropped = _dropped(headers)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


async def relay(
    request: web.BaseRequest,
    answer: aiohttp.ClientResponse,
    headers: CIMultiDict[str],
    *,
    idle_seconds: float,
    write_seconds: float,
    tee: Callable[[bytes], None] = lambda _: None,
    begun: bytes = b"",
) -> web.StreamResponse:
    """Hand the upstream's response on, each piece as it comes; `tee` sees them, too.

    If the upstream breaks off, so does the response to the client: its connection closes without an end.

    Args:
        request: The client's.
        answer: The upstream's response.
        headers: Those for the client.
        idle_seconds: The longest time without a byte from the upstream.
        write_seconds: The longest time in which the client takes no byte.
        tee: Sees all bytes.
        begun: What was read of the response already.
    """
    length = answer.content_length
    if length is not None and length <= _AT_ONCE:
        try:
            async with asyncio.timeout(idle_seconds):
                data = begun + await answer.read()
        except (TimeoutError, aiohttp.ClientError):
            return await _cut(request, answer, headers)
        tee(data)
        return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=data)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    if length is not None:
        response.content_length = length
    await response.prepare(request)
    try:
        async with asyncio.timeout(idle_seconds) as deadline:
            if begun:
                tee(begun)
                await response.write(begun)
            now, due = asyncio.get_running_loop().time, 0.0
            transport, read = request.transport, answer.content.readany
            while chunk := await read():
                tee(chunk)
                if transport is not None and transport.get_write_buffer_size() + len(chunk) < _NO_WAIT:
                    await response.write(chunk)
                else:
                    await _write_in_time(response, chunk, write_seconds)
                wanted = now() + idle_seconds
                if wanted - due > _PUT_OFF:  # for each chunk it would cost more than the chunk
                    due = wanted
                    deadline.reschedule(due)
    except _SlowClient:
        if request.transport is not None:
            request.transport.abort()
        return response
    except (TimeoutError, aiohttp.ClientError):
        close_connection(request)
        return response
    await response.write_eof()
    return response


class _SlowClient(Exception):
    """The client took no byte for too long."""


async def _write_in_time(response: web.StreamResponse, chunk: bytes, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await response.write(chunk)
    except TimeoutError:
        raise _SlowClient from None


def close_connection(request: web.BaseRequest) -> None:
    """Close the client's connection, after what was written to it."""
    if request.transport is not None:
        request.transport.close()


async def _cut(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: CIMultiDict[str]
) -> web.StreamResponse:
    """Begin a response that does not end."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    response.content_length = answer.content_length
    await response.prepare(request)
    close_connection(request)
    return response


def _dropped(headers: Mapping[str, str]) -> frozenset[str]:
    named = headers.get("Connection")
    if named is None:
        return _DROPPED
    return _DROPPED.union(each.strip().lower() for each in named.split(","))
