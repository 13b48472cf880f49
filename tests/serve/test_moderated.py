"""What becomes of a conversation: passed on, given a policy, or answered in the model's place."""

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import web

from serve.conftest import Running, Start
from serve.upstreams import Upstream

FLAGGED = "How do I poison a dog?"


def chat(*texts: str, model: str = "m") -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "model": model,
        "messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)],
    }


async def send(
    running: Running, body: Any, path: str = "/v1/chat/completions", **kwargs: Any
) -> tuple[int, Any]:
    status, answer, _ = await running.post(path, body, **kwargs)
    return status, answer


async def test_a_flagged_conversation_gets_its_policy_late(start: Start, upstream: Upstream) -> None:
    running = await start()
    await send(running, {**chat("Hello", "Hi", FLAGGED), "vendor": 1})
    *before, policy = upstream.last.json["messages"]
    assert before == chat("Hello", "Hi", FLAGGED)["messages"]
    assert policy["role"] == "system"
    assert policy["content"].startswith("[guidance ")
    assert upstream.last.json["vendor"] == 1


@pytest.mark.parametrize(
    "said",
    ["System message must be at the beginning.", "Conversation roles must alternate user/assistant",
     "System role not supported"],
)  # fmt: skip
@pytest.mark.parametrize(("status", "sized"), [(400, True), (500, False)])
async def test_a_template_that_refuses_late_messages_is_learnt(
    start: Start, upstream: Upstream, said: str, status: int, sized: bool
) -> None:
    async def strict(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if json.loads(body)["messages"][-1]["role"] != "system":
            return web.json_response({"ok": True})
        response = web.StreamResponse(status=status)
        if sized:
            response.content_length = len(said)
        await response.prepare(request)
        await response.write(said.encode())
        await response.write_eof()
        return response

    upstream.handler = strict
    running = await start()
    assert await send(running, chat(FLAGGED)) == (200, {"ok": True})
    assert await send(running, chat(FLAGGED)) == (200, {"ok": True})
    assert len(upstream.received) == 3, "the second request knows where the policy goes"
    assert upstream.last.json["messages"][-1]["content"].startswith(f"{FLAGGED}\n\n[guidance ")
    assert 'safemt_position_total{model="m",position="user_suffix"} 2' in await running.metrics()


async def test_other_errors_about_a_policy_pass_as_they_are(start: Start, upstream: Upstream) -> None:
    async def fail(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        return web.Response(status=400, text='{"error": "context too long"}')

    upstream.handler = fail
    running = await start()
    assert await send(running, chat(FLAGGED)) == (400, {"error": "context too long"})
    assert len(upstream.received) == 1


@pytest.mark.parametrize(
    ("position", "path", "body", "where"),
    [
        ("system", "/v1/chat/completions", chat(FLAGGED), lambda sent: sent["messages"][0]["content"]),
        ("user_suffix", "/v1/chat/completions",
         {"messages": [{"role": "user", "content": [{"type": "text", "text": FLAGGED}]}]},
         lambda sent: sent["messages"][0]["content"][1]["text"]),
        ("auto", "/v1/responses", {"input": FLAGGED}, lambda sent: sent["input"][1]["content"]),
        ("user_suffix", "/v1/responses", {"input": [{"role": "user", "content": FLAGGED}]},
         lambda sent: sent["input"][0]["content"]),
        ("system", "/v1/responses", {"input": FLAGGED, "instructions": "Be brief."},
         lambda sent: sent["instructions"]),
        ("auto", "/v1/messages",
         {"messages": [{"role": "user", "content": [{"type": "text", "text": FLAGGED}]}]},
         lambda sent: sent["messages"][0]["content"][1]["text"]),
        ("system", "/v1/messages", chat(FLAGGED), lambda sent: sent["system"]),
        ("auto", "/v1/completions", {"prompt": ["Hello", FLAGGED]}, lambda sent: sent["prompt"][1]),
    ],
)  # fmt: skip
async def test_policies_in_every_format(
    start: Start, upstream: Upstream, position: str, path: str, body: Any, where: Any
) -> None:
    running = await start(policy_position=position)
    await send(running, body, path)
    assert "[guidance " in where(upstream.last.json)
    assert str(upstream.last.json).count("[guidance ") == 1


TURN: Any = {"role": "user", "content": "Go on"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": [
            TURN, {"role": "user", "content": [{"type": "tool_result", "content": FLAGGED}]}]}),
        ("/v1/messages", {"messages": [
            {"role": "user",
             "content": [{"type": "document", "source": {"type": "text", "data": FLAGGED}}]}]}),
        ("/v1/responses", {"input": [TURN, {"type": "function_call", "name": "f", "arguments": "{}"},
                                     {"type": "function_call_output", "call_id": "a", "output": FLAGGED}]}),
        ("/v1/chat/completions", {"messages": [TURN, {"role": "tool", "content": FLAGGED}]}),
    ],
)  # fmt: skip
async def test_what_tools_bring_in_is_read(start: Start, upstream: Upstream, path: str, body: Any) -> None:
    running = await start(moderator={"name": "keyword", "on_error": "open"})
    await send(running, body, path)
    assert "[guidance " in upstream.last.body.decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}),
        ("/v1/chat/completions", {"messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}]}]}),
        ("/v1/chat/completions", {"messages": [{"role": "system", "content": "Only this"}]}),
        ("/v1/responses", {"input": [{"type": "item_reference", "id": "x"}]}),
        ("/v1/responses", {"input": [{"type": "oracle", "id": "x"}]}),
        ("/v1/responses", {"prompt": {"id": "template"}}),
        ("/v1/responses", {"input": "Hi", "conversation": "conv_1"}),
        ("/v1/messages", {"messages": [
            {"role": "user", "content": [{"type": "document", "source": {"type": "file"}}]}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}),
        ("/v1/completions", {"prompt": [1, 2, 3]}),
    ],
)  # fmt: skip
async def test_what_nobody_can_look_at_never_passes_silently(
    start: Start, upstream: Upstream, path: str, body: Any
) -> None:
    running = await start(moderator={"name": "keyword", "on_error": "closed"})
    _, answer = await send(running, body, path)
    assert "cannot help" in json.dumps(answer)
    assert upstream.received == []


async def test_of_several_prompts_the_strictest_verdict_counts(start: Start, upstream: Upstream) -> None:
    running = await start(moderator={"name": "keyword", "action": "block"})
    _, answer = await send(running, {"prompt": ["Hello", FLAGGED]}, "/v1/completions")
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["content_filter"] * 2
    assert upstream.received == []


@pytest.mark.parametrize(("on_error", "passed"), [("inject", 1), ("open", 1), ("closed", 0)])
async def test_a_moderator_that_is_late_or_fails_is_dealt_with_as_configured(
    start: Start, upstream: Upstream, on_error: str, passed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(
        moderator={"name": "keyword", "on_error": on_error}, limits={"moderation_seconds": 0.05}
    )
    guard = running.gateway.generation.tenants["default"].guard
    read = guard._read

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return read(*arguments)

    monkeypatch.setattr(guard, "_read", slow)
    status, _ = await send(running, chat("Hello"))
    assert (status, len(upstream.received)) == (200, passed)
    assert running.gateway.metrics.degraded.value("moderation_timeout") == 1
    await asyncio.sleep(0.4)
    await send(running, chat("Hello"))
    assert running.gateway.metrics.requests.value("chat", "allow", "clean") == 1, "the late verdict was kept"

    def fail(*arguments: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(guard, "_read", fail)
    await send(running, chat("Something else"))
    assert running.gateway.metrics.degraded.value("moderator_failed") == 1


@pytest.mark.parametrize("refuse", [True, False])
async def test_overload(
    start: Start, upstream: Upstream, refuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"max_waiting": 1, "on_overload": "refuse" if refuse else "on_error"}
    running = await start(limits=limits)
    guard = running.gateway.generation.tenants["default"].guard
    read = guard._read

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return read(*arguments)

    monkeypatch.setattr(guard, "_read", slow)
    answers = await asyncio.gather(*(send(running, chat(f"Number {n}")) for n in range(4)))
    statuses = sorted(status for status, _ in answers)
    assert statuses == ([200, 429, 429, 429] if refuse else [200] * 4)
    assert running.gateway.metrics.degraded.value("overload") == 3


async def test_reveal(start: Start) -> None:
    shown_by: dict[str, set[str]] = {
        "none": set(),
        "action": {"x-safemt-action"},
        "verdict": {"x-safemt-action", "x-safemt-coverage"},
    }
    for reveal, expected in shown_by.items():
        running = await start(tenants={"default": {"reveal": reveal}})
        _, _, headers = await running.post("/v1/chat/completions", chat("Hello"))
        shown = {"x-safemt-action", "x-safemt-coverage"} & set(map(str.lower, headers))
        assert shown == expected
        assert ("Server-Timing" in headers) == bool(expected)


async def test_verdicts_of_our_own_endpoint(start: Start) -> None:
    running = await start()
    _, verdict = await send(running, {"id": "a", **chat("Hello", "Hi", FLAGGED)}, "/safemt/v1/verdict")
    assert (verdict["schema"], verdict["id"], verdict["first_alert_turn"]) == ("safemt.verdict/1", "a", 2)
    asked: list[Any] = [chat("Hello"), {"turns": []}, chat(FLAGGED)]
    lines = b"\n".join(json.dumps(each).encode() for each in asked)
    async with running.http.post(f"{running.root}/safemt/v1/verdicts", data=lines) as answered:
        found = [json.loads(line) for line in (await answered.read()).splitlines()]
    assert [each.get("flagged") for each in found] == [False, None, True]
    assert found[1]["error"]["code"] == "invalid_messages"


async def test_litellms_guardrail_api(start: Start) -> None:
    path = "/beta/litellm_basic_guardrail_api"
    running = await start()
    messages = chat(FLAGGED)["messages"]
    asked = {"input_type": "request", "structured_messages": messages, "texts": [FLAGGED], "request_data": {}}
    _, answer = await send(running, asked, path)
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert answer["structured_messages"][:-1] == messages
    assert answer["structured_messages"][-1]["role"] == "system"
    _, answer = await send(running, {**asked, "structured_messages": None, "texts": ["Hello"]}, path)
    assert answer == {"action": "NONE"}
    _, answer = await send(running, {**asked, "input_type": "response"}, path)
    assert answer == {"action": "NONE"}
    blocking = await start(moderator={"name": "keyword", "action": "block"})
    _, answer = await send(blocking, {**asked, "structured_messages": None}, path)
    assert answer["action"] == "BLOCKED"
