"""From what an endpoint sent back to a reply or a failure. Answers are classified here and nowhere else.

The shapes are those of OpenAI, Azure, OpenRouter, Gemini, xAI, Qwen, Moonshot, LiteLLM, vLLM, llama.cpp and
Ollama, as their servers send them and their users report them.
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
"""Of an error's message, which a server may send as long as it likes: searching it must not take for ever."""
_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_THROTTLED: Final = frozenset({429, 503, 529})

# Gemini, Zhipu and Anthropic name the filter's reason where OpenAI says only that it stood in.
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
# Only from the start of a message: further in, a server may be quoting the dialogue that it was sent.
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
_PREFIXES: Final = {"target": "", "judge": "judge-", "moderator": "moderator-"}
"""Of the options for sampling, by who asks; others have none."""
_WITHOUT_IMAGES: Final = {
    "target": "run with --text-only",
    "judge": "leave out --judge-with-image",
    "moderator": "leave out --with-pictures, or name one that does",
}
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|or|api)[-_][A-Za-z0-9_*.-]{8,}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom; failures are worded with it."""

    base_url: str
    origin: str
    """The base URL's scheme, host and port."""
    model: str
    option: str
    """The prefix of the command's options: `target` or `judge`."""
    key_name: str
    has_key: bool
    with_image: bool
    sampling: Sampling
    path: str = "/chat/completions"
    """Behind the base URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, decoded."""

    status: int
    headers: Mapping[str, str]
    """Those of `HEADERS_READ` that it has."""
    body: Any
    """The parsed JSON, or the text where it is none."""


def parse_body(text: str) -> Any:
    """A body's JSON, or the text itself where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)  # takes what orjson refuses: half a surrogate pair, NaN
    except (ValueError, RecursionError):
        return text


def read_answer(answer: Answer, asked: Asked) -> Reply | CallFailure:
    """The reply in an answer, or why there is none."""
    if answer.status == 200:
        choice = _choice_of(answer.body)
        error = _error_in_success(answer.body, choice)
        if error is None:
            reply = _read_reply(answer.body, choice, asked)
            return _with_usage(reply, answer.body) if isinstance(reply, CallFailure) else reply
        status = _status_of(error)
    else:
        error, status = _error_of(answer.body), answer.status
    if _is_content_filter(status, error):
        return Reply(text="", blocked=True, finish_reason="content_filter")
    if status == 200:
        message = f"{asked.origin} sent an error in place of a reply{_said(error)}"
        return CallFailure("bad_reply", message, retryable=True)
    return _failure(status, answer.headers, error, asked)


def wants_completion_tokens(answer: Answer) -> bool:
    """Whether the output limit must go by its newer name, as OpenAI's newer models have it."""
    return answer.status == 400 and bool(_WANTS_COMPLETION_TOKENS.search(_error_of(answer.body)["message"]))


def refuses_logprobs(answer: Answer) -> bool:
    """Whether the server takes no request for the probabilities of tokens."""
    return answer.status in (400, 422) and "logprob" in _error_of(answer.body)["message"]


def failure_of(answer: Answer, asked: Asked) -> CallFailure:
    """Why an answer that is no success is none."""
    return _failure(answer.status, answer.headers, _error_of(answer.body), asked)


def _choice_of(body: Any) -> dict[str, Any] | None:
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) and isinstance(choice.get("message"), dict) else None


def _read_reply(body: Any, choice: dict[str, Any] | None, asked: Asked) -> Reply | CallFailure:
    if choice is None:
        return _no_reply(body, asked)
    finish = _finish_of(choice)
    if finish in _BROKEN_OFF:
        message = f"{asked.origin} broke off its reply (finish_reason {finish})"
        return CallFailure("bad_reply", message, retryable=True)
    text = _text_of(choice["message"].get("content"))
    refusal = "" if text.strip() else _text_of(choice["message"].get("refusal"))
    blocked = finish == "content_filter" or bool(refusal)
    if not blocked and not text.strip():
        return _empty(finish, asked)
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
    """The probabilities of what the first token could have been, where the server says."""
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


def _no_reply(body: Any, asked: Asked) -> CallFailure:
    where = f"Is {asked.base_url} the address of its chat API?"
    if isinstance(body, dict):
        message = f"the reply of {asked.origin} holds no choice{_said(_error_of(body))}. {where}"
    elif isinstance(body, str) and body.lstrip()[:1] == "<":
        message = f"{asked.origin} sent a web page in place of a reply. {where}"
    else:
        message = f"{asked.origin} sent something that is no JSON object in place of a reply. {where}"
    return CallFailure("bad_reply", message, retryable=True)


def _empty(finish: str | None, asked: Asked) -> CallFailure:
    if finish != "length":
        return CallFailure("empty_reply", f"the reply of {asked.origin} holds no text", retryable=True)
    prefix = _PREFIXES.get(asked.option)
    way_out = "" if prefix is None else f" Raise --{prefix}max-output-tokens."
    message = (
        f"the model used up its {asked.sampling.max_output_tokens} output tokens before it began to answer, "
        f"as thinking models do.{way_out}"
    )
    return CallFailure("empty_reply", message)


def _finish_of(choice: dict[str, Any]) -> str | None:
    """The finish reason, those for a filter and for the output limit in OpenAI's words."""
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
    """The error that stands in a 200, for the whole or for its choice: such a reply counts for nothing."""
    if isinstance(body, dict) and body.get("error"):
        return _error_of(body)
    return _error_of(choice) if choice is not None and choice.get("error") else None


def _error_of(body: Any) -> dict[str, Any]:
    """The error object of a body, in the shapes that servers send it; its `message` is a string."""
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
    """What an error says, cut; nothing where it is nested too deep to be shown."""
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


def _failure(status: int, headers: Mapping[str, str], error: dict[str, Any], asked: Asked) -> CallFailure:
    http = f"HTTP {status}{_said(error)}"
    if status in (401, 403):
        return _no_access(status, http, asked)
    if status == 402 or "insufficient_quota" in (error.get("code"), error.get("type")):
        message = (
            f"the quota or balance of the account at {asked.origin} is used up ({http}). Raise it, or name "
            f"another key with --{asked.option}-api-key-env; the same command continues."
        )
        return CallFailure("quota", message, fatal=True)
    if 400 <= status < 600 and (refused := _refused_part(status, error["message"], http, asked)):
        return refused
    if status == 404:
        return _not_found(http, asked)
    if 300 <= status < 400:
        return _redirected(status, headers, asked)
    return CallFailure(
        f"http_{status}",
        f"{asked.origin} answered {http}",
        retryable=status in _RETRYABLE or status >= 500,
        throttled=status in _THROTTLED,
        retry_after=_retry_after(headers),
    )


def _no_access(status: int, http: str, asked: Asked) -> CallFailure:
    another = f"name another variable with --{asked.option}-api-key-env"
    if not asked.has_key:
        message = f"{asked.origin} wants a key ({http}). Export {asked.key_name}, or {another}."
    elif status == 401:
        message = (
            f"{asked.origin} refused the key in {asked.key_name} ({http}). Export a valid key, or {another}."
        )
    else:
        message = (
            f"{asked.origin} forbids this request ({http}): the key in {asked.key_name} has no right to "
            f"{asked.model}, or a firewall objects to the text. Check the key's rights, or {another}."
        )
    # A firewall forbids single requests; were that fatal, every resumption would stop at the same sample.
    return CallFailure("bad_key" if status == 401 else "forbidden", message, fatal=status == 401)


def _refused_part(status: int, said: str, http: str, asked: Asked) -> CallFailure | None:
    """The failure for a server that objects to a part of the request which an option can leave out."""
    about_images = _ABOUT_IMAGES if status in (400, 415, 422) else _NO_IMAGES
    if asked.with_image and about_images.search(said):
        option = _WITHOUT_IMAGES.get(asked.option, "leave the images out")
        message = (
            f"{asked.origin} refuses a request with an image ({http}). "
            f"If the model takes no images, {option}."
        )
        return CallFailure("images_refused", message)
    if status in (400, 422) and asked.sampling.temperature is not None and _ABOUT_TEMPERATURE.search(said):
        prefix = _PREFIXES.get(asked.option)
        way_out = "" if prefix is None else f" Leave it to the model: --{prefix}temperature default."
        message = f"{asked.origin} refuses the temperature ({http}).{way_out}"
        return CallFailure("temperature_refused", message)
    return None


def _not_found(http: str, asked: Asked) -> CallFailure:
    has_path = bool(PurePosixPath(urlsplit(asked.base_url).path).name)
    hint = "" if has_path else " (most servers want /v1 at its end)"
    message = (
        f"{asked.base_url}{asked.path} does not know the model {asked.model!r}, or is not its address "
        f"({http}). Check the model's name and --{asked.option}-base-url{hint}."
    )
    return CallFailure("not_found", message, fatal=True)


def _redirected(status: int, headers: Mapping[str, str], asked: Asked) -> CallFailure:
    try:
        parts = urlsplit(urljoin(f"{asked.base_url}{asked.path}", headers.get("location", "")))
    except ValueError:
        parts = urlsplit("")
    # Without user and query, which may hold secrets.
    where = _plain(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    message = (
        f"{asked.origin} redirects to {where[:_SAID_CHARACTERS]} (HTTP {status}), and a key is not sent on. "
        f"If that is the right address, give it with --{asked.option}-base-url."
    )
    return CallFailure(f"http_{status}", message)


def _said(error: dict[str, Any]) -> str:
    text = _plain(_KEY_LIKE.sub("[key]", error["message"]))
    return f": {text[:_SAID_CHARACTERS]}" if text else ""


def _plain(text: str) -> str:
    """`text` on one line, without what a terminal or a database would choke on."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the `Retry-After` header says: a number, or an HTTP date.

    A date is held against the answer's own `Date`: this machine's clock may be wrong, or have jumped.
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
