"""Anthropic's messages: `POST /v1/messages`."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from safemt.core.schema import Message
from safemt.moderation.policies.inject import Position
from safemt.serve.dialects.chat import read_messages
from safemt.serve.dialects.dialect import (
    Body,
    Conversation,
    Guidance,
    events,
    last_user,
    list_of,
    model_of,
    with_suffix,
)
from safemt.serve.problems import Problem, anthropic_error, invalid

_SILENT: Final = ("thinking", "redacted_thinking")


class MessagesDialect:
    """Messages. A policy goes into the last user message: the format has no system message behind others."""

    name = "messages"
    places: Sequence[Position] = (Position.USER_SUFFIX, Position.SYSTEM)

    def conversations(self, body: Body) -> list[Conversation]:
        """One conversation: `system`, then `messages`; results of tools are messages of their own."""
        given = list_of(body, "messages")
        system = body.get("system")
        first = [{"role": "system", "content": system}] if isinstance(system, str | list) else []
        chat = [part for message in (*first, *given) for part in _chat(message)]
        messages: tuple[Message, ...] = read_messages(chat, "messages")
        return [Conversation(messages)]

    def with_guidance(self, body: Body, guidance: Mapping[int, Guidance]) -> Body:
        """With a block more at the end of the last user message, or longer system instructions."""
        text = guidance[0].text
        messages = body["messages"]
        last = last_user(messages)
        if guidance[0].position is Position.SYSTEM or last is None:
            system = body.get("system")
            changed = with_suffix(system, text, "text") if system else text.lstrip("\n")
            return {**body, "system": changed}
        content = with_suffix(messages[last].get("content"), text, "text")
        return {
            **body,
            "messages": [*messages[:last], {**messages[last], "content": content}, *messages[last + 1 :]],
        }

    def refusal(self, body: Body, text: str) -> Mapping[str, Any]:
        """A message that ended in a refusal."""
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": model_of(body),
            "content": [{"type": "text", "text": text}],
            "stop_reason": "refusal",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def refusal_stream(self, body: Body, text: str) -> bytes:
        """The events that a refusal of the model would have."""
        message = self.refusal(body, text)
        return events(
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "refusal", "stop_sequence": None},
                "usage": {"output_tokens": 0},
            },
            {"type": "message_stop"},
            named=True,
        )

    def error(self, problem: Problem) -> Mapping[str, Any]:
        """As Anthropic's."""
        return anthropic_error(problem)


def _chat(message: object) -> Iterator[dict[str, Any]]:
    """A message as chat messages: what tools brought in first, then the rest."""
    if not isinstance(message, dict):
        raise invalid("invalid_messages", "A message is not an object.", "messages")
    role, content = message.get("role"), message.get("content")
    if not isinstance(content, list):
        yield message
        return
    rest: list[Any] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_result":
            yield {"role": "tool", "content": _parts(block.get("content"))}
        elif kind not in _SILENT:
            rest.append(block)
    if rest or not content:
        yield {"role": role, "content": _parts(rest)}


def _parts(content: object) -> list[Any] | str:
    if isinstance(content, str):
        return content
    return [_part(block) for block in content] if isinstance(content, list) else ""


def _part(block: object) -> object:
    """A content block as a part of a chat message."""
    if not isinstance(block, dict):
        return block
    kind, source = block.get("type"), block.get("source")
    if kind in ("image", "document"):
        return _sourced(kind, source if isinstance(source, dict) else {})
    if isinstance(kind, str) and kind.endswith("tool_use"):
        return {"type": "text", "text": f"{block.get('name')}({block.get('input')})"}
    return block  # a text, or a kind that nobody can look at


def _sourced(kind: str, source: dict[str, Any]) -> object:
    match kind, source.get("type"):
        case "image", "base64":
            return {"type": "image_url", "image_url": f"data:image/any;base64,{source.get('data')}"}
        case "image", "url":
            return {"type": "image_url", "image_url": source.get("url")}
        case _, "text":
            return {"type": "text", "text": source.get("data")}
    return {"type": "file"}
