"""Reading a request: its body within limits, and what those limits say about what is in it."""

import asyncio
from collections.abc import Sequence

import aiohttp
from aiohttp import web

from safemt.core.schema import UnknownPart
from safemt.serve.config import LimitsConfig
from safemt.serve.dialects.dialect import Body, Conversation
from safemt.serve.problems import Problem, invalid
from safemt.serve.wire import parse_object

_ON_THE_LOOP = 256 * 2**10
"""Bytes of a body that are parsed on the event loop; longer ones go to a thread."""


async def read_body(request: web.BaseRequest, limits: LimitsConfig) -> bytes:
    """The bytes of a request's body.

    Raises:
        Problem: it is too large, too slow, encoded or cut off.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "encoded_body", "Send the body without a Content-Encoding.")
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limits) from None
    except TimeoutError:
        raise Problem(408, "slow_body", f"The body took more than {limits.body_seconds:g} seconds.") from None
    except (aiohttp.ClientError, web.RequestPayloadError, aiohttp.http.HttpProcessingError):
        raise invalid("broken_body", "The body is cut off or not encoded as it says.") from None


async def parse_body(data: bytes) -> Body:
    """The JSON object in a body.

    Raises:
        Problem: it is none.
    """
    return parse_object(data) if len(data) <= _ON_THE_LOOP else await asyncio.to_thread(parse_object, data)


def require_within_limits(conversations: Sequence[Conversation], limits: LimitsConfig) -> None:
    """Raise the problem of a request with too much in it."""
    messages = [message for each in conversations for message in each.messages]
    if len(messages) > limits.messages:
        raise invalid("too_many_messages", f"There are more than {limits.messages:,} messages.")
    if sum(len(message.parts) for message in messages) > limits.parts:
        raise invalid("too_many_parts", f"The messages have more than {limits.parts:,} parts.")
    images = sum(
        not isinstance(part, str) and (not isinstance(part, UnknownPart) or part.kind.startswith("image"))
        for message in messages
        for part in message.parts
    )
    if images > limits.images:
        raise invalid("too_many_images", f"There are more than {limits.images} pictures.")


def _too_large(limits: LimitsConfig) -> Problem:
    return Problem(413, "body_too_large", f"The body has more than {limits.body_bytes:,} bytes.")
