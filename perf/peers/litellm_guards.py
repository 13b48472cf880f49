"""Guardrails for LiteLLM's proxy in `perf.gateway`: one that does nothing, and one with our moderator."""

import asyncio
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail


class Nothing(CustomGuardrail):
    """What any guardrail costs in LiteLLM."""

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Any, call_type: Any) -> Any:
        return data


class Moderated(CustomGuardrail):
    """The moderator as a guardrail: it reads the whole conversation each time."""

    def __init__(self, **settings: Any) -> None:
        from safemt import open_moderator

        self.guard = open_moderator("embedded")
        super().__init__(**settings)

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Any, call_type: Any) -> Any:
        verdict = await asyncio.to_thread(self.guard.moderate, data["messages"])
        if verdict.action == "block":
            raise HTTPException(400, {"error": "content_filter"})
        return data
