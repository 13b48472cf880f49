"""OpenAI's Responses: `POST /v1/responses`."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from safemt.core.schema import Message, UnknownPart
from safemt.moderation.policies.inject import Position
from safemt.serve.dialects.chat import read_messages
from safemt.serve.dialects.dialect import (
    Body,
    Conversation,
    Guidance,
    events,
    last_user,
    model_of,
    with_suffix,
)
from safemt.serve.problems import Problem, invalid, openai_error

_BY_THE_MODEL: Final = ("reasoning", "compaction")
"""Items that hold nothing which the model itself did not write."""


class ResponsesDialect:
    """Responses. A request that continues an earlier response holds only its new items."""

    name = "responses"
    places: Sequence[Position] = (Position.LATE_SYSTEM, Position.USER_SUFFIX, Position.SYSTEM)

    def conversations(self, body: Body) -> list[Conversation]:
        """One conversation: `instructions`, then `input`."""
        messages: list[Message] = []
        instructions = body.get("instructions")
        if isinstance(instructions, str):
            messages.append(Message("system", instructions))
        given = body.get("input")
        if isinstance(given, str):
            messages.append(Message("user", given))
        elif isinstance(given, list):
            messages += read_messages(list(_chat_items(given)), "input")
        elif given is not None:
            raise invalid("invalid_input", "`input` must be a text or a list of items.", "input")
        if body.get("prompt") is not None:
            # A template at the upstream, filled with variables that nobody here sees in place.
            messages.append(Message("user", [UnknownPart("prompt_template")]))
        if not messages:
            raise invalid("invalid_input", "There is neither `input` nor `instructions`.", "input")
        return [Conversation(tuple(messages), _continues(body))]

    def with_guidance(self, body: Body, guidance: Mapping[int, Guidance]) -> Body:
        """With an item more, or a longer one, or longer instructions."""
        text, position = guidance[0].text, guidance[0].position
        given = body.get("input")
        if position is Position.SYSTEM:
            instructions = body.get("instructions")
            return {**body, "instructions": f"{instructions}{text}" if instructions else text.lstrip("\n")}
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())
        last = last_user(items)
        if position is Position.LATE_SYSTEM or last is None:
            return {**body, "input": [*items, {"role": "system", "content": text.lstrip("\n")}]}
        content = with_suffix(items[last].get("content"), text, "input_text")
        return {**body, "input": [*items[:last], {**items[last], "content": content}, *items[last + 1 :]]}

    def refusal(self, body: Body, text: str) -> Mapping[str, Any]:
        """A response whose message is the refusal, incomplete because of the content filter."""
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        return {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model_of(body),
            "status": "incomplete",
            "error": None,
            "incomplete_details": {"reason": "content_filter"},
            "instructions": None,
            "metadata": {},
            "output": [item],
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": {
                "input_tokens": 0,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 0,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 0,
            },
        }

    def refusal_stream(self, body: Body, text: str) -> bytes:
        """The events that a refusal of the model would have."""
        response = self.refusal(body, text)
        item = response["output"][0]
        part = item["content"][0]
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        begun = {**response, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        steps: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": begun}),
            ("response.in_progress", {"response": begun}),
            (
                "response.output_item.added",
                {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
            ),
            ("response.content_part.added", {**at, "part": {**part, "text": ""}}),
            ("response.output_text.delta", {**at, "delta": text, "logprobs": []}),
            ("response.output_text.done", {**at, "text": text, "logprobs": []}),
            ("response.content_part.done", {**at, "part": part}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
            ("response.incomplete", {"response": response}),
        ]
        numbered = [
            {"type": kind, "sequence_number": number, **rest} for number, (kind, rest) in enumerate(steps)
        ]
        return events(*numbered, named=True)

    def error(self, problem: Problem) -> Mapping[str, Any]:
        """As OpenAI's."""
        return openai_error(problem)


def _continues(body: Body) -> str | None:
    """The id of what the request continues."""
    conversation = body.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    for value in (body.get("previous_response_id"), conversation):
        if isinstance(value, str):
            return value
    return None


def _chat_items(items: Sequence[Any]) -> Iterator[Any]:
    """The items as chat messages. An item of an unknown kind becomes a part that nobody can look at."""
    for item in items:
        if not isinstance(item, dict):
            raise invalid("invalid_input", "An item of `input` is not an object.", "input")
        kind = item.get("type", "message")
        if kind == "message":
            yield item
        elif isinstance(kind, str) and kind.endswith("_output"):
            yield {"role": "tool", "content": _output(item.get("output"))}
        elif kind == "item_reference":
            yield {"role": "user", "content": [{"type": "item_reference"}]}
        elif isinstance(kind, str) and kind.endswith("_call"):
            named = {"name": item.get("name", kind), "arguments": item.get("arguments", item.get("input"))}
            yield {"role": "assistant", "content": None, "tool_calls": [{"function": named}]}
        elif kind not in _BY_THE_MODEL:
            yield {"role": "tool", "content": [{"type": "unknown"}]}


def _output(output: object) -> object:
    """What a tool gave back: a text, parts, or an object of the tool's own."""
    return output if isinstance(output, str | list) else [{"type": "unknown"}]
