from collections.abc import Iterator
from typing import Any

import pytest

from servers.client import ChatServer, start_chat_server


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the developer's environment is none of the tests' business."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="session")
def chat_server() -> Iterator[ChatServer]:
    """One server for all tests of targets; each mode answers by the action of the same name."""
    actions: dict[str, dict[str, Any]] = {
        "echo": {"do": "reply", "text": "echo"},
        "cookie": {"do": "reply", "headers": {"Set-Cookie": "a=b"}},
        "length": {"do": "length", "text": "It begins and"},
        "partial": {"do": "content_filter", "text": "It begins"},
        "long": {"do": "huge", "size": 9_000_000},
        "nearly": {"do": "huge", "size": 8_000_000},
        "slow": {"do": "drip", "interval_ms": 30},
        "wait": {"do": "rate_limit", "retry_after_s": 7.5},
        "wait-until": {"do": "rate_limit", "retry_after_date_s": 60},
        "nonsense": {"do": "rate_limit", "headers": {"Retry-After": "soon"}},
        "negative": {"do": "rate_limit", "headers": {"Retry-After": "-5"}},
        "endless": {"do": "rate_limit", "headers": {"Retry-After": "inf"}},
        "quota": {"do": "rate_limit", "code": "insufficient_quota", "message": "You exceeded your quota."},
        "error-200": {"do": "status", "status": 200, "message": "upstream broke"},
        "page-200": {"do": "html", "status": 200},
        "page-404": {"do": "html", "status": 404},
        "key-echo": {"do": "reply", "text": "You sent {key}."},
        "key-error": {"do": "bad_key", "message": "Wrong key: {key}."},
        **{f"http-{code}": {"do": "status", "status": code, "message": "no"} for code in STATUSES},
    }
    modes = [{"mode": mode, **action} for mode, action in actions.items()]
    with start_chat_server({"rules": modes + [{"mode": name, "do": name} for name in PLAIN]}) as server:
        yield server


STATUSES = (402, 403, 408, 409, 413, 415, 422, 425, 451, 500, 501, 502, 503, 504, 520, 529)
PLAIN = (
    "content_filter",
    "refusal_field",
    "null_content",
    "empty_content",
    "no_choices",
    "gzip",
    "wrong_content_type",
    "truncated_json",
    "drip",
    "reset_before",
    "reset_during",
    "hang",
    "html",
    "bad_request",
    "bad_key",
    "unknown_model",
    "no_images",
    "max_tokens_unsupported",
    "content_filter_400",
    "rate_limit",
)


@pytest.fixture
def server(chat_server: ChatServer) -> ChatServer:
    chat_server.reset()
    return chat_server
