"""A chat-completions endpoint: OpenAI's, or any server that speaks the same (vLLM, SGLang, llama.cpp, …).

One `complete` is one HTTP request; `endpoints.replies` reads what comes back.
"""

import html
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from safemt.core.errors import CallError, CallFailure, UsageError
from safemt.core.identity import Json
from safemt.core.schema import ImageRef, ImageSource, Message, Part, UnknownPart
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.pool import join_pool, leave_pool
from safemt.endpoints.replies import (
    HEADERS_READ,
    Answer,
    Request,
    parse_body,
    read_answer,
    refuses_logprobs,
    wants_completion_tokens,
)

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
OPENAI_KEY_NAME: Final = "OPENAI_API_KEY"
MAX_REPLY_BYTES: Final = 8 * 2**20
"""A longer reply to a request for some thousand tokens is a fault, not an answer."""

_CONNECT_SECONDS: Final = 10.0
_ONE_PIECE_BYTES: Final = 2**20
_SHORTEST_SECRET: Final = 8
_ESCAPES: Final = ("\\u00", "\\/", "%", "&")
"""A key may come back escaped, as JSON, an address or a page writes it: with one of these in it."""


class ChatEndpoint:
    """One model behind one base URL, with its key and its sampling."""

    path: ClassVar = "/chat/completions"
    """Behind the base URL."""

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = None,
        sampling: Sampling,
        timeout: float,
        images: ImageSource | None = None,
        role: str = "target",
        extra: Mapping[str, Json] | None = None,
    ) -> None:
        """`images` has the pictures that do not know their own source.

        `role` is the section of the configuration that names the model (`target`, `judge`, `moderator`).

        Messages name the settings in it. `extra` goes into every request's body; `logprobs` in it only as
        long as the server takes it.

        Raises:
            UsageError: the base URL is unusable, or the key's environment variable is not set.
        """
        self.model = model
        self.base_url = _checked_base_url(OPENAI_BASE_URL if base_url is None else base_url, role)
        self._url = f"{self.base_url}{self.path}"
        self.origin = origin_of(self.base_url)
        self.sampling = sampling
        self._images = images
        self._role = role
        self._key_name = api_key_env or OPENAI_KEY_NAME
        self._key = _read_key(self._key_name)
        if not self._key and (api_key_env or base_url is None):
            # A name in another style may be a key that was given in place of its variable's name.
            shown = f" {self._key_name}" if re.fullmatch(r"[A-Z][A-Z0-9_]*", self._key_name) else ""
            raise UsageError(
                "key_not_set",
                f"The environment variable{shown} is not set, so there is no key for {role} {model}. "
                f"Export it, name another variable in `{role}.api_key_env`, or give `{role}.base_url` for a "
                "server of your own.",
                role=role,
                model=model,
            )
        # Placeholders such as EMPTY or none are not secrets, and an answer may well hold the word.
        self._is_secret = len(self._key) >= _SHORTEST_SECRET and not self._key.isalpha()
        self._key_escaped = re.compile("".join(map(_written, self._key)))
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(_CONNECT_SECONDS, timeout))
        self._limit_name = "max_tokens"
        self._extra = dict(extra or {})
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, messages: Sequence[Message]) -> Reply:
        """Send one request and read its reply.

        Raises:
            CallError: there is no usable reply.
            BenchmarkError: an image is gone or has changed.
        """
        # As sent: meanwhile, other calls may have learnt what the server wants.
        limit_name, extra = self._limit_name, self._extra
        answer = await self._post(self._body(messages, limit_name))
        if limit_name == "max_tokens" and isinstance(answer, Answer) and wants_completion_tokens(answer):
            self._limit_name = "max_completion_tokens"
            answer = await self._post(self._body(messages, self._limit_name))
        if "logprobs" in extra and isinstance(answer, Answer) and refuses_logprobs(answer):
            self._extra = {k: v for k, v in extra.items() if k not in ("logprobs", "top_logprobs")}
            answer = await self._post(self._body(messages, self._limit_name))
        if isinstance(answer, Answer):
            with_image = any(message.images for message in messages)
            reply = self._reply(answer, self._request(with_image=with_image))
            if isinstance(reply, Reply):
                return reply
            answer = reply
        raise CallError(answer)

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await leave_pool()

    def _reply(self, answer: Answer, request: Request) -> Reply | CallFailure:
        return read_answer(answer, request)

    def _body(self, messages: Sequence[Message], limit_name: str) -> bytes:
        body: dict[str, object] = {"model": self.model, "messages": [self._wire(each) for each in messages]}
        if self.sampling.temperature is not None:
            body["temperature"] = self.sampling.temperature
        body[limit_name] = self.sampling.max_output_tokens
        return orjson.dumps({**body, **self._extra})

    def _wire(self, message: Message) -> dict[str, object]:
        if all(isinstance(part, str) for part in message.parts):
            return {"role": message.role, "content": json_text(message.content)}
        return {"role": message.role, "content": [self._wire_part(part) for part in message.parts]}

    def _wire_part(self, part: Part) -> dict[str, object]:
        if isinstance(part, ImageRef):
            return self._wire_image(part)
        if isinstance(part, UnknownPart):
            raise TypeError(f"a part of the kind {part.kind} cannot be sent")
        return {"type": "text", "text": json_text(part)}

    def _wire_image(self, image: ImageRef) -> dict[str, object]:
        source = image.source or self._images
        if source is None:
            raise RuntimeError("a request with an image needs a folder to read it from")
        return {"type": "image_url", "image_url": {"url": orjson.Fragment(b'"%s"' % source.data_uri(image))}}

    async def _post(self, body: bytes) -> Answer | CallFailure:
        session = self._session = self._session or self._open_session()
        # One piece is faster; aiohttp wants a long body in several, so that other calls get their turn.
        data = body if len(body) <= _ONE_PIECE_BYTES else io.BytesIO(body)
        try:
            async with session.post(self._url, data=data, allow_redirects=False) as response:
                content = await _read(response.content)
                if content is None:
                    message = f"The reply of {self.origin} is longer than {MAX_REPLY_BYTES >> 20} MB."
                    return CallFailure("reply_too_large", message, retryable=True)
                headers = {
                    name: self._without_key(response.headers[name])
                    for name in HEADERS_READ
                    if name in response.headers
                }
                return Answer(response.status, headers, self._parsed(content))
        except (aiohttp.ClientError, OSError) as error:
            return self._broken_connection(error)

    def _broken_connection(self, error: Exception) -> CallFailure:
        """Repeats only what the system says: an error of the HTTP library can quote the request."""
        cause = "connection"
        match error:
            case aiohttp.ConnectionTimeoutError():
                message = f"Cannot connect to {self.origin} within {self._timeout.sock_connect:g} s."
            case TimeoutError():
                cause = "timeout"
                setting = "moderator.timeout" if self._role == "moderator" else "limits.timeout"
                message = (
                    f"No complete reply of {self.origin} within {self._timeout.total:g} s (`{setting}`)."
                )
            case aiohttp.ClientConnectorCertificateError():
                cause = "untrusted_certificate"
                message = (
                    f"This machine does not trust the TLS certificate of {self.origin}. If a private "
                    "authority signed it, name that authority's certificate in SSL_CERT_FILE."
                )
            case aiohttp.ClientConnectorSSLError():
                cause, message = "tls", f"{self.origin} makes no TLS connection; perhaps it speaks only http."
            case aiohttp.ClientConnectorDNSError():
                message = f"There is no address for the name in {self.origin}."
            case aiohttp.ClientConnectorError():
                message = f"Cannot connect to {self.origin} ({os.strerror(error.errno or 0)})."
            case _:
                cause = "connection_lost"
                message = f"The connection to {self.origin} broke ({type(error).__name__})."
        if cause == "connection":
            message += f" Is the server running, and is `{self._role}.base_url` right?"
        fatal = cause == "untrusted_certificate"
        return CallFailure(cause, message, retryable=not fatal, fatal=fatal)

    def _open_session(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "User-Agent": f"safemt/{version('safemt')}"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return aiohttp.ClientSession(
            connector=join_pool(),
            connector_owner=False,
            timeout=self._timeout,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _parsed(self, content: bytes) -> Any:
        signs = (self._key, *_ESCAPES) if self._is_secret else ()
        if not any(sign.encode() in content for sign in signs):
            with suppress(orjson.JSONDecodeError):
                return orjson.loads(content)
        return parse_body(self._without_key(content.decode("utf-8-sig", "replace")))

    def _without_key(self, text: str) -> str:
        """A server may echo the key it was sent; it must not reach the store."""
        if not self._is_secret:
            return text
        text = text.replace(self._key, "[key]")
        if any(sign in text for sign in _ESCAPES):
            text = self._key_escaped.sub("[key]", text)
        return text

    def _request(self, *, with_image: bool) -> Request:
        return Request(
            base_url=self.base_url,
            origin=self.origin,
            path=self.path,
            model=self.model,
            role=self._role,
            key_name=self._key_name,
            has_key=bool(self._key),
            with_image=with_image,
            sampling=self.sampling,
        )


async def _read(stream: aiohttp.StreamReader) -> bytes | None:
    """All of a body; None if it is longer than `MAX_REPLY_BYTES`, however well it was compressed."""
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            return None
    return b"".join(chunks)


def origin_of(base_url: str) -> str:
    """Scheme, host and port of a base URL: what limits and prices go by."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(base_url))


def _written(char: str) -> str:
    """A pattern for the ways to write one character of a key."""
    code = ord(char)
    in_json = rf"\\{{0,3}}(?:{re.escape(char)}|(?i:u00{code:02x}))"
    in_html = [f"#0{{0,4}}{code};", f"#x0{{0,4}}{code:x};"]
    if char in "&<>":
        in_html.append(html.escape(char)[1:])
    return f"(?:{in_json}|(?i:%{code:02x}|&(?:{'|'.join(in_html)})))"


def _read_key(name: str) -> str:
    key = os.environ.get(name, "").strip()
    if not re.fullmatch(r"[!#-\[\]-~]*", key):  # printable ASCII without blank, " and \
        raise UsageError(
            "bad_key", f"The key in {name} has characters that no key has. Set it again.", variable=name
        )
    return key


def _checked_base_url(url: str, role: str) -> str:
    # The address itself is not repeated: what is wrong with it may be a key.
    setting = f"{role}.base_url"
    if any(char in url for char in "@?#"):
        raise UsageError(
            "bad_base_url",
            f"`{setting}` must not contain a user, a password or a query. Keys are read from the environment "
            f"(`{role}.api_key_env`).",
            setting=setting,
        )
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        usable = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise UsageError(
            "bad_base_url",
            f"`{setting}` must be an address such as http://localhost:8000/v1 or https://api.example.com/v1.",
            setting=setting,
        )
    return url.rstrip("/").removesuffix("/chat/completions").removesuffix("/moderations").rstrip("/")


def json_text(text: str) -> object:
    """`text` for orjson, which refuses half a surrogate pair: that goes out as an escape, as it stands."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return orjson.Fragment(json.dumps(text))
    return text
