"""From what an endpoint sent back to a reply or a failure. Answers are classified here and nowhere else.

The shapes are those that OpenAI, Azure, OpenRouter, Gemini, xAI, Qwen, Moonshot, LiteLLM, vLLM, llama.cpp and
Ollama send.
"""

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import orjson

from safemt.core.errors import CallFailure
from safemt.endpoints.base import Reply, Sampling

HEADERS_READ: Final = ("retry-after", "location")
"""The headers of an answer that are looked at here."""

_SAID_CHARACTERS: Final = 300
_READ_CHARACTERS: Final = 2_000
"""How much of an error's message is searched. A server may send as much as it likes."""
_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_THROTTLED: Final = frozenset({429, 503, 529})

# Gemini, Zhipu and Anthropic name the filter's reason; OpenAI says only that the filter answered.
_FILTER_FINISHES: Final = frozenset(
    {
        "blocklist",
        "image_prohibited_content",
        "image_recitation",
        "image_safety",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    }
)
_BROKEN_OFF: Final = frozenset({"error", "abort", "insufficient_system_resource"})
_FILTER_CODES: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "data_inspection_failed",
        "datainspectionfailed",
        "moderation_blocked",
        "responsibleaipolicyviolation",
        "sensitive_words_detected",
    }
)
# Only at the start of a message: further in, a server may be quoting the dialogue.
_FILTER_SAID = re.compile(
    r"content violates usage guidelines|invalid prompt: your prompt was flagged"
    r"|(<400> )?internalerror\.algo\.datainspectionfailed|your request was rejected .{0,20}safety system"
    r"|litellm\.[\w.: ]*contentpolicyviolationerror",
    re.IGNORECASE,
)
_WANTS_COMPLETION_TOKENS = re.compile(
    r"(un|not )supported.*max_completion_tokens|use\W+max_completion_tokens", re.IGNORECASE | re.DOTALL
)
_ABOUT_TEMPERATURE = re.compile(
    r"\btemperature\b.{0,60}\b(support|default|deprecated|allowed|must)", re.IGNORECASE
)
_ABOUT_IMAGES = re.compile(
    r"image|(?<!-)\bvision\b(?!-)|\bmulti-?modal|content.{0,20}(?:string|list|array)", re.IGNORECASE
)
_NO_IMAGES = re.compile(r"image.{0,30}(un|not )support|support.{0,30}image", re.IGNORECASE)
_WITHOUT_IMAGES: Final = {
    "target": "ask without them (`selection.text_only`)",
    "judge": "do not show it the image (`judge.with_image`)",
    "moderator": "do not show it pictures (`moderator.with_pictures`), or choose one that does",
}
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|or|api)[-_][A-Za-z0-9_*.-]{8,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked, and of whom: what the message of a failure needs."""

    base_url: str
    origin: str
    """The base URL's scheme, host and port."""
    path: str = "/chat/completions"
    """Behind the base URL."""
    model: str
    role: str
    """`target`, `judge`, `moderator`, …: the section of the configuration that names the model."""
    key_name: str
    has_key: bool
    with_image: bool
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, decoded."""

    status: int
    headers: Mapping[str, str]
    """Those that are in `HEADERS_READ`."""
    body: Any
    """The parsed JSON, or the text if it is not JSON."""


def parse_body(text: str) -> Any:
    """A body's JSON, or the text itself if it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)  # takes what orjson refuses: half a surrogate pair, NaN
    except (ValueError, RecursionError):
        return text


def read_answer(answer: Answer, request: Request) -> Reply | CallFailure:
    """The reply in an answer, or why it has none."""
    if answer.status == 200:
        choice = _choice_of(answer.body)
        error = _error_in_success(answer.body, choice)
        if error is None:
            reply = _read_reply(answer.body, choice, request)
            return _with_usage(reply, answer.body) if isinstance(reply, CallFailure) else reply
        status = _status_of(error)
    else:
        error, status = _error_of(answer.body), answer.status
    if _is_content_filter(status, error):
        return Reply(text="", blocked=True, finish_reason="content_filter")
    if status == 200:
        message = f"{request.origin} sent an error instead of a reply{_said(error)}."
        return CallFailure("bad_reply", message, retryable=True)
    return _failure(status, answer.headers, error, request)


def wants_completion_tokens(answer: Answer) -> bool:
    """Whether the server wants the output limit under its newer name, as OpenAI's newer models do."""
    return answer.status == 400 and bool(_WANTS_COMPLETION_TOKENS.search(_error_of(answer.body)["message"]))


def refuses_logprobs(answer: Answer) -> bool:
    """Whether the server refuses to give probabilities of tokens."""
    return answer.status in (400, 422) and "logprob" in _error_of(answer.body)["message"]


def failure_of(answer: Answer, request: Request) -> CallFailure:
    """The failure in an answer that is not a success."""
    return _failure(answer.status, answer.headers, _error_of(answer.body), request)


def _choice_of(body: Any) -> dict[str, Any] | None:
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) and isinstance(choice.get("message"), dict) else None


def _read_reply(body: Any, choice: dict[str, Any] | None, request: Request) -> Reply | CallFailure:
    if choice is None:
        return _no_reply(body, request)
    finish = _finish_of(choice)
    if finish in _BROKEN_OFF:
        message = f"{request.origin} broke off its reply (finish_reason {finish})."
        return CallFailure("bad_reply", message, retryable=True)
    text = _text_of(choice["message"].get("content"))
    refusal = "" if text.strip() else _text_of(choice["message"].get("refusal"))
    blocked = finish == "content_filter" or bool(refusal)
    if not blocked and not text.strip():
        return _empty(finish, request)
    usage = body.get("usage")
    return Reply(
        text=refusal or text,
        blocked=blocked,
        finish_reason=finish,
        model=_text_of(body.get("model")) or None,
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        first_token=_first_token(choice),
    )


def _first_token(choice: dict[str, Any]) -> Mapping[str, float] | None:
    """The probabilities of the candidates for the first token, if the server gives them."""
    try:
        candidates = choice["logprobs"]["content"][0]["top_logprobs"]
        return {each["token"]: math.exp(min(0.0, each["logprob"])) for each in candidates}
    except (KeyError, IndexError, TypeError):
        return None


def _with_usage(failure: CallFailure, body: Any) -> CallFailure:
    """An empty reply is paid for like any other."""
    usage = body.get("usage") if isinstance(body, dict) else None
    return replace(
        failure,
        prompt_tokens=_count(usage, "prompt_tokens") or 0,
        completion_tokens=_count(usage, "completion_tokens") or 0,
    )


def _no_reply(body: Any, request: Request) -> CallFailure:
    if isinstance(body, dict):
        what = f"The reply of {request.origin} has no choice{_said(_error_of(body))}."
    elif isinstance(body, str) and body.lstrip()[:1] == "<":
        what = f"{request.origin} sent a web page instead of a reply."
    else:
        what = f"{request.origin} sent something that is not a JSON object instead of a reply."
    message = f"{what} Is {request.base_url} the address of its chat API?"
    return CallFailure("bad_reply", message, retryable=True)


def _empty(finish: str | None, request: Request) -> CallFailure:
    if finish != "length":
        return CallFailure("empty_reply", f"The reply of {request.origin} has no text.", retryable=True)
    message = (
        f"{request.model} used up its {request.sampling.max_output_tokens} output tokens before it began to "
        f"answer, as thinking models do. Raise `{request.role}.sampling.max_output_tokens`."
    )
    return CallFailure("empty_reply", message)


def _finish_of(choice: dict[str, Any]) -> str | None:
    """The finish reason; a filter and the output limit in OpenAI's words."""
    finish = _text_of(choice.get("finish_reason"))
    folded = finish.lower()
    if folded.startswith("content_filter") or folded in _FILTER_FINISHES:
        return "content_filter"
    return "length" if folded == "max_tokens" else finish or None


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _error_in_success(body: Any, choice: dict[str, Any] | None) -> dict[str, Any] | None:
    """The error inside a 200, for the whole or for its choice: such a reply does not count."""
    if isinstance(body, dict) and body.get("error"):
        return _error_of(body)
    return _error_of(choice) if choice is not None and choice.get("error") else None


def _error_of(body: Any) -> dict[str, Any]:
    """The error object of a body, whatever its shape; its `message` is a string."""
    if isinstance(body, list) and body:  # Gemini
        body = body[0]
    if isinstance(body, str):
        return {"message": "" if body.lstrip()[:1] == "<" else body[:500]}
    error = body.get("error", body) if isinstance(body, dict) else {}
    if not isinstance(error, dict):  # xAI, Ollama
        return {"message": _words_of(error), "code": body.get("code")}
    message = _words_of(error.get("message") or error.get("detail"))
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str):  # OpenRouter: the words of the provider behind it
        message = f"{message}: {raw[:_READ_CHARACTERS]}"
    return {**error, "message": message}


def _words_of(value: Any) -> str:
    """What an error says, cut; nothing if it is nested too deep to be shown."""
    try:
        return str(value or "")[:_READ_CHARACTERS]
    except RecursionError:
        return ""


def _status_of(error: dict[str, Any]) -> int:
    """The HTTP status that an error in a 200 names (OpenRouter); 200 if none."""
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 200


def _is_content_filter(status: int, error: dict[str, Any]) -> bool:
    if status >= 500:
        return False
    inner, metadata = error.get("innererror"), error.get("metadata")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    if any(isinstance(code, str) and code.lower() in _FILTER_CODES for code in codes):
        return True
    if status == 403 and isinstance(metadata, dict) and "flagged_input" in metadata:
        return True
    return status in (400, 403) and bool(_FILTER_SAID.match(error["message"]))


def _failure(status: int, headers: Mapping[str, str], error: dict[str, Any], request: Request) -> CallFailure:
    http = f"HTTP {status}{_said(error)}"
    if status in (401, 403):
        return _no_access(status, http, request)
    if status == 402 or "insufficient_quota" in (error.get("code"), error.get("type")):
        message = (
            f"The quota or balance of the account at {request.origin} is used up ({http}). Raise it, or "
            f"use another key (`{request.role}.api_key_env`)."
        )
        return CallFailure("quota", message, fatal=True)
    if 400 <= status < 600 and (refused := _refused_part(status, error["message"], http, request)):
        return refused
    if status == 404:
        return _not_found(http, request)
    if 300 <= status < 400:
        return _redirected(status, headers, request)
    return CallFailure(
        f"http_{status}",
        f"{request.origin} answered {http}.",
        retryable=status in _RETRYABLE or status >= 500,
        throttled=status in _THROTTLED,
        retry_after=_retry_after(headers),
    )


def _no_access(status: int, http: str, request: Request) -> CallFailure:
    another = f"name another variable in `{request.role}.api_key_env`"
    if not request.has_key:
        message = f"{request.origin} wants a key ({http}). Export {request.key_name}, or {another}."
    elif status == 401:
        message = (
            f"{request.origin} refused the key in {request.key_name} ({http}). Export a valid key, or "
            f"{another}."
        )
    else:
        message = (
            f"{request.origin} forbids this request ({http}): the key in {request.key_name} has no right to "
            f"{request.model}, or a firewall objects to the text. Check the key's rights, or {another}."
        )
    # A firewall forbids single requests; if that were fatal, every resumption would stop at the same sample.
    return CallFailure("bad_key" if status == 401 else "forbidden", message, fatal=status == 401)


def _refused_part(status: int, said: str, http: str, request: Request) -> CallFailure | None:
    """The failure for a server that objects to a part of the request that a setting can leave out."""
    about_images = _ABOUT_IMAGES if status in (400, 415, 422) else _NO_IMAGES
    if request.with_image and about_images.search(said):
        way_out = _WITHOUT_IMAGES.get(request.role, "leave the images out")
        message = (
            f"{request.origin} refuses a request with an image ({http}). "
            f"If {request.model} takes no images, {way_out}."
        )
        return CallFailure("images_refused", message)
    if status in (400, 422) and request.sampling.temperature is not None and _ABOUT_TEMPERATURE.search(said):
        message = (
            f"{request.origin} refuses the temperature ({http}). Leave it to the server "
            f"(`{request.role}.sampling.temperature`: null)."
        )
        return CallFailure("temperature_refused", message)
    return None


def _not_found(http: str, request: Request) -> CallFailure:
    has_path = bool(PurePosixPath(urlsplit(request.base_url).path).name)
    hint = "" if has_path else " (most servers want /v1 at its end)"
    message = (
        f"{request.base_url}{request.path} does not know the model {request.model!r}, or is not its address "
        f"({http}). Check the model's name and `{request.role}.base_url`{hint}."
    )
    return CallFailure("not_found", message, fatal=True)


def _redirected(status: int, headers: Mapping[str, str], request: Request) -> CallFailure:
    try:
        parts = urlsplit(urljoin(f"{request.base_url}{request.path}", headers.get("location", "")))
    except ValueError:
        parts = urlsplit("")
    # Without user and query, which may hold secrets.
    where = _plain(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    message = (
        f"{request.origin} redirects to {where[:_SAID_CHARACTERS]} (HTTP {status}), and a key is not sent "
        f"on. If that is the right address, use it as `{request.role}.base_url`."
    )
    return CallFailure(f"http_{status}", message)


def _said(error: dict[str, Any]) -> str:
    text = _plain(_KEY_LIKE.sub("[key]", error["message"]))
    return f": {text[:_SAID_CHARACTERS].rstrip('.')}" if text else ""


def _plain(text: str) -> str:
    """`text` on one line, without characters that a terminal or a database cannot take."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the `Retry-After` header: a number, or an HTTP date.

    A date is compared with the answer's own `Date`: this machine's clock may be wrong, or have jumped.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds: float | None = float(value)
    except ValueError:
        until, now = _timestamp(value), _timestamp(headers.get("date", ""))
        seconds = None if until is None else until - (time.time() if now is None else now)
    return seconds if seconds is not None and 0 <= seconds < float("inf") else None


def _timestamp(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
