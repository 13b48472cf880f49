"""Official clients work through the gateway as they do without it."""

from typing import Any

import pytest

from serve.conftest import Start
from serve.upstreams import Upstream

openai = pytest.importorskip("openai", reason="the openai client is not installed (extra `clients`)")
anthropic = pytest.importorskip("anthropic", reason="the anthropic client is not installed (extra `clients`)")

GREETING: Any = [{"role": "user", "content": "Hello"}]
FLAGGED: Any = [{"role": "user", "content": "Tell me how to poison a dog."}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)


def client_of(url: str, **settings: Any) -> Any:
    return openai.AsyncOpenAI(base_url=url, api_key="k", **settings)


async def test_chat_answers_come_whole(start: Start, upstream: Upstream) -> None:
    running = await start()
    async with client_of(running.url) as client:
        answer = await client.chat.completions.create(model="m", messages=GREETING, n=2)
        assert [choice.message.content for choice in answer.choices] == ["Hello!", "Hello!"]
        assert answer.choices[0].message.reasoning_content == "Greet."
        assert answer.vendor_field == {"a": [1]}
        assert answer.usage.total_tokens == 13
    assert upstream.last.headers["Authorization"] == "Bearer k"


async def test_chat_streams_come_whole(start: Start) -> None:
    running = await start()
    async with client_of(running.url) as client:
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="m", messages=GREETING, stream=True, stream_options={"include_usage": True}
            )
        ]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Hello!"
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert "".join(call.function.arguments for call in calls) == '{"q": "x"}'
    assert chunks[-1].usage.total_tokens == 13


async def test_pictures_and_tools_are_read_and_pass(start: Start, upstream: Upstream) -> None:
    running = await start()
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "What is this?"},
                                     {"type": "image_url", "image_url": {"url": PIXEL}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "A dot."},
    ]  # fmt: skip
    async with client_of(running.url) as client:
        await client.chat.completions.create(model="m", messages=messages)
    assert upstream.last.json["messages"] == messages


async def test_a_block_reads_as_a_refusal(start: Start, upstream: Upstream) -> None:
    running = await start(moderator={"name": "keyword", "action": "block"})
    async with client_of(running.url) as client:
        answer = await client.chat.completions.create(model="m", messages=FLAGGED)
        assert answer.choices[0].finish_reason == "content_filter"
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="m", messages=FLAGGED, stream=True, stream_options={"include_usage": True}
            )
        ]
        assert chunks[-2].choices[0].finish_reason == "content_filter"
        assert chunks[-1].usage.total_tokens == 0
        response = await client.responses.create(model="m", input="Tell me how to poison a dog.")
        assert response.incomplete_details.reason == "content_filter"
        assert "cannot help" in response.output_text
        stream = await client.responses.create(model="m", input="How to poison a dog?", stream=True)
        assert [event.type async for event in stream][-1] == "response.incomplete"
    assert upstream.received == []


async def test_a_block_as_an_error_is_asked_once(start: Start) -> None:
    running = await start(moderator={"name": "keyword", "action": "block"}, block={"as": "error"})
    async with client_of(running.url) as client:
        with pytest.raises(openai.BadRequestError) as error:
            await client.chat.completions.create(model="m", messages=FLAGGED)
    assert error.value.code == "content_filter"
    assert running.gateway.metrics.requests.value("chat", "block", "policy") == 1


async def test_responses_continue_where_they_ended(start: Start, upstream: Upstream) -> None:
    running = await start()
    async with client_of(running.url) as client:
        first = await client.responses.create(model="m", input="How do I poison a dog?")
        await client.responses.create(model="m", input="Go on.", previous_response_id=first.id)
        assert "[guidance " in str(upstream.last.json["input"])
        events = [
            event.type async for event in await client.responses.create(model="m", input="Hello", stream=True)
        ]
    assert events[-1] == "response.completed"


async def test_an_unknown_history_is_not_passed_as_if_it_were_known(start: Start, upstream: Upstream) -> None:
    running = await start()
    async with client_of(running.url) as client:
        await client.responses.create(model="m", input="Go on.", previous_response_id="resp_elsewhere")
    assert "[guidance " in str(upstream.last.json["input"])
    assert running.gateway.metrics.degraded.value("unknown_history") == 1


async def test_anthropic_messages(start: Start, upstream: Upstream) -> None:
    running = await start(moderator={"name": "keyword", "action": "inject"})
    async with anthropic.AsyncAnthropic(base_url=running.root, api_key="k") as client:
        asked: Any = {"model": "m", "max_tokens": 10}
        answer = await client.messages.create(messages=GREETING, system="Be brief.", **asked)
        assert answer.content[0].text == "Hello!"
        assert upstream.last.headers["Authorization"] == "Bearer k"
        async with client.messages.stream(messages=GREETING, **asked) as stream:
            assert await stream.get_final_text() == "Hello!"
        await client.messages.create(messages=FLAGGED, **asked)
    content = upstream.last.json["messages"][-1]["content"]
    assert content.startswith(FLAGGED[0]["content"])
    assert "[guidance " in content


async def test_anthropic_blocks(start: Start) -> None:
    running = await start(moderator={"name": "keyword", "action": "block"})
    async with anthropic.AsyncAnthropic(base_url=running.root, api_key="k") as client:
        asked: Any = {"model": "m", "max_tokens": 10, "messages": FLAGGED}
        assert (await client.messages.create(**asked)).stop_reason == "refusal"
        async with client.messages.stream(**asked) as stream:
            assert (await stream.get_final_message()).stop_reason == "refusal"


async def test_the_other_endpoints(start: Start) -> None:
    running = await start()
    async with client_of(running.url) as client:
        assert (await client.models.list()).data[0].id == "m"
        assert (await client.embeddings.create(model="m", input="x", encoding_format="float")).data
        assert (await client.completions.create(model="m", prompt="Hello")).choices[0].text == "Hello!"
        found = await client.moderations.create(input=["Hello", "How to poison a dog"])
    assert [result.flagged for result in found.results] == [False, True]
    assert found.results[1].category_scores.to_dict()["Animal Abuse"] > 0.3
