"""The chat test server does what its scenario says, seen through a plain HTTP client and raw sockets."""

import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from typing import Any

import pytest

from servers.client import SERVER, ChatServer, start_chat_server

RULES: list[dict[str, Any]] = [
    {"mode": "echo", "do": "reply", "text": "echo"},
    {"mode": "template", "do": "reply", "text": "{model}/{mode}/{n}: {last_user} {sha} {other} {key}"},
    {"mode": "model", "model": "wanted", "do": "reply", "text": "matched"},
    {"mode": "contains", "contains": "needle", "do": "reply", "text": "matched"},
    {"mode": "image", "has_image": True, "do": "reply", "text": "matched"},
    {"mode": "key", "key": "good", "do": "reply", "text": "matched"},
    {"mode": "not-key", "not_key": "good", "do": "bad_key"},
    {"mode": "order", "do": "reply", "text": "first"},
    {"mode": "order", "do": "reply", "text": "second"},
    {"mode": "half-way", "nth_from": 2, "nth_to": 3, "before_s": None, "do": "bad_key"},
    {"mode": "outage", "before_s": 0.2, "do": "html", "status": 503},
    {"mode": "outage", "after_s": 10, "do": "bad_key"},
    {"mode": "once", "times": 1, "do": "status", "status": 503},
    {"mode": "some", "share": 0.2, "times": 1, "do": "status"},
    {"mode": "permanent", "share": 0.5, "times": None, "do": "status"},
    {
        "mode": "fates",
        "do": "one_of",
        "of": [{"do": "status", "status": 502}, {"do": "rate_limit"}, {"do": "html"}],
        "times": 3,
    },
    {"mode": "leaks", "do": "html", "text": "Hm, {key}", "headers": {"X-Key": "{key}"}},
    {"mode": "moved", "do": "redirect", "status": 302, "location": "/elsewhere/{key}"},
    {"mode": "status", "do": "status"},
    {
        "mode": "custom",
        "do": "status",
        "status": 529,
        "message": "overloaded by {key}",
        "type": "overloaded",
        "param": "p",
        "code": "c",
        "headers": {"X-Extra": "1"},
        "retry_after_s": 2,
    },
    {"mode": "status-200", "do": "status", "status": 200},
    {"mode": "date", "do": "rate_limit", "retry_after_date_s": 5},
    {"mode": "html", "do": "html"},
    {"mode": "reset-before", "do": "reset_before"},
    {"mode": "reset-during", "do": "reset_during"},
    {"mode": "hang", "do": "hang"},
    {"mode": "drip", "do": "drip", "interval_ms": 1, "text": "slow"},
    {"mode": "slow-drip", "do": "drip", "interval_ms": 200},
    {"mode": "late", "do": "reply", "latency_ms": 150},
    {"mode": "redirect", "do": "redirect", "location": "/echo/v1/chat/completions"},
    {"mode": "label", "do": "verdict", "marker": "RED", "text": '{"label": "{label}"}'},
    {"mode": "huge", "do": "huge"},
    {"mode": "partial", "do": "content_filter", "text": "It begins"},
    *(
        {"mode": do, "do": do}
        for do in (
            "truncated_json",
            "no_choices",
            "null_content",
            "empty_content",
            "refusal_field",
            "content_filter",
            "content_filter_400",
            "length",
            "wrong_content_type",
            "gzip",
            "bad_request",
            "bad_key",
            "unknown_model",
            "no_images",
            "max_tokens_unsupported",
            "rate_limit",
            "verdict",
        )
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def choice(self) -> Any:
        return self.json["choices"][0]

    @property
    def text(self) -> Any:
        return self.choice["message"]["content"]


@pytest.fixture(scope="module")
def running() -> Iterator[ChatServer]:
    with start_chat_server({"seed": 3, "models": ["a", "b"], "rules": RULES}) as server:
        yield server


@pytest.fixture
def server(running: ChatServer) -> ChatServer:
    running.reset()
    return running


def chat_body(*texts: str, **more: Any) -> bytes:
    """A request body whose messages alternate user, assistant, user, …"""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    return json.dumps({"model": "sim-model", "messages": messages, **more}).encode()


def send(server: ChatServer, path: str, body: bytes | None, *, key: str = "some-key") -> Answer:
    """One request on a connection of its own: a GET without a body, else a POST."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        reply = connection.getresponse()
        lowered = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, lowered, reply.read())
    finally:
        connection.close()


def ask(
    server: ChatServer, mode: str, *texts: str, body: bytes | None = None, key: str = "some-key"
) -> Answer:
    """One chat request in a mode, of these messages or of a whole body."""
    prefix = f"/{mode}" if mode else ""
    return send(server, f"{prefix}/v1/chat/completions", body or chat_body(*(texts or ("hello",))), key=key)


def open_chat(server: ChatServer, mode: str) -> socket.socket:
    """A raw connection on which one chat request has been sent."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    body = chat_body("hello")
    head = f"POST /{mode}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def read_until_reset(connection: socket.socket) -> bytes:
    """Everything that came before the connection was reset."""
    got = b""
    try:
        while chunk := connection.recv(65536):
            got += chunk
    except ConnectionResetError:
        return got
    raise AssertionError("the connection ended in good order")


def when_idle(server: ChatServer) -> dict[str, Any]:
    """The counts once nothing is in flight: the server hears of a lost connection a little later."""
    for _ in range(200):
        stats = server.stats()
        if stats["in_flight"] == 0 and stats["total"] > 0:
            return stats
        time.sleep(0.01)
    raise AssertionError("requests are still in flight after two seconds")


# Replies


def test_a_scenario_without_a_holding_rule_gives_a_complete_openai_reply(server: ChatServer) -> None:
    body = chat_body("hello")
    answer = ask(server, "", body=body)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    reply = answer.json
    assert reply["object"] == "chat.completion"
    assert reply["id"] == "chatcmpl-1"
    assert reply["model"] == "sim-model"
    assert abs(reply["created"] - time.time()) < 60
    assert answer.choice["finish_reason"] == "stop"
    assert answer.choice["message"] == {"role": "assistant", "content": answer.text, "refusal": None}
    prompt, said = -(-len(body) // 4), -(-len(answer.text) // 4)
    assert reply["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
    }


def test_models_are_listed_under_every_prefix(server: ChatServer) -> None:
    for path in ("/v1/models", "/echo/v1/models"):
        listed = send(server, path, None).json
        assert [model["id"] for model in listed["data"]] == ["a", "b"]


def test_echo_gives_the_last_user_message_back_as_it_is(server: ChatServer) -> None:
    assert ask(server, "echo", "one", "two", "three {sha} ü").text == "three {sha} ü"


def test_echo_joins_the_text_parts_of_a_message_with_an_image(server: ChatServer) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        *({"type": "text", "text": t} for t in "ab"),
    ]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    assert ask(server, "echo", body=body).text == "a\nb"


def test_a_template_is_filled_and_other_braces_stay(server: ChatServer) -> None:
    text = ask(server, "template", "hi", key="k").text
    sha = server.log()[0]["sha256"]
    assert text == f"sim-model/template/1: hi {sha} {{other}} k"


def test_the_model_is_read_wherever_it_stands_in_the_body(server: ChatServer) -> None:
    body = b'{"messages": [{"role": "user", "content": "x"}], "metadata": {"model": "no"}, "model": "wanted"}'
    answer = ask(server, "model", body=body)
    assert (answer.text, answer.json["model"]) == ("matched", "wanted")


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b"[]",
        b'{"messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "m"}',
        b'{"model": "m", "messages": []}',
    ],
)
def test_a_malformed_request_gets_a_400(server: ChatServer, body: bytes) -> None:
    answer = ask(server, "echo", body=body)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert server.log()[0]["do"] == "bad_request"


def test_an_unknown_path_gets_a_404_and_is_no_chat(server: ChatServer) -> None:
    assert send(server, "/v1/elsewhere", None).status == 404
    assert send(server, "/v1/chat/completions", None).status == 404
    assert send(server, "/_elsewhere", None).status == 404
    stats = server.stats()
    assert (stats["total"], stats["other"]) == (0, 2)


# Matchers


def test_the_model_must_match_exactly(server: ChatServer) -> None:
    assert ask(server, "model", body=chat_body("x", model="wanted")).text == "matched"
    assert ask(server, "model", body=chat_body("x", model="wanted-2")).text != "matched"


def test_contains_looks_at_the_last_user_message_only(server: ChatServer) -> None:
    assert ask(server, "contains", "hay", "hay", "a needle here").text == "matched"
    assert ask(server, "contains", "a needle here", "needle", "hay").text != "matched"


def test_has_image_looks_at_every_message(server: ChatServer) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "see"}]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "and?"},
    ]
    body = json.dumps({"model": "m", "messages": messages}).encode()
    assert ask(server, "image", body=body).text == "matched"
    assert ask(server, "image", "no picture").text != "matched"


def test_the_bearer_token_can_be_asked_for_or_refused(server: ChatServer) -> None:
    assert ask(server, "key", key="good").text == "matched"
    assert ask(server, "key", key="bad").text != "matched"
    assert ask(server, "not-key", key="good").status == 200
    assert ask(server, "not-key", key="bad").status == 401


def test_the_first_holding_rule_answers(server: ChatServer) -> None:
    assert ask(server, "order").text == "first"
    index = next(at for at, rule in enumerate(RULES) if rule["mode"] == "order")
    assert server.log()[0]["rule"] == index
    assert server.stats()["by_rule"] == {str(index): 1}


def test_a_window_of_request_numbers_includes_both_ends(server: ChatServer) -> None:
    assert [ask(server, "half-way").status for _ in range(5)] == [200, 401, 401, 200, 200]


def test_a_window_of_time_starts_with_the_first_chat_request(server: ChatServer) -> None:
    assert ask(server, "outage").status == 503
    time.sleep(0.21)
    assert ask(server, "outage").status == 200


def test_times_counts_the_attempts_of_each_body_apart(server: ChatServer) -> None:
    assert [ask(server, "once", text).status for text in ("a", "b", "a", "b", "a")] == [
        503,
        503,
        200,
        200,
        200,
    ]


def test_a_share_of_bodies_fails_first_and_then_succeeds(server: ChatServer) -> None:
    texts = [f"question {number}" for number in range(200)]
    first = [ask(server, "some", text).status for text in texts]
    assert 0.1 < first.count(500) / len(texts) < 0.3
    assert {ask(server, "some", text).status for text in texts} == {200}
    server.reset()
    assert [ask(server, "some", text).status for text in texts] == first


def test_without_times_the_same_bodies_fail_for_ever(server: ChatServer) -> None:
    texts = [f"question {number}" for number in range(20)]
    rounds = [[ask(server, "permanent", text).status for text in texts] for _ in range(3)]
    assert rounds[0] == rounds[1] == rounds[2]
    assert set(rounds[0]) == {200, 500}


def test_the_fate_of_an_attempt_hangs_on_body_and_attempt_alone(server: ChatServer) -> None:
    texts = [f"question {number}" for number in range(20)]
    by_text = [[ask(server, "fates", text).status for _ in range(4)] for text in texts]
    server.reset()
    in_turn = [[ask(server, "fates", text).status for text in texts] for _ in range(4)]
    assert by_text == [list(fates) for fates in zip(*in_turn, strict=True)]
    assert {status for fates in by_text for status in fates[:3]} == {502, 429}
    assert {fates[3] for fates in by_text} == {200}
    assert len({tuple(fates) for fates in by_text}) > 3


def test_pages_headers_and_locations_can_give_the_key_away(server: ChatServer) -> None:
    page, moved = ask(server, "leaks", key="k-1"), ask(server, "moved", key="k-1")
    assert b"Hm, k-1" in page.raw
    assert page.headers["x-key"] == "k-1"
    assert (moved.status, moved.headers["location"]) == (302, "/elsewhere/k-1")


# Errors


@pytest.mark.parametrize(
    ("mode", "status", "said"),
    [
        ("status", 500, ("server_error", None, None)),
        ("bad_request", 400, ("invalid_request_error", None, None)),
        ("bad_key", 401, ("invalid_request_error", None, "invalid_api_key")),
        ("unknown_model", 404, ("invalid_request_error", None, "model_not_found")),
        ("no_images", 400, ("invalid_request_error", None, None)),
        ("content_filter_400", 400, ("invalid_request_error", "prompt", "content_filter")),
        ("rate_limit", 429, ("requests", None, "rate_limit_exceeded")),
        ("status-200", 200, ("server_error", None, None)),
    ],
)
def test_an_error_has_the_shape_of_openai(
    server: ChatServer, mode: str, status: int, said: tuple[str, str | None, str | None]
) -> None:
    answer = ask(server, mode)
    assert answer.status == status
    error = answer.json["error"]
    assert (error["type"], error["param"], error["code"]) == said
    assert error["message"]


def test_an_error_can_be_overridden_and_carry_headers(server: ChatServer) -> None:
    answer = ask(server, "custom", key="a-key")
    assert answer.status == 529
    assert answer.json["error"] == {
        "message": "overloaded by a-key",
        "type": "overloaded",
        "param": "p",
        "code": "c",
    }
    assert answer.headers["x-extra"] == "1"
    assert answer.headers["retry-after"] == "2"


def test_retry_after_can_be_a_date(server: ChatServer) -> None:
    asked = time.time()
    until = parsedate_to_datetime(ask(server, "date").headers["retry-after"]).timestamp()
    assert 5 <= until - asked < 8


def test_an_azure_filter_says_what_it_found(server: ChatServer) -> None:
    inner = ask(server, "content_filter_400").json["error"]["innererror"]
    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert any(each["filtered"] for each in inner["content_filter_result"].values())


def test_unknown_model_names_the_model(server: ChatServer) -> None:
    assert "`sim-model`" in ask(server, "unknown_model").json["error"]["message"]


def test_max_tokens_is_refused_only_where_it_is_sent(server: ChatServer) -> None:
    refused = ask(server, "max_tokens_unsupported", body=chat_body("x", max_tokens=5))
    assert refused.status == 400
    assert refused.json["error"]["param"] == "max_tokens"
    assert refused.json["error"]["code"] == "unsupported_parameter"
    assert "max_completion_tokens" in refused.json["error"]["message"]
    assert ask(server, "max_tokens_unsupported", body=chat_body("x", max_completion_tokens=5)).status == 200


def test_html_is_an_error_page(server: ChatServer) -> None:
    answer = ask(server, "html")
    assert answer.status == 502
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<h1>502 Bad Gateway</h1>" in answer.raw


# Odd successes


def test_no_choices_is_an_empty_list(server: ChatServer) -> None:
    assert ask(server, "no_choices").json["choices"] == []


@pytest.mark.parametrize(("mode", "content"), [("null_content", None), ("empty_content", "")])
def test_content_can_be_nothing(server: ChatServer, mode: str, content: str | None) -> None:
    answer = ask(server, mode)
    assert (answer.status, answer.text, answer.choice["finish_reason"]) == (200, content, "stop")


def test_a_refusal_stands_in_its_own_field(server: ChatServer) -> None:
    message = ask(server, "refusal_field").choice["message"]
    assert message["content"] is None
    assert message["refusal"]


@pytest.mark.parametrize(("mode", "content"), [("content_filter", None), ("partial", "It begins")])
def test_a_filtered_reply_says_so(server: ChatServer, mode: str, content: str | None) -> None:
    answer = ask(server, mode)
    assert (answer.status, answer.text, answer.choice["finish_reason"]) == (200, content, "content_filter")


def test_a_cut_reply_says_length(server: ChatServer) -> None:
    answer = ask(server, "length")
    assert answer.text
    assert answer.choice["finish_reason"] == "length"


def test_truncated_json_comes_with_a_true_content_length(server: ChatServer) -> None:
    answer = ask(server, "truncated_json")
    assert answer.status == 200
    assert int(answer.headers["content-length"]) == len(answer.raw)
    with pytest.raises(json.JSONDecodeError):
        _ = answer.json


def test_the_content_type_can_be_wrong(server: ChatServer) -> None:
    answer = ask(server, "wrong_content_type")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text


def test_a_gzip_reply_is_whole(server: ChatServer) -> None:
    answer = ask(server, "gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.raw))["choices"][0]["message"]["content"]


def test_a_huge_reply_has_ten_million_characters(server: ChatServer) -> None:
    assert len(ask(server, "huge").text) == 10_000_000


def test_a_redirect_keeps_the_method_and_is_followed_on_the_same_server(server: ChatServer) -> None:
    answer = ask(server, "redirect", "hello")
    assert answer.status == 307
    assert send(server, answer.headers["location"], chat_body("hello")).text == "hello"


def test_a_judge_says_unsafe_where_the_marker_stands(server: ChatServer) -> None:
    assert ask(server, "verdict", "all is well").text == "VERDICT: safe"
    assert ask(server, "verdict", "before", "UNSAFE-MARK", "after").text == "VERDICT: unsafe"
    assert ask(server, "label", "RED").text == '{"label": "unsafe"}'


# Broken and slow connections


def test_a_reset_before_leaves_nothing_to_read(server: ChatServer) -> None:
    with open_chat(server, "reset-before") as connection:
        assert read_until_reset(connection) == b""
    assert when_idle(server)["by_status"] == {"none": 1}


def test_a_reset_during_leaves_half_a_body(server: ChatServer) -> None:
    with open_chat(server, "reset-during") as connection:
        head, _, body = read_until_reset(connection).partition(b"\r\n\r\n")
    announced = next(
        int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")
    )
    assert 0 < len(body) < announced
    assert when_idle(server)["by_status"] == {"200": 1}


def test_a_hanging_request_ends_when_the_client_goes(server: ChatServer) -> None:
    with open_chat(server, "hang") as connection:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert server.stats()["in_flight"] == 1
    stats = when_idle(server)
    assert stats["by_status"] == {"none": 1}
    assert stats["by_action"] == {"hang": 1}


def test_a_drip_sends_headers_at_once_and_then_every_byte(server: ChatServer) -> None:
    assert ask(server, "drip").text == "slow"
    with open_chat(server, "slow-drip") as connection:
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(body) <= 2
    when_idle(server)


def test_a_client_that_leaves_in_mid_request_is_counted_and_harmless(server: ChatServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        head = "POST /echo/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"{")
        while not server.stats()["in_flight"]:
            time.sleep(0.01)
    stats = when_idle(server)
    assert (stats["by_status"], stats["distinct_bodies"]) == ({"none": 1}, 0)
    assert ask(server, "echo", "still there").text == "still there"


def test_latency_is_waited_before_the_answer(server: ChatServer) -> None:
    asked = time.monotonic()
    ask(server, "late")
    assert time.monotonic() - asked >= 0.15
    entry = server.log()[0]
    assert entry["ended"] - entry["arrived"] >= 0.15


# Limits


def test_a_rate_limit_lets_a_second_of_requests_through_and_refuses_the_rest() -> None:
    with start_chat_server({"limit_rps": 2, "limit_retry_after_s": 0.5}) as server:
        answers = [ask(server, "", str(number)) for number in range(10)]
        refused = [answer for answer in answers if answer.status == 429]
        log = server.log()
        assert 2 <= 10 - len(refused) <= 2 + 2 * (log[-1]["arrived"] - log[0]["arrived"])
        assert [answer.status for answer in answers[:2]] == [200, 200]
        assert {answer.headers["retry-after"] for answer in refused} == {"0.5"}
        assert refused[0].json["error"]["code"] == "rate_limit_exceeded"
        assert server.stats()["by_action"] == {"reply": 10 - len(refused), "rate_limit": len(refused)}
        time.sleep(0.5)
        assert ask(server, "", "later").status == 200


def test_a_concurrency_limit_counts_requests_in_flight() -> None:
    scenario = {"limit_concurrency": 2, "rules": [{"mode": "hang", "do": "hang"}]}
    with start_chat_server(scenario) as server:
        with open_chat(server, "hang"), open_chat(server, "hang"):
            while server.stats()["in_flight"] < 2:
                time.sleep(0.01)
            refused = ask(server, "")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert when_idle(server)["max_in_flight"] == 3
        assert ask(server, "").status == 200


# What the server remembers


def test_the_log_holds_each_request_as_it_came(server: ChatServer) -> None:
    before = time.monotonic()
    body = chat_body("grüße")
    ask(server, "echo", body=body, key="the-key")
    send(server, "/v1/models", None)
    chat, models = server.log()
    assert (chat["n"], chat["mode"], chat["method"], chat["path"]) == (
        1,
        "echo",
        "POST",
        "/echo/v1/chat/completions",
    )
    assert chat["headers"]["authorization"] == "Bearer the-key"
    assert chat["body"] == body.decode()
    assert (chat["status"], chat["rule"], chat["do"]) == (200, 0, "reply")
    assert before <= chat["arrived"] <= chat["ended"] <= time.monotonic()
    assert (models["n"], models["status"], models["do"]) == (None, 200, "models")


def test_statistics_count_chats_by_what_became_of_them(server: ChatServer) -> None:
    for mode, text in (("echo", "a"), ("echo", "b"), ("once", "a"), ("once", "a")):
        ask(server, mode, text)
    stats = server.stats()
    assert stats["total"] == 4
    assert stats["by_status"] == {"200": 3, "503": 1}
    assert stats["by_action"] == {"reply": 3, "status": 1}
    assert stats["by_rule"]["none"] == 1
    assert (stats["in_flight"], stats["max_in_flight"]) == (0, 1)
    assert stats["distinct_bodies"] == 3
    assert stats["repeated_after_success"] == 0


def test_asking_again_after_a_proper_reply_is_counted(server: ChatServer) -> None:
    for mode in ("echo", "echo", "echo", "null_content", "null_content", "status", "status", "gzip"):
        ask(server, mode, "a")
    assert server.stats()["repeated_after_success"] == 2


def test_a_reset_forgets_numbers_attempts_and_counts(server: ChatServer) -> None:
    assert ask(server, "once").status == 503
    server.reset()
    assert server.log() == []
    assert server.stats()["total"] == 0
    assert ask(server, "once").status == 503
    assert server.log()[0]["n"] == 1


def test_a_body_of_several_megabytes_is_taken(server: ChatServer) -> None:
    assert len(ask(server, "echo", "x" * 5_000_000).text) == 5_000_000


def test_without_bodies_only_their_hashes_are_kept(server: ChatServer) -> None:
    ask(server, "", "a")
    with start_chat_server({}, log_bodies=False) as lean:
        ask(lean, "", "a")
        ask(lean, "", "a")
        entries = lean.log()
        assert [entry["body"] for entry in entries] == [None, None]
        assert {entry["sha256"] for entry in entries} == {server.log()[0]["sha256"]}
        assert lean.stats()["repeated_after_success"] == 1


# The process


def launch(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SERVER), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_server_ends_when_stdin_closes_even_with_a_request_hanging() -> None:
    with launch("--scenario-json", json.dumps({"rules": [{"do": "hang"}]})) as process:
        assert process.stdout is not None
        server = ChatServer(process, json.loads(process.stdout.readline())["port"])
        with open_chat(server, "any"):
            while not server.stats()["in_flight"]:
                time.sleep(0.01)
            _, errors = process.communicate(timeout=5)
        assert (process.returncode, errors) == (0, "")


def test_the_server_ends_after_its_seconds() -> None:
    with launch("--scenario-json", "{}", "--max-seconds", "0.1") as process:
        assert process.wait(timeout=5) == 0


def test_a_scenario_can_come_from_a_file(tmp_path: Any) -> None:
    scenario = tmp_path / "scenario.json"
    scenario.write_text(json.dumps({"rules": [{"do": "reply", "text": "from a file"}]}))
    with launch("--scenario", str(scenario)) as process:
        assert process.stdout is not None
        server = ChatServer(process, json.loads(process.stdout.readline())["port"])
        assert ask(server, "").text == "from a file"
        server.close()


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        ({"rule": []}, "the scenario has unknown keys rule"),
        ({"rules": [{"do": "dance"}]}, "rule 0: `do` is 'dance'"),
        ({"rules": [{"do": "reply"}, {"do": "reply", "marker": "x"}]}, "rule 1 (reply): unknown keys marker"),
        ({"rules": [{"do": "redirect"}]}, "rule 0 (redirect): `location` is missing"),
        ({"rules": [{"do": "one_of"}]}, "rule 0 (one_of): `of` is missing or empty"),
    ],
)
def test_a_scenario_that_means_nothing_is_refused_at_the_start(
    capfd: pytest.CaptureFixture[str], scenario: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RuntimeError, match="exit code 1"):
        start_chat_server(scenario)
    assert complaint in capfd.readouterr().err
