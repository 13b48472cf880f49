"""An OpenAI-compatible chat-completions server that misbehaves on request, run as its own process.

    python chat_server.py --scenario FILE | --scenario-json TEXT [--max-seconds 300] [--log-bodies on|off]

It binds 127.0.0.1 on a free port, prints one line `{"port": N}` when ready, and exits when stdin closes or
after `--max-seconds`. Tests start it with `servers.client.start_chat_server`.

    POST [/MODE]/v1/chat/completions    GET [/MODE]/v1/models    GET /_log    GET /_stats    POST /_reset

A scenario is a JSON object; every key is optional:

    seed                 number that draws the bodies a `share` takes (default 0)
    models               names that /v1/models lists (default ["sim-model"])
    limit_rps            more chat requests per second than this (bursts: one second's worth) get a 429
    limit_concurrency    more chat requests at once than this get a 429
    limit_retry_after_s  the Retry-After of those 429 (default 1)
    rules                list of rules; the first whose matchers all hold answers. None holds: a plain `reply`

A rule is an object with `do` (the action), matchers, and the action's own keys. A matcher that is null or
absent always holds:

    mode                 the path's MODE (a rule without it holds in every mode)
    model                the request's model, exactly
    contains             a part of the last user message's text
    has_image            whether any message holds an image
    key, not_key         the bearer token is this one; is not this one
    nth_from, nth_to     the chat request's number since the start, both ends included, from 1
    after_s, before_s    seconds since the first chat request (from `after_s` on, until `before_s`)
    share                this share of distinct bodies, drawn by hash: the same bodies every time
    times                only the first so many attempts of each distinct body

Keys of every action: `latency_ms` (wait first), `headers` (object), `retry_after_s` (Retry-After in seconds),
`retry_after_date_s` (Retry-After as an HTTP date so many seconds ahead). Texts, messages, headers and
locations are templates: {last_user} {sha} {model} {n} {mode} {key}. Actions, with their own keys in brackets:

    one_of [of]               one of the rules in the list `of`, without matchers, drawn by hash of body and
                              attempt: the same fate for every attempt, whatever else happens in between
    reply [text]              a correct completion; text "echo" gives the last user message back
    verdict [text, marker]    a judge: {label} is "unsafe" if any message holds `marker`, else "safe"
    length [text]             finish_reason length
    content_filter [text]     finish_reason content_filter, content null unless `text` is given
    refusal_field [text]      content null and a `refusal`
    null_content, empty_content, no_choices    a 200 with nothing in it
    huge [size]               a text of `size` characters (default 10,000,000)
    gzip [text]               a correct completion, gzip-encoded
    wrong_content_type [text, content_type]    a correct completion said to be text/plain
    truncated_json [text]     half a completion, with a Content-Length that agrees
    drip [text, interval_ms]  headers at once, then one byte each `interval_ms` (default 100)
    reset_before              TCP reset before any byte
    reset_during [text]       TCP reset in the middle of the body
    hang                      no answer until the client goes
    html [status, text]       a proxy's HTML error page (default 502)
    redirect [location, status]    a redirect (default 307)
    status, bad_request, bad_key, unknown_model, no_images, max_tokens_unsupported, content_filter_400,
    rate_limit [status, message, type, param, code]    an OpenAI error body; a key overrides the action's own.
                              `status: 200` sends it as a success; `status` alone is a 500.
                              `max_tokens_unsupported` holds only for a request with `max_tokens`

Usage is an estimate that a test can compute: a token per 4 bytes of request body or reply text, rounded up.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import math
import os
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import web

CHAT_PATH: Final = "/v1/chat/completions"
MODELS_PATH: Final = "/v1/models"
PLAIN_TEXT: Final = "A plain and harmless reply."
TEMPLATE_NAME: Final = re.compile(r"\{(last_user|sha|model|n|mode|key)\}")
LEADING_MODEL: Final = re.compile(rb'\s*\{\s*"model"\s*:\s*"([^"\\]*)"')
CUT_AFTER_S: Final = 0.02
"""How long a half-sent body gets to reach the client before the reset discards it."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an action says that answers with an OpenAI error object."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


AZURE_FILTER: Final = {
    "status": 400,
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {
            "hate": {"filtered": False, "severity": "safe"},
            "self_harm": {"filtered": False, "severity": "safe"},
            "violence": {"filtered": True, "severity": "medium"},
        },
    },
}
ERRORS: Final[Mapping[str, ErrorBody]] = {
    "status": ErrorBody(500, "The server had an error while processing your request.", "server_error"),
    "bad_request": ErrorBody(400, "The request is malformed."),
    "bad_key": ErrorBody(401, "Incorrect API key provided.", code="invalid_api_key"),
    "unknown_model": ErrorBody(
        404, "The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    ),
    "no_images": ErrorBody(400, "This model does not support image input."),
    "max_tokens_unsupported": ErrorBody(
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        param="max_tokens",
        code="unsupported_parameter",
    ),
    "content_filter_400": ErrorBody(
        400,
        "The response was filtered due to the prompt triggering the content management policy.",
        param="prompt",
        code="content_filter",
        more=AZURE_FILTER,
    ),
    "rate_limit": ErrorBody(429, "Rate limit reached.", "requests", code="rate_limit_exceeded"),
}
ACTION_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "reply": frozenset({"text"}),
    "verdict": frozenset({"text", "marker"}),
    "length": frozenset({"text"}),
    "content_filter": frozenset({"text"}),
    "refusal_field": frozenset({"text"}),
    "null_content": frozenset(),
    "empty_content": frozenset(),
    "no_choices": frozenset(),
    "huge": frozenset({"size"}),
    "gzip": frozenset({"text"}),
    "wrong_content_type": frozenset({"text", "content_type"}),
    "truncated_json": frozenset({"text"}),
    "drip": frozenset({"text", "interval_ms"}),
    "reset_before": frozenset(),
    "reset_during": frozenset({"text"}),
    "hang": frozenset(),
    "html": frozenset({"status", "text"}),
    "redirect": frozenset({"location", "status"}),
    "one_of": frozenset({"of"}),
    **dict.fromkeys(ERRORS, frozenset({"status", "message", "type", "param", "code"})),
}
PROPER: Final = frozenset({"reply", "verdict", "length", "content_filter", "refusal_field", "gzip", "drip"})
"""Actions whose 200 settles a request: a client that has it has no reason to ask again."""

Json = dict[str, Any]


class ScenarioError(ValueError):
    """A scenario that means nothing; the message says where."""


class MalformedError(ValueError):
    """A chat request that a real server would refuse as malformed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a scenario; the module's docstring says what each key means."""

    do: str
    mode: str | None = None
    model: str | None = None
    contains: str | None = None
    has_image: bool | None = None
    key: str | None = None
    not_key: str | None = None
    nth_from: int = 1
    nth_to: float = math.inf
    after_s: float = 0.0
    before_s: float = math.inf
    share: float = 1.0
    times: int | None = None
    latency_ms: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    retry_after_date_s: float | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    """The action's own keys."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the server does; the module's docstring says what each key means."""

    seed: int = 0
    models: tuple[str, ...] = ("sim-model",)
    limit_rps: float = math.inf
    limit_concurrency: float = math.inf
    limit_retry_after_s: float = 1.0
    rules: tuple[Rule, ...] = ()


def read_rule(raw: Json, index: int) -> Rule:
    """One rule from its JSON object; `ScenarioError` for an action or key that does not exist."""
    do = str(raw.get("do"))
    if do not in ACTION_KEYS:
        raise ScenarioError(f"rule {index}: `do` is {do!r}; it must be one of {', '.join(ACTION_KEYS)}")
    own = {key: raw[key] for key in raw.keys() & ACTION_KEYS[do]}
    general = {key: value for key, value in raw.items() if key not in own and value is not None}
    unknown = general.keys() - {each.name for each in fields(Rule) if each.name != "own"}
    if unknown:
        raise ScenarioError(f"rule {index} ({do}): unknown keys {', '.join(sorted(unknown))}")
    if do == "redirect" and "location" not in own:
        raise ScenarioError(f"rule {index} (redirect): `location` is missing")
    if do == "one_of":
        own["of"] = tuple(read_rule(each, index) for each in own.get("of", ()))
        if not own["of"]:
            raise ScenarioError(f"rule {index} (one_of): `of` is missing or empty")
    return Rule(own=own, **general)


def read_scenario(raw: Json) -> Scenario:
    """A scenario from its JSON object; `ScenarioError` for anything unknown in it."""
    unknown = raw.keys() - {each.name for each in fields(Scenario)}
    if unknown:
        raise ScenarioError(f"the scenario has unknown keys {', '.join(sorted(unknown))}")
    rules = tuple(read_rule(each, index) for index, each in enumerate(raw.get("rules", ())))
    return Scenario(**{**raw, "models": tuple(raw.get("models", ("sim-model",))), "rules": rules})


@dataclass(slots=True)
class Record:
    """One request as it was seen. Times are `time.monotonic()`: one clock for all processes of a machine."""

    method: str
    path: str
    headers: Mapping[str, str]
    arrived: float
    n: int | None = None
    """The chat request's number, from 1; None for any other request."""
    mode: str = ""
    body: bytes | None = None
    sha: str = ""
    status: int | None = None
    """The status sent; None where the client got none."""
    ended: float | None = None
    rule: int | None = None
    do: str = ""
    retry_after: str | None = None
    """The Retry-After sent."""
    settled: bool = False
    """Whether a proper reply was sent to its end."""

    def as_json(self) -> Json:
        return {
            "n": self.n,
            "mode": self.mode,
            "method": self.method,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": None if self.body is None else self.body.decode("utf-8", "replace"),
            "sha256": self.sha,
            "status": self.status,
            "arrived": self.arrived,
            "ended": self.ended,
            "rule": self.rule,
            "do": self.do,
            "retry_after": self.retry_after,
        }


class Call:
    """A chat request as rules and actions see it. The body is parsed only when one of them asks."""

    def __init__(self, record: Record, body: bytes) -> None:
        self.record = record
        self.body = body

    @cached_property
    def parsed(self) -> Json:
        try:
            parsed = json.loads(self.body)
        except ValueError as error:
            raise MalformedError(f"We could not parse the JSON body of your request: {error}") from None
        if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), str):
            raise MalformedError("You must provide a model parameter.")
        messages = parsed.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise MalformedError("'messages' must be a list of at least one message.")
        return parsed

    @cached_property
    def model(self) -> str:
        # Every client writes the model first; taking it from there saves parsing 80 KB of picture.
        leading = LEADING_MODEL.match(self.body)
        return leading[1].decode() if leading else str(self.parsed["model"])

    @property
    def key(self) -> str:
        return self.record.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def last_user(self) -> str:
        users = [message for message in self.parsed["messages"] if message.get("role") == "user"]
        return message_text(users[-1]) if users else ""

    @property
    def all_text(self) -> str:
        return "\n".join(message_text(message) for message in self.parsed["messages"])

    @property
    def has_image(self) -> bool:
        return any(
            isinstance(part, dict) and part.get("type") == "image_url"
            for message in self.parsed["messages"]
            if isinstance(message.get("content"), list)
            for part in message["content"]
        )

    def fill(self, template: str) -> str:
        """`template` with its {names} replaced; other braces stay as they are."""
        return TEMPLATE_NAME.sub(lambda found: self.named(found[1]), template)

    def named(self, name: str) -> str:
        match name:
            case "sha":
                return self.record.sha
            case "n":
                return str(self.record.n)
            case "mode":
                return self.record.mode
            case _:
                return str(getattr(self, name))


def message_text(message: Json) -> str:
    """The text of one message, its text parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


class State:
    """What the server has seen since its start or the last reset."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.log: list[Record] = []
        self.chats = 0
        self.first_chat: float | None = None
        self.in_flight = 0
        self.max_in_flight = 0
        self.attempts: defaultdict[tuple[int, str, str], int] = defaultdict(int)
        self.allowance = max(1.0, scenario.limit_rps)
        self.allowance_at = 0.0

    def arrive(self, record: Record) -> bool:
        """Count a chat request in; False if a limit turns it away."""
        scenario = self.scenario
        self.chats += 1
        record.n = self.chats
        if self.first_chat is None:
            self.first_chat = self.allowance_at = record.arrived
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if self.in_flight > scenario.limit_concurrency:
            return False
        if scenario.limit_rps == math.inf:
            return True
        gained = (record.arrived - self.allowance_at) * scenario.limit_rps
        self.allowance = min(max(1.0, scenario.limit_rps), self.allowance + gained)
        self.allowance_at = record.arrived
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True

    def choose(self, call: Call) -> tuple[int | None, Rule]:
        """The first rule that holds, with its index, or a plain reply."""
        for index, rule in enumerate(self.scenario.rules):
            if not self.holds(rule, call) or not self.drawn(rule, index, call):
                continue
            identity = (index, call.record.mode, call.record.sha)
            self.attempts[identity] += 1
            if rule.times is not None and self.attempts[identity] > rule.times:
                continue
            if rule.do != "one_of":
                return index, rule
            draw = self.draw(f"{index}:{self.attempts[identity]}:{call.record.sha}")
            return index, rule.own["of"][int(draw * len(rule.own["of"]))]
        return None, Rule(do="reply")

    def holds(self, rule: Rule, call: Call) -> bool:
        """Whether the matchers hold that look only at this request. The cheap ones come first."""
        record = call.record
        assert record.n is not None
        assert self.first_chat is not None
        return (
            (rule.mode is None or rule.mode == record.mode)
            and rule.nth_from <= record.n <= rule.nth_to
            and rule.after_s <= record.arrived - self.first_chat < rule.before_s
            and (rule.key is None or rule.key == call.key)
            and (rule.not_key is None or rule.not_key != call.key)
            and (rule.model is None or rule.model == call.model)
            and (rule.contains is None or rule.contains in call.last_user)
            and (rule.has_image is None or rule.has_image == call.has_image)
            and (rule.do != "max_tokens_unsupported" or "max_tokens" in call.parsed)
        )

    def drawn(self, rule: Rule, index: int, call: Call) -> bool:
        """Whether this body is among the rule's share; rules draw independently of one another."""
        if rule.share >= 1:
            return True
        return self.draw(f"{index}:{call.record.sha}") < rule.share

    def draw(self, name: str) -> float:
        """A number from 0 to below 1, the same for the same name and seed."""
        digest = hashlib.sha256(f"{self.scenario.seed}:{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    def stats(self) -> Json:
        """Counts over the chat requests; the work is done here so that no request pays for it."""
        chats = [record for record in self.log if record.n is not None]
        ended = [record for record in chats if record.ended is not None]
        settled: dict[tuple[str, str], float] = {}
        for record in ended:
            if record.settled and record.ended is not None:
                identity = (record.mode, record.sha)
                settled[identity] = min(record.ended, settled.get(identity, math.inf))
        return {
            "total": len(chats),
            "other": len(self.log) - len(chats),
            "by_status": Counter(str(record.status or "none") for record in ended),
            "by_rule": Counter("none" if record.rule is None else str(record.rule) for record in ended),
            "by_action": Counter(record.do for record in ended),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "distinct_bodies": len({(record.mode, record.sha) for record in chats if record.sha}),
            "repeated_after_success": sum(
                record.arrived > settled.get((record.mode, record.sha), math.inf) for record in chats
            ),
        }


def completion(rule: Rule, call: Call) -> bytes:
    """The body of a 200 in the shape of OpenAI and vLLM, correct or empty as the action has it."""
    own = rule.own
    text: str | None = own.get("text", PLAIN_TEXT)
    refusal: str | None = None
    finish_reason = "stop"
    match rule.do:
        case "verdict":
            label = "unsafe" if own.get("marker", "UNSAFE-MARK") in call.all_text else "safe"
            text = own.get("text", "VERDICT: {label}").replace("{label}", label)
        case "length":
            finish_reason = "length"
        case "content_filter":
            finish_reason, text = "content_filter", own.get("text")
        case "refusal_field":
            text, refusal = None, call.fill(own.get("text", "I cannot help with that."))
        case "null_content":
            text = None
        case "empty_content":
            text = ""
        case "huge":
            text = "x" * own.get("size", 10_000_000)
    if text is not None:
        text = call.last_user if text == "echo" else call.fill(text)
    prompt_tokens = math.ceil(len(call.body) / 4)
    completion_tokens = math.ceil(len((text or refusal or "").encode()) / 4)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": refusal},
        "logprobs": None,
        "finish_reason": finish_reason,
    }
    body = {
        "id": f"chatcmpl-{call.record.n}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.model,
        "choices": [] if rule.do == "no_choices" else [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
    return json.dumps(body).encode()


def error_response(rule: Rule, call: Call) -> web.Response:
    """An OpenAI error body; the rule's own keys override what the action says."""
    said, own = ERRORS[rule.do], rule.own
    error = {
        "message": call.fill(own.get("message", said.message)),
        "type": own.get("type", said.type),
        "param": own.get("param", said.param),
        "code": own.get("code", said.code),
        **said.more,
    }
    return web.json_response({"error": error}, status=own.get("status", said.status))


def whole_response(rule: Rule, call: Call) -> web.Response:
    """The answer of every action that sends one whole HTTP response."""
    own = rule.own
    if rule.do in ERRORS:
        return error_response(rule, call)
    if rule.do == "redirect":
        return web.Response(status=own.get("status", 307), headers={"Location": call.fill(own["location"])})
    if rule.do == "html":
        status = HTTPStatus(own.get("status", 502))
        title = f"{status.value} {status.phrase}"
        text = call.fill(own.get("text", title))
        page = f"<html><head><title>{title}</title></head><body><h1>{text}</h1></body></html>"
        return web.Response(status=status, text=page, content_type="text/html")
    body, content_type, headers = completion(rule, call), "application/json", {}
    match rule.do:
        case "gzip":
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        case "wrong_content_type":
            content_type = own.get("content_type", "text/plain")
        case "truncated_json":
            body = body[: len(body) // 2]
    return web.Response(body=body, content_type=content_type, headers=headers)


def extra_headers(rule: Rule, call: Call) -> dict[str, str]:
    """The headers a rule adds to its action's own."""
    headers = {name: call.fill(value) for name, value in rule.headers.items()}
    if rule.retry_after_s is not None:
        headers["Retry-After"] = f"{rule.retry_after_s:g}"
    if rule.retry_after_date_s is not None:
        # An HTTP date has whole seconds; rounding up keeps the wait at least as long as asked for.
        headers["Retry-After"] = formatdate(math.ceil(time.time() + rule.retry_after_date_s), usegmt=True)
    return headers


def reset_connection(request: web.BaseRequest) -> None:
    """Drop the connection with a TCP RST instead of an orderly end."""
    if request.transport is None:
        return
    # Lingering for zero seconds is what makes the kernel send RST.
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def until_gone() -> None:
    """Wait until the client's connection ends, which cancels the handler."""
    await asyncio.get_running_loop().create_future()


async def stream(request: web.BaseRequest, rule: Rule, call: Call) -> web.StreamResponse:
    """The actions that send a correct completion in pieces: `drip` and `reset_during`."""
    body = completion(rule, call)
    response = web.StreamResponse(headers=extra_headers(rule, call))
    response.content_type = "application/json"
    response.content_length = len(body)
    call.record.status = response.status
    await response.prepare(request)
    if rule.do == "reset_during":
        await response.write(body[: len(body) // 2])
        await asyncio.sleep(CUT_AFTER_S)
        reset_connection(request)
        await until_gone()
    for at in range(len(body)):
        await response.write(body[at : at + 1])
        await asyncio.sleep(rule.own.get("interval_ms", 100) / 1000)
    await response.write_eof()
    return response


class ChatServer:
    """The request handler and what it remembers."""

    def __init__(self, scenario: Scenario, *, log_bodies: bool) -> None:
        self.scenario = scenario
        self.log_bodies = log_bodies
        self.state = State(scenario)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of any path."""
        path = request.path
        if path.startswith("/_"):
            return self.control(request.method, path)
        state = self.state
        record = Record(request.method, path, request.headers, time.monotonic())
        state.log.append(record)
        try:
            if request.method == "POST" and path.endswith(CHAT_PATH):
                record.mode = path.removesuffix(CHAT_PATH).strip("/")
                return await self.chat(request, state, record)
            if request.method == "GET" and path.endswith(MODELS_PATH):
                record.mode = path.removesuffix(MODELS_PATH).strip("/")
                record.do = "models"
                listed = [{"id": name, "object": "model", "created": 0} for name in self.scenario.models]
                response = web.json_response({"object": "list", "data": listed})
            else:
                record.do = "not_found"
                error = {"message": f"Unknown request URL: {request.method} {path}.", "code": "unknown_url"}
                response = web.json_response({"error": error}, status=404)
            record.status = response.status
            return response
        finally:
            record.ended = time.monotonic()

    async def chat(self, request: web.BaseRequest, state: State, record: Record) -> web.StreamResponse:
        """Choose the rule for one chat request and do what it says."""
        admitted = state.arrive(record)
        try:
            body = await request.content.read()
            record.sha = hashlib.sha256(body).hexdigest()
            if self.log_bodies:
                record.body = body
            call = Call(record, body)
            rule = Rule(do="rate_limit", retry_after_s=self.scenario.limit_retry_after_s)
            try:
                if admitted:
                    record.rule, rule = state.choose(call)
                record.do = rule.do
                response = await self.answer(request, rule, call)
            except MalformedError as error:
                rule = Rule(do="bad_request", own={"message": str(error)})
                record.do, record.rule = rule.do, None
                response = await self.answer(request, rule, call)
            record.settled = rule.do in PROPER
            return response
        finally:
            state.in_flight -= 1

    async def answer(self, request: web.BaseRequest, rule: Rule, call: Call) -> web.StreamResponse:
        """Do a rule's action; returns when the last byte is handed to the system."""
        if rule.latency_ms:
            await asyncio.sleep(rule.latency_ms / 1000)
        if rule.do in {"drip", "reset_during"}:
            return await stream(request, rule, call)
        if rule.do == "reset_before":
            reset_connection(request)
        if rule.do in {"hang", "reset_before"}:
            await until_gone()
        response = whole_response(rule, call)
        response.headers.update(extra_headers(rule, call))
        call.record.status = response.status
        call.record.retry_after = response.headers.get("Retry-After")
        await response.prepare(request)
        await response.write_eof()
        return response

    def control(self, method: str, path: str) -> web.Response:
        """The server's own pages, which are neither logged nor counted."""
        match method, path:
            case "GET", "/_log":
                return web.json_response([record.as_json() for record in self.state.log])
            case "GET", "/_stats":
                return web.json_response(self.state.stats())
            case "POST", "/_reset":
                self.state = State(self.scenario)
                return web.json_response({})
            case _:
                return web.json_response({"error": f"no such page: {method} {path}"}, status=404)


def await_closed_stdin(loop: asyncio.AbstractEventLoop, closed: asyncio.Event) -> None:
    """Read stdin to its end, then tell the loop. Runs in a thread: not every kind of stdin can be polled."""
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(closed.set)


async def serve(scenario: Scenario, *, log_bodies: bool, max_seconds: float) -> None:
    """Serve until stdin closes or `max_seconds` have passed."""
    loop = asyncio.get_running_loop()
    chat_server = ChatServer(scenario, log_bodies=log_bodies)
    # Cancelling the handler of a client that has gone is what ends `hang` and frees its place in the counts.
    protocol = web.Server(chat_server.handle, handler_cancellation=True, access_log=None)
    listener = await loop.create_server(protocol, "127.0.0.1", 0, backlog=4096)
    closed = asyncio.Event()
    threading.Thread(target=await_closed_stdin, args=(loop, closed), daemon=True).start()
    sys.stdout.write(json.dumps({"port": listener.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    try:
        async with asyncio.timeout(max_seconds):
            await closed.wait()
    except TimeoutError:
        sys.stderr.write(f"chat_server: its {max_seconds:g} seconds are over\n")


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible chat server for tests.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--scenario", type=Path, help="a JSON file with the scenario")
    source.add_argument("--scenario-json", help="the scenario itself")
    parser.add_argument("--max-seconds", type=float, default=300.0)
    parser.add_argument("--log-bodies", choices=("on", "off"), default="on")
    arguments = parser.parse_args()
    text = arguments.scenario_json or arguments.scenario.read_text(encoding="utf-8")
    try:
        scenario = read_scenario(json.loads(text))
    except ValueError as error:
        sys.exit(f"chat_server: {error}")
    asyncio.run(serve(scenario, log_bodies=arguments.log_bodies == "on", max_seconds=arguments.max_seconds))


if __name__ == "__main__":
    main()
