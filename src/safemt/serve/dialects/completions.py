"""OpenAI's older completions: `POST /v1/completions`. Each prompt is one user turn."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from safemt.core.schema import Message, UnknownPart
from safemt.moderation.policies.inject import Position
from safemt.serve.dialects.dialect import Body, Conversation, Guidance, events, model_of
from safemt.serve.problems import Problem, invalid, openai_error


class CompletionsDialect:
    """Completions; a list of prompts is as many conversations."""

    name = "completions"
    places: Sequence[Position] = (Position.USER_SUFFIX,)

    def conversations(self, body: Body) -> list[Conversation]:
        """One for each prompt. Prompts given as tokens cannot be read."""
        return [Conversation((Message("user", [_read(each)]),)) for each in _prompts(body)]

    def with_guidance(self, body: Body, guidance: Mapping[int, Guidance]) -> Body:
        """With the guidance behind the prompts that need it; tokens stay as they are."""
        prompts = [
            f"{prompt}{guidance[n].text}\n\n" if n in guidance and isinstance(prompt, str) else prompt
            for n, prompt in enumerate(_prompts(body))
        ]
        return {**body, "prompt": prompts if isinstance(body["prompt"], list) else prompts[0]}

    def refusal(self, body: Body, text: str) -> Mapping[str, Any]:
        """A completion that ended on the content filter."""
        choices = [
            {"index": n, "text": text, "logprobs": None, "finish_reason": "content_filter"}
            for n in range(len(_prompts(body)))
        ]
        return {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model_of(body),
            "choices": choices,
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }

    def refusal_stream(self, body: Body, text: str) -> bytes:
        """The same in one event."""
        return events(self.refusal(body, text), done=True)

    def error(self, problem: Problem) -> Mapping[str, Any]:
        """As OpenAI's."""
        return openai_error(problem)


def _prompts(body: Body) -> list[Any]:
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise invalid("invalid_prompt", "`prompt` must be a text or a list that is not empty.", "prompt")
    # A list of numbers is one prompt in tokens.
    return [prompt] if isinstance(prompt[0], int) else prompt


def _read(prompt: object) -> str | UnknownPart:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(each, int) for each in prompt):
        return UnknownPart("tokens")
    raise invalid("invalid_prompt", "A prompt must be a text or a list of tokens.", "prompt")
