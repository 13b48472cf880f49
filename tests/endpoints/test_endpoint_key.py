"""Keys and addresses: what is refused, and that a key is never repeated."""

import traceback
from typing import Any
from urllib.parse import quote

import pytest

from endpoints.wire import HELLO, ask, completion, http, open_endpoint, wire_server
from safemt.core.errors import CallError, UsageError
from safemt.judges.llm import LLMJudge
from safemt.judges.rubric import Routing
from safemt.targets.openai import OpenAITarget
from servers.client import ChatServer

CANARY = "canary/key+1234567890="


def as_escapes(form: str) -> bytes:
    """The key with each character written as an escape of that form."""
    return "".join(form % ord(char) for char in CANARY).encode()


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CANARY_KEY", CANARY)
    return CANARY


async def everything_seen(base_url: str) -> str:
    """All that a caller can get hold of after one call."""
    endpoint = open_endpoint(base_url, api_key_env="CANARY_KEY", timeout=0.5)
    seen: list[Any] = [endpoint, endpoint.complete]
    try:
        seen.append(await endpoint.complete(HELLO))
    except CallError as error:
        origins = [error.__cause__, error.__context__]
        seen += [error, error.failure, *origins, *traceback.format_exception(error)]
    await endpoint.close()
    target, judge = OpenAITarget(endpoint), LLMJudge(endpoint, routing=Routing.SCENARIO, with_image=False)
    seen += [target, target.identity, judge, judge.identity]
    return "\n".join(f"{each!r} {each}" for each in seen)


@pytest.mark.parametrize("mode", ["key-echo", "key-error"])
async def test_a_server_that_echoes_the_key_does_not_get_it_into_the_store(
    server: ChatServer, canary: str, mode: str
) -> None:
    seen = await everything_seen(server.mode_url(mode))
    assert server.log()[0]["headers"]["authorization"] == f"Bearer {canary}"
    assert canary not in seen
    assert "[key]" in seen


@pytest.mark.parametrize(
    "answer",
    [
        http(completion({"content": f"You said {CANARY}"}, model=f"m {CANARY}", choice_finish_reason=CANARY)),
        http(completion({"content": None, "refusal": CANARY})),
        http(completion({"content": [{"type": "text", "text": CANARY}]})),
        http(completion({"content": "text"}).__repr__().replace("text", CANARY).replace("'", '"').encode()),
        http(b'{"error":{"message":"You said %s"}}' % CANARY.replace("/", "\\/").encode(), status=400),
        http({"error": {"message": "x" * 290 + CANARY}}, status=400),
        http({"error": {"message": CANARY, "code": CANARY, "metadata": {"raw": CANARY}}}, status=401),
        http({"error": CANARY}, status=403),
        http({"detail": CANARY}),
        http(CANARY.encode(), status=500),
        http(b"<html>" + CANARY.encode()),
        http({}, status=307, headers=[("Location", f"http://{CANARY}@h.example/{CANARY}?key={CANARY}")]),
        http({}, status=429, headers=[("Retry-After", CANARY)]),
        http(b'{"choices":[{"message":{"content":"%s"}}]}' % as_escapes("\\u%04x")),
        http(b'{"error":{"metadata":{"raw":"%s"}}}' % as_escapes("\\\\u%04X"), status=400),
        http(b'{"error":"%s"}' % as_escapes("&#%d;"), status=400),
        http(b'{"error":"%s"}' % as_escapes("&#x%X;"), status=400),
        http({}, status=307, headers=[("Location", f"http://h.example/{quote(CANARY, safe='')}")]),
        http({}, status=307, headers=[("Location", f"http://h.example/{as_escapes('%%%02x').decode()}")]),
        f"HTTP/1.1 200 OK\r\nX-Key: {CANARY}\r\n: {CANARY}\r\n\r\n".encode(),
        f"HTTP/1.1 {CANARY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 {CANARY}\r\nContent-Length: {CANARY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Encoding: {CANARY}\r\nContent-Length: 1\r\n\r\nx".encode(),
    ],
)
async def test_no_answer_whatever_gets_the_key_back_out(canary: str, answer: bytes) -> None:
    async with wire_server(answer) as wire:
        seen = await everything_seen(wire.base_url)
        assert canary.encode() in wire.requests[0]
    assert canary not in seen
    assert "canary" not in seen.replace("CANARY_KEY", "")


@pytest.mark.parametrize("mode", ["reset_before", "reset_during", "truncated_json", "wait", "hang"])
async def test_no_failure_holds_the_key(server: ChatServer, canary: str, mode: str) -> None:
    assert canary not in await everything_seen(server.mode_url(mode))


@pytest.mark.parametrize("placeholder", ["EMPTY", "none", "anything", "a", "token"])
async def test_a_placeholder_for_a_key_does_not_change_replies(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, placeholder: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", placeholder)
    assert (await ask(server.mode_url("key-echo"))).text == f"You sent {placeholder}."


# Refused before any call


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://user:topsecret@host/v1", "a user, a password or a query"),
        ("http://topsecret@host/v1", "a user, a password or a query"),
        ("http://host/v1?api-key=topsecret", "a user, a password or a query"),
        ("http://host/v1?", "a user, a password or a query"),
        ("http://host/v1#topsecret", "a user, a password or a query"),
        ("user:topsecret@host", "a user, a password or a query"),
        ("", "must be an address"),
        ("topsecret", "must be an address"),
        ("host:8000/v1", "must be an address"),
        ("ftp://host/v1", "must be an address"),
        ("file:///etc/passwd", "must be an address"),
        ("http://", "must be an address"),
        ("http:///v1", "must be an address"),
        ("http://:8000/v1", "must be an address"),
        ("http://[::1/v1", "must be an address"),
        ("http://host:99999/v1", "must be an address"),
        ("http://host:0/v1", "must be an address"),
        ("http://host:port/v1", "must be an address"),
        ("http://a..b/v1", "must be an address"),
        (f"http://{'a' * 70}.example/v1", "must be an address"),
        ("http://ho st/v1", "must be an address"),
        ("http://host/v1\n", "must be an address"),
        ("http://host/\x00", "must be an address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_endpoint(url, role="judge")
    assert (caught.value.code, caught.value.fields) == ("bad_base_url", {"setting": "judge.base_url"})
    assert why in str(caught.value)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base_url", "origin"),
    [
        ("https://host", "https://host", "https://host"),
        ("https://host/", "https://host", "https://host"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://h.example/a/v1/chat/completions/", "https://h.example/a/v1", "https://h.example"),
        ("http://münchen.example/v1", "http://münchen.example/v1", "http://münchen.example"),
    ],
)
def test_an_address_is_taken_in_every_usual_form(url: str, base_url: str, origin: str) -> None:
    endpoint = open_endpoint(url)
    assert (endpoint.base_url, endpoint.origin) == (base_url, origin)


def test_without_an_address_it_is_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-mine")
    assert open_endpoint(None, model="gpt-x").base_url == "https://api.openai.com/v1"


def test_a_missing_key_says_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        open_endpoint(None, model="gpt-x", role="judge")
    assert (caught.value.code, caught.value.fields) == ("key_not_set", {"role": "judge", "model": "gpt-x"})
    assert "OPENAI_API_KEY" in str(caught.value)


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_a_named_variable_that_is_empty_is_a_missing_key_also_for_a_server_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TEAM_KEY", value)
    with pytest.raises(UsageError, match="TEAM_KEY"):
        open_endpoint("http://127.0.0.1:1/v1", api_key_env="TEAM_KEY")


@pytest.mark.parametrize("key", ["sk-proj-topsecret", "gsk_topsecret", "topsecret=", "0topsecret"])
def test_a_key_given_in_place_of_its_variable_is_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="variable is not set") as caught:
        open_endpoint("http://127.0.0.1:1/v1", api_key_env=key)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["top\nsecret", "top secret", "Bearer topsecret", "topsécret", "top\x7fsecret", 'top"secret', "t\\s"],
)
def test_a_key_that_cannot_be_one_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TEAM_KEY", key)
    with pytest.raises(UsageError) as caught:
        open_endpoint("http://127.0.0.1:1/v1", api_key_env="TEAM_KEY")
    assert (caught.value.code, caught.value.fields) == ("bad_key", {"variable": "TEAM_KEY"})
    assert "secret" not in str(caught.value)
