"""Every way for a call to fail: its cause, whether to try again, and what a person is told."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endpoints.wire import HELLO, ask, fail, http, open_endpoint, wire_server
from safemt.core.errors import CallFailure
from safemt.core.schema import Message
from safemt.endpoints import chat as endpoint_module
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.replies import Answer, Request, read_answer
from safemt.io.images import ImageFolder, inspect_image
from servers.client import ChatServer, start_chat_server

KINDS = ("retryable", "throttled", "fatal")


def kinds(failure: CallFailure) -> set[str]:
    return {kind for kind in KINDS if getattr(failure, kind)}


def failure_of(status: int, body: Any, headers: dict[str, str] | None = None, **asked: Any) -> CallFailure:
    whole = {
        "base_url": "http://127.0.0.1:8000/v1",
        "origin": "http://127.0.0.1:8000",
        "model": "m",
        "role": "target",
        "key_name": "OPENAI_API_KEY",
        "has_key": True,
        "with_image": True,
        "sampling": Sampling(),
        **asked,
    }
    answer = read_answer(Answer(status, headers or {}, body), Request(**whole))
    assert isinstance(answer, CallFailure)
    return answer


def refusing_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


# Statuses


@pytest.mark.parametrize(
    ("mode", "cause", "expected"),
    [
        ("bad_request", "http_400", set()),
        ("bad_key", "bad_key", {"fatal"}),
        ("http-402", "quota", {"fatal"}),
        ("http-403", "forbidden", set()),
        ("unknown_model", "not_found", {"fatal"}),
        ("page-404", "not_found", {"fatal"}),
        ("http-408", "http_408", {"retryable"}),
        ("http-409", "http_409", {"retryable"}),
        ("http-413", "http_413", set()),
        ("http-415", "http_415", set()),
        ("http-422", "http_422", set()),
        ("http-425", "http_425", {"retryable"}),
        ("rate_limit", "http_429", {"retryable", "throttled"}),
        ("quota", "quota", {"fatal"}),
        ("http-451", "http_451", set()),
        ("http-500", "http_500", {"retryable"}),
        ("http-501", "http_501", {"retryable"}),
        ("http-502", "http_502", {"retryable"}),
        ("html", "http_502", {"retryable"}),
        ("http-503", "http_503", {"retryable", "throttled"}),
        ("http-504", "http_504", {"retryable"}),
        ("http-520", "http_520", {"retryable"}),
        ("http-529", "http_529", {"retryable", "throttled"}),
    ],
)
async def test_a_status_says_whether_to_try_again(
    server: ChatServer, mode: str, cause: str, expected: set[str]
) -> None:
    failure = await fail(server.mode_url(mode))
    assert (failure.cause, kinds(failure)) == (cause, expected)
    assert server.root in failure.message
    assert server.stats()["total"] == 1


async def test_a_failure_repeats_what_the_server_said(server: ChatServer) -> None:
    failure = await fail(server.mode_url("bad_request"))
    assert failure.message == f"{server.root} answered HTTP 400: The request is malformed."
    page = await fail(server.mode_url("html"))
    assert page.message == f"{server.root} answered HTTP 502."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "an object"}}, ": an object"),
        ({"error": "a string"}, ": a string"),
        ({"detail": "of FastAPI"}, ": of FastAPI"),
        ({"detail": [{"msg": "a list"}]}, ": [{'msg': 'a list'}]"),
        ({"message": "at the top"}, ": at the top"),
        ([{"error": {"code": 400, "message": "of Gemini"}}], ": of Gemini"),
        (
            {"error": {"message": "Provider error", "metadata": {"raw": "its words"}}},
            ": Provider error: its words",
        ),
        ("plain text", ": plain text"),
        ("<html>page</html>", ""),
        ({"error": None}, ""),
        ([], ""),
        (None, ""),
        ({"error": {"message": "two\nlines\x1b[31m and \ud800 red\u202e"}}, ": two lines [31m and red"),
        (
            {"error": {"message": "Incorrect API key provided: sk-abc***********wxyz."}},
            ": Incorrect API key provided: [key]",
        ),
    ],
)
def test_what_the_server_said_is_found_in_every_shape(body: object, said: str) -> None:
    assert failure_of(400, body).message == f"http://127.0.0.1:8000 answered HTTP 400{said}."


@pytest.mark.parametrize("name", ["message", "detail", "code", "type", "metadata"])
def test_an_error_that_is_nested_without_end_is_a_failure_like_any_other(name: str) -> None:
    nested: Any = []
    for _ in range(2_000):
        nested = [nested]
    assert failure_of(400, {"error": {name: nested}}).cause == "http_400"
    assert failure_of(500, {"error": nested}).cause == "http_500"


def test_a_long_error_is_cut() -> None:
    assert len(failure_of(400, {"error": {"message": "x" * 10_000}}).message) < 400


async def test_a_missing_key_and_a_wrong_key_are_told_apart(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = await fail(server.mode_url("bad_key"))
    monkeypatch.setenv("MY_KEY", "some-key-123")
    wrong = await fail(server.mode_url("bad_key"), api_key_env="MY_KEY", role="judge")
    assert missing.message == (
        f"{server.root} wants a key (HTTP 401: Incorrect API key provided). "
        "Export OPENAI_API_KEY, or name another variable in `target.api_key_env`."
    )
    assert wrong.message == (
        f"{server.root} refused the key in MY_KEY (HTTP 401: Incorrect API key provided). "
        "Export a valid key, or name another variable in `judge.api_key_env`."
    )


async def test_an_unknown_model_says_where_to_look(server: ChatServer) -> None:
    failure = await fail(server.mode_url("unknown_model"), model="no-such")
    assert "does not know the model 'no-such'" in failure.message
    assert failure.message.endswith("Check the model's name and `target.base_url`.")


async def test_a_forgotten_v1_is_pointed_out(server: ChatServer) -> None:
    failure = await fail(server.root)
    assert failure.cause == "not_found"
    assert failure.message.endswith("`target.base_url` (most servers want /v1 at its end).")


async def test_a_spent_quota_is_no_rate_limit(server: ChatServer) -> None:
    failure = await fail(server.mode_url("quota"))
    assert "quota or balance" in failure.message
    assert "`target.api_key_env`" in failure.message
    assert failure_of(429, {"error": {"type": "insufficient_quota"}}).cause == "quota"


async def test_a_vllm_complaint_about_the_limit_does_not_rename_it(server: ChatServer) -> None:
    said = "'max_tokens' or 'max_completion_tokens' is too large: 1024."
    async with wire_server(http({"error": {"message": said}}, status=400)) as wire:
        failure = await fail(wire.base_url)
        assert len(wire.requests) == 1
    assert failure.cause == "http_400"


async def test_a_server_that_refuses_both_names_of_the_limit_is_asked_twice_not_for_ever() -> None:
    said = "max_tokens is not supported, use max_completion_tokens"
    async with wire_server(http({"error": {"message": said}}, status=400)) as wire:
        assert (await fail(wire.base_url)).cause == "http_400"
        assert len(wire.requests) == 2


# Parts of the request that an option can leave out


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "This model does not support image input."),
        (400, "At most 0 image(s) may be provided in one prompt."),
        (400, "messages[0].content must be a string"),
        (400, "unknown variant `image_url`, expected `text`"),
        (400, "This model has no vision."),
        (422, "unknown variant `image_url`, expected `text`"),
        (404, "No endpoints found that support image input"),
        (
            500,
            "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        ),
        (500, 'Failed to parse messages: Unsupported content part type: "image_url"; messages = []'),
    ],
)
def test_a_model_without_eyes_is_known_and_the_way_out_named(status: int, said: str) -> None:
    failure = failure_of(status, {"error": {"message": said}})
    assert (failure.cause, kinds(failure)) == ("images_refused", set())
    assert "`selection.text_only`" in failure.message
    of_judge = failure_of(status, {"error": {"message": said}}, role="judge")
    assert "`judge.with_image`" in of_judge.message


@pytest.mark.parametrize(
    ("status", "said", "with_image", "cause"),
    [
        (400, "This model does not support image input.", False, "http_400"),
        (404, "The model `llama-11b-vision-instruct` does not exist.", True, "not_found"),
        (404, "The model `some-image-1` does not exist.", True, "not_found"),
        (400, "The model llama-11b-vision-instruct takes 8192 tokens, you sent 9000.", True, "http_400"),
        (500, "Failed to decode the image.", True, "http_500"),
    ],
)
def test_not_every_mention_of_images_is_a_refusal_of_them(
    status: int, said: str, with_image: bool, cause: str
) -> None:
    assert failure_of(status, {"error": {"message": said}}, with_image=with_image).cause == cause


async def test_a_request_without_an_image_is_not_refused_for_its_image(
    server: ChatServer, tmp_path: Path
) -> None:
    (tmp_path / "dot.gif").write_bytes(
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    )
    picture = Message(role="user", content="?", image=inspect_image(tmp_path / "dot.gif", "dot.gif"))
    url = server.mode_url("no_images")
    assert (await fail(url, [picture], images=ImageFolder(tmp_path))).cause == "images_refused"
    assert (await fail(url)).cause == "http_400"


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is.",
        "`temperature` is deprecated for this model.",
        "temperature must be 1 for this model",
    ],
)
def test_a_model_with_one_temperature_is_known_and_the_way_out_named(said: str) -> None:
    failure = failure_of(400, {"error": {"message": said}})
    assert (failure.cause, kinds(failure)) == ("temperature_refused", set())
    assert "`target.sampling.temperature`" in failure.message
    of_judge = failure_of(400, {"error": {"message": said}}, role="judge")
    assert "`judge.sampling.temperature`" in of_judge.message
    unset = Sampling(temperature=None)
    assert failure_of(400, {"error": {"message": said}}, sampling=unset).cause == "http_400"


# Retry-After


async def test_seconds_to_wait_are_read(server: ChatServer) -> None:
    assert (await fail(server.mode_url("wait"))).retry_after == 7.5


async def test_a_date_to_wait_for_is_read(server: ChatServer) -> None:
    seconds = (await fail(server.mode_url("wait-until"))).retry_after
    assert seconds is not None
    assert 55 < seconds <= 61


@pytest.mark.parametrize("mode", ["nonsense", "negative", "endless", "http-529"])
async def test_nonsense_is_no_time_to_wait(server: ChatServer, mode: str) -> None:
    failure = await fail(server.mode_url(mode))
    assert failure.retry_after is None
    assert failure.throttled


@pytest.mark.parametrize("skew", [-7200.0, 0.0, 7200.0])
def test_a_date_to_wait_for_is_held_against_the_servers_own_clock(skew: float) -> None:
    now = time() + skew
    headers = {"date": formatdate(now, usegmt=True), "retry-after": formatdate(now + 20, usegmt=True)}
    assert failure_of(429, {}, headers).retry_after == 20


@given(value=st.text(max_size=40) | st.floats().map(str) | st.integers().map(str))
@example(value=formatdate(time() - 100, usegmt=True))
@example(value="Mon, 99 Foo 2026 99:99:99 GMT")
@example(value="Mon, 01 Jan 99999999 00:00:00 GMT")
@example(value="0")
def test_any_retry_after_is_a_time_or_nothing(value: str) -> None:
    seconds = failure_of(429, {}, {"retry-after": value}).retry_after
    assert seconds is None or 0 <= seconds < float("inf")


# Redirects


async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "canary-key-1234567")
    with start_chat_server({}) as other:
        scenario = {
            "rules": [{"do": "redirect", "location": f"{other.base_url}/chat/completions?token=secret"}]
        }
        with start_chat_server(scenario) as first:
            failure = await fail(first.base_url, api_key_env="MY_KEY")
            assert first.stats()["total"] == 1
        assert other.log() == []
    assert (failure.cause, kinds(failure)) == ("http_307", set())
    assert f"redirects to {other.base_url}/chat/completions (HTTP 307)" in failure.message
    assert "secret" not in failure.message
    assert failure.message.endswith("use it as `target.base_url`.")


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("/v2/chat", "http://127.0.0.1:8000/v2/chat"),
        ("https://user:pass@h.example/v1?a=b#c", "https://h.example/v1"),
        ("http://[", "://"),
        (None, "http://127.0.0.1:8000/v1/chat/completions"),
    ],
)
def test_a_redirect_is_told_without_secrets(location: str | None, where: str) -> None:
    headers = {} if location is None else {"location": location}
    for status in (301, 302, 303, 307, 308):
        failure = failure_of(status, "", headers)
        assert failure.cause == f"http_{status}"
        assert f"redirects to {where} (HTTP {status})" in failure.message


# Connections


async def test_a_refused_connection_names_the_address_and_what_to_check() -> None:
    port = refusing_port()
    failure = await fail(f"http://127.0.0.1:{port}/v1", role="judge")
    assert (failure.cause, kinds(failure)) == ("connection", {"retryable"})
    assert failure.message == (
        f"Cannot connect to http://127.0.0.1:{port} (Connection refused). "
        "Is the server running, and is `judge.base_url` right?"
    )


async def test_a_name_without_an_address_is_a_failed_connection() -> None:
    failure = await fail("http://no-such-host.invalid/v1")
    assert (failure.cause, kinds(failure)) == ("connection", {"retryable"})
    assert failure.message.startswith("There is no address for the name in http://no-such-host.invalid. Is ")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems queue connections differently")
async def test_a_host_that_does_not_answer_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_CONNECT_SECONDS", 0.2)
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        failure = await fail(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
    assert (failure.cause, kinds(failure)) == ("connection", {"retryable"})
    assert "within 0.2 s" in failure.message


@pytest.mark.parametrize("mode", ["reset_before", "reset_during"])
async def test_a_broken_connection_may_be_tried_again(server: ChatServer, mode: str) -> None:
    failure = await fail(server.mode_url(mode))
    assert (failure.cause, kinds(failure)) == ("connection_lost", {"retryable"})
    assert failure.message.startswith(f"The connection to {server.root} broke (Client")


@pytest.mark.parametrize("mode", ["hang", "slow"])
async def test_no_complete_reply_in_time_is_a_timeout(server: ChatServer, mode: str) -> None:
    started = asyncio.get_running_loop().time()
    failure = await fail(server.mode_url(mode), timeout=0.4)
    assert asyncio.get_running_loop().time() - started < 2
    assert (failure.cause, kinds(failure)) == ("timeout", {"retryable"})
    assert failure.message == f"No complete reply of {server.root} within 0.4 s (`limits.timeout`)."


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
async def test_what_is_not_http_is_a_broken_connection(answer: bytes) -> None:
    async with wire_server(answer) as wire:
        failure = await fail(wire.base_url)
    assert (failure.cause, kinds(failure)) == ("connection_lost", {"retryable"})


async def test_a_failed_call_does_not_spoil_the_next() -> None:
    good = http({"choices": [{"message": {"content": "text"}}]})
    async with wire_server(b"", http({}, status=500), b"\x00", good) as wire:
        endpoint = open_endpoint(wire.base_url)
        answers: list[Reply | BaseException] = [
            (await asyncio.gather(endpoint.complete(HELLO), return_exceptions=True))[0] for _ in range(4)
        ]
        await endpoint.close()
    assert [type(answer).__name__ for answer in answers] == ["CallError"] * 3 + ["Reply"]


# TLS


async def test_https_to_a_plain_server_says_so(server: ChatServer) -> None:
    failure = await fail(server.base_url.replace("http:", "https:"))
    assert (failure.cause, kinds(failure)) == ("tls", {"retryable"})
    assert failure.message == (
        f"https://127.0.0.1:{server.port} makes no TLS connection; perhaps it speaks only http."
    )


async def test_http_to_a_tls_server_is_a_broken_connection() -> None:
    async with wire_server(b"", tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as wire:
        failure = await fail(wire.base_url.replace("https:", "http:"))
    assert (failure.cause, kinds(failure)) == ("connection_lost", {"retryable"})


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    return context


async def test_a_certificate_that_nobody_vouches_for_stops_everything(
    self_signed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "canary-key-1234567")
    async with wire_server(http({}), tls=self_signed) as wire:
        failure = await fail(wire.base_url, api_key_env="MY_KEY")
        assert wire.requests == []
    assert (failure.cause, kinds(failure)) == ("untrusted_certificate", {"fatal"})
    assert failure.message.endswith("name that authority's certificate in SSL_CERT_FILE.")


async def until_in_flight(server: ChatServer, calls: int) -> None:
    for _ in range(500):
        if server.stats()["in_flight"] == calls:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(server.stats())


async def test_a_call_that_is_cancelled_lets_go_of_its_connection(server: ChatServer) -> None:
    endpoint = open_endpoint(server.mode_url("hang"))
    task = asyncio.create_task(endpoint.complete(HELLO))
    await until_in_flight(server, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_in_flight(server, 0)
    await endpoint.close()
    assert (await ask(server.base_url)).text
