"""Middleware for LangChain agents: `create_agent(model, tools, middleware=[SafemtMiddleware()])`."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, SystemMessage, convert_to_openai_messages

from safemt.integrations.decision import REFUSAL, Decision, decide, decide_now
from safemt.moderation.moderator import Moderator
from safemt.moderation.open import open_moderator


class SafemtMiddleware(AgentMiddleware):
    """Moderates each call of the model. A policy goes into the call, never into the saved history."""

    def __init__(self, moderator: Moderator | str = "embedded", **settings: Any) -> None:
        """`settings` are those of `open_moderator`, such as `action="block"`."""
        super().__init__()
        self._moderator = open_moderator(moderator, **settings) if isinstance(moderator, str) else moderator

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """A call of the model."""
        applied = _applied(request, decide_now(self._moderator, _messages(request)))
        return applied if isinstance(applied, AIMessage) else handler(applied)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """As `wrap_model_call`, for agents that run asynchronously."""
        applied = _applied(request, await decide(self._moderator, _messages(request)))
        return applied if isinstance(applied, AIMessage) else await handler(applied)


def _messages(request: Any) -> list[Any]:
    found: list[Any] = convert_to_openai_messages(request.messages)
    return found


def _applied(request: Any, decision: Decision) -> Any:
    if decision.blocked:
        return AIMessage(REFUSAL, response_metadata={"finish_reason": "content_filter"})
    if decision.guidance is None:
        return request
    return request.override(messages=[*request.messages, SystemMessage(decision.guidance)])
