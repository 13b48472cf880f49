"""A chat-completions endpoint: OpenAI's, or any server that speaks the same (vLLM, SGLang, llama.cpp, …).

One `complete` is one HTTP request. Replies and failures are classified here and nowhere else.
"""

import email.utils
import json
import os
import re
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from safemt.benchmark.images import ImageFolder
from safemt.core.errors import CallError, CallFailure, UsageError
from safemt.core.schema import Message
from safemt.targets.base import Reply, Sampling

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
OPENAI_KEY_NAME: Final = "OPENAI_API_KEY"
MAX_REPLY_BYTES: Final = 8 * 2**20
"""A longer reply to a request for some thousand tokens is a fault, not an answer."""

_CONNECT_SECONDS: Final = 10.0
_RETRYABLE: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_THROTTLED: Final = frozenset({429, 503, 529})
_FILTER_CODES: Final = frozenset(
    {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
)
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|or|api)[-_][A-Za-z0-9_*.-]{8,}")
_ABOUT_IMAGES = re.compile(r"image|vision|multi-?modal|content.{0,20}(?:string|list|array)", re.IGNORECASE)


class ChatEndpoint:
    """One model behind one base URL, with its key and how to sample from it."""

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = None,
        sampling: Sampling,
        timeout: float,
        images: ImageFolder | None = None,
        option: str = "target",
    ) -> None:
        """`option` is the prefix of the command's options (`target`, `judge`), for messages.

        Raises:
            UsageError: the base URL is unusable, or the key's environment variable is not set.
        """
        self.model = model
        self.base_url = _checked_base_url(base_url or OPENAI_BASE_URL, option)
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(self.base_url))
        self.sampling = sampling
        self._images = images
        self._option = option
        self._key_name = api_key_env or OPENAI_KEY_NAME
        self._key = os.environ.get(self._key_name, "").strip()
        if not self._key and (api_key_env or base_url is None):
            raise UsageError(
                f"The environment variable {self._key_name} is not set, so there is no key for {option} "
                f"{model}. Export it, name another with --{option}-api-key-env, or give "
                f"--{option}-base-url for a server of your own."
            )
        if not self._key.isascii() or not self._key.isprintable():
            raise UsageError(f"The key in {self._key_name} holds characters that no key has; set it again.")
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(_CONNECT_SECONDS, timeout))
        self._limit_name = "max_tokens"
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, messages: Sequence[Message]) -> Reply:
        """Send one request and read its reply.

        Raises:
            CallError: there is no usable reply.
        """
        limit_name = self._limit_name
        status, headers, content = await self._post(self._body(messages, limit_name))
        if status == 200:
            return _read_reply(content)
        error = _error_of(content)
        if status == 400 and limit_name == "max_tokens" and _wants_completion_tokens(error):
            self._limit_name = "max_completion_tokens"
            return await self.complete(messages)
        if _is_content_filter(status, error):
            return Reply(text="", blocked=True, finish_reason="content_filter")
        raise CallError(self._failure(status, headers, error))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _body(self, messages: Sequence[Message], limit_name: str) -> bytes:
        body: dict[str, object] = {"model": self.model, "messages": [_wire_message(m) for m in messages]}
        if self.sampling.temperature is not None:
            body["temperature"] = self.sampling.temperature
        body[limit_name] = self.sampling.max_output_tokens
        encoded = orjson.dumps(body)
        for message in messages:
            if message.image is not None:
                if self._images is None:
                    raise RuntimeError("a request with an image needs a folder to read it from")
                marker = b'"%s"' % _image_marker(message.image.sha256).encode()
                encoded = encoded.replace(marker, b'"%s"' % self._images.data_uri(message.image))
        return encoded

    async def _post(self, body: bytes) -> tuple[int, "aiohttp.typedefs.LooseHeaders", bytes]:
        session = self._session = self._session or self._open_session()
        try:
            async with session.post(
                f"{self.base_url}/chat/completions", data=body, allow_redirects=False
            ) as response:
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > MAX_REPLY_BYTES:
                        raise CallError(
                            CallFailure("reply_too_large", "the reply is longer than 8 MB", retryable=True)
                        )
                return response.status, dict(response.headers), self._without_key(bytes(content))
        except TimeoutError as error:
            message = f"no complete reply within {self._timeout.total:g} s (see --timeout)"
            raise CallError(CallFailure("timeout", message, retryable=True)) from error
        except aiohttp.ClientSSLError as error:
            message = f"{self.origin} offers no trusted TLS certificate: {error}"
            raise CallError(CallFailure("tls", message, fatal=True)) from error
        except aiohttp.ClientConnectorError as error:
            message = f"cannot connect to {self.origin}: {error.strerror or error}"
            raise CallError(CallFailure("connection", message, retryable=True)) from error
        except (aiohttp.ClientError, OSError) as error:
            message = f"the connection to {self.origin} broke: {type(error).__name__}"
            raise CallError(CallFailure("connection_lost", message, retryable=True)) from error

    def _open_session(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "User-Agent": f"safemt/{version('safemt')}"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=self._timeout,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _without_key(self, content: bytes) -> bytes:
        """A server may echo the key it was sent; it must not reach the store."""
        return content.replace(self._key.encode(), b"[key]") if self._key else content

    def _failure(self, status: int, headers: Any, error: dict[str, Any]) -> CallFailure:
        said = _said(error)
        if status in (401, 403):
            message = (
                f"{self.origin} refused the key in {self._key_name} (HTTP {status}{said}). "
                f"Export a valid key, or name another variable with --{self._option}-api-key-env."
                if self._key
                else f"{self.origin} wants a key (HTTP {status}{said}). "
                f"Export {self._key_name}, or name another variable with --{self._option}-api-key-env."
            )
            return CallFailure("bad_key", message, fatal=True)
        if status == 404:
            hint = (
                ""
                if PurePosixPath(urlsplit(self.base_url).path).name
                else " (most servers want /v1 at its end)"
            )
            message = (
                f"{self.base_url}/chat/completions does not know the model {self.model!r}, or is not a chat "
                f"endpoint (HTTP 404{said}). Check the model's name and --{self._option}-base-url{hint}."
            )
            return CallFailure("not_found", message, fatal=True)
        if status == 429 and error.get("code") == "insufficient_quota":
            return CallFailure("quota", f"the account's quota is used up (HTTP 429{said})", fatal=True)
        if status == 400 and _ABOUT_IMAGES.search(str(error.get("message", ""))):
            message = (
                f"the endpoint refuses a request with an image (HTTP 400{said}). "
                "If the model takes no images, run with --text-only."
            )
            return CallFailure("images_refused", message)
        if 300 <= status < 400:
            message = (
                f"{self.origin} redirects to {headers.get('Location', 'nowhere')} (HTTP {status}); "
                f"redirects are not followed with a key. Give that address with --{self._option}-base-url."
            )
            return CallFailure(f"http_{status}", message)
        return CallFailure(
            f"http_{status}",
            f"{self.origin} answered HTTP {status}{said}",
            retryable=status in _RETRYABLE or status >= 500,
            throttled=status in _THROTTLED,
            retry_after=_retry_after(headers),
        )


def _checked_base_url(url: str, option: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--{option}-base-url must start with http:// or https:// and name a host, not {url!r}."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"--{option}-base-url must hold no user, password or query; keys are read from the environment "
            f"(--{option}-api-key-env)."
        )
    return url.rstrip("/").removesuffix("/chat/completions")


def _image_marker(sha256: str) -> str:
    """Stands for an image while the body is encoded; inside a text its quotes would be escaped."""
    return f"safemt-image:{sha256}"


def _wire_message(message: Message) -> dict[str, object]:
    if message.image is None:
        return {"role": message.role, "content": message.content}
    image = {"type": "image_url", "image_url": {"url": _image_marker(message.image.sha256)}}
    return {"role": message.role, "content": [image, {"type": "text", "text": message.content}]}


def _read_reply(content: bytes) -> Reply:
    try:
        body = json.loads(content) if b"\\ud" in content else orjson.loads(content)
    except ValueError as error:
        what = "an HTML page" if content.lstrip()[:1] == b"<" else "something that is not JSON"
        raise CallError(CallFailure("bad_reply", f"the endpoint sent {what}", retryable=True)) from error
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        said = _said(_error_of(content))
        raise CallError(CallFailure("bad_reply", f"the reply holds no choice{said}", retryable=True))
    text = _text_of(message.get("content"))
    refusal = _text_of(message.get("refusal"))
    finish_reason = choice.get("finish_reason")
    blocked = finish_reason == "content_filter" or bool(refusal)
    if not blocked and not text.strip():
        raise CallError(CallFailure("empty_reply", "the reply holds no text", retryable=True))
    usage = body.get("usage")
    return Reply(
        text=text or refusal,
        blocked=blocked,
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        model=body.get("model") if isinstance(body.get("model"), str) else None,
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
    )


def _text_of(content: object) -> str:
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _error_of(content: bytes) -> dict[str, Any]:
    """The error object of an error body, in the shapes that servers send it."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        text = "" if content.lstrip()[:1] == b"<" else content[:500].decode(errors="replace")
        return {"message": text}
    error = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(error, dict):
        return {**error, "message": error.get("message") or error.get("detail") or ""}
    return {"message": error}


def _said(error: dict[str, Any]) -> str:
    text = " ".join(_KEY_LIKE.sub("[key]", str(error.get("message") or "")).split())
    return f": {text[:300]}" if text else ""


def _is_content_filter(status: int, error: dict[str, Any]) -> bool:
    inner = error.get("innererror")
    codes = {str(error.get("code")), str(inner.get("code") if isinstance(inner, dict) else None)}
    metadata = error.get("metadata")
    flagged = isinstance(metadata, dict) and "flagged_input" in metadata
    return (status == 400 and bool(codes & _FILTER_CODES)) or (status == 403 and flagged)


def _wants_completion_tokens(error: dict[str, Any]) -> bool:
    """OpenAI's newer models take the output limit under another name only."""
    return "max_completion_tokens" in str(error.get("message", ""))


def _retry_after(headers: Any) -> float | None:
    """Seconds to wait as the `Retry-After` header says: a number, or an HTTP date."""
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), None)
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds < float("inf") else None
