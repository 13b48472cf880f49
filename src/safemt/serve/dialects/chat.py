"""OpenAI's chat completions: `POST /v1/chat/completions`."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from safemt.core.errors import DialogueError
from safemt.core.schema import Message
from safemt.moderation.policies.inject import Position
from safemt.moderation.reading.chat import message_of
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
from safemt.serve.problems import Problem, invalid, openai_error


class ChatDialect:
    """Chat completions. What other servers add to them passes untouched."""

    name = "chat"
    places: Sequence[Position] = (Position.LATE_SYSTEM, Position.USER_SUFFIX, Position.SYSTEM)

    def conversations(self, body: Body) -> list[Conversation]:
        """One conversation: `messages`."""
        return [Conversation(read_messages(list_of(body, "messages"), "messages"))]

    def with_guidance(self, body: Body, guidance: Mapping[int, Guidance]) -> Body:
        """With a message more, or a longer one."""
        return {**body, "messages": guided_messages(body["messages"], guidance[0])}

    def refusal(self, body: Body, text: str) -> Mapping[str, Any]:
        """A completion that ended on the content filter."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}
        return {**_head(body, "chat.completion"), "choices": [choice], "usage": _USAGE}

    def refusal_stream(self, body: Body, text: str) -> bytes:
        """Role, text, end, usage if the client asked for it, `[DONE]`."""
        head = _head(body, "chat.completion.chunk")
        deltas = [({"role": "assistant", "content": ""}, None), ({"content": text}, None)]
        chunks = [
            {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
            for delta, reason in [*deltas, ({}, "content_filter")]
        ]
        options = body.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:
            chunks.append({**head, "choices": [], "usage": _USAGE})
        return events(*chunks, done=True)

    def error(self, problem: Problem) -> Mapping[str, Any]:
        """As OpenAI's."""
        return openai_error(problem)


def read_messages(messages: Sequence[Any], name: str) -> tuple[Message, ...]:
    """Messages as chat APIs write them.

    Raises:
        Problem: one of them is not a message.
    """
    try:
        return tuple(message_of(each, f"{name}[{n}]") for n, each in enumerate(messages))
    except DialogueError as error:
        raise invalid("invalid_messages", str(error), name) from None


def guided_messages(messages: Sequence[Any], guidance: Guidance) -> list[Any]:
    """Chat messages with guidance in its place."""
    match guidance.position:
        case Position.LATE_SYSTEM:
            return [*messages, {"role": "system", "content": guidance.text}]
        case Position.SYSTEM if messages[0].get("role") not in ("system", "developer"):
            return [{"role": "system", "content": guidance.text}, *messages]
    last = 0 if guidance.position is Position.SYSTEM else last_user(messages)
    if last is None:
        return [*messages, {"role": "system", "content": guidance.text}]
    changed = {**messages[last], "content": with_suffix(messages[last].get("content"), guidance.text, "text")}
    return [*messages[:last], changed, *messages[last + 1 :]]


_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _head(body: Body, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model_of(body),
    }
