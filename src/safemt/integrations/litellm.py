"""A guardrail for LiteLLM's proxy, in its own process.

    guardrails:
      - guardrail_name: safemt
        litellm_params:
          {guardrail: safemt.integrations.litellm.SafemtGuardrail, mode: pre_call, default_on: true}

It reads the whole conversation each time. `safemt serve` behind LiteLLM's generic guardrail API remembers
conversations, and needs no Python in LiteLLM.
"""

from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail

from safemt.core.verdict import verdict_json
from safemt.integrations.decision import decide
from safemt.moderation.open import DEFAULT, open_moderator


class SafemtGuardrail(CustomGuardrail):
    """Injects the policy that applies, or blocks. `action` is LiteLLM's own word: ours is `safemt_action`."""

    def __init__(self, moderator: str = DEFAULT, safemt_action: str = "inject", **settings: Any) -> None:
        self._moderator = open_moderator(moderator, action=safemt_action)
        super().__init__(**settings)

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> dict[str, Any]:
        """Moderate a request before it goes out.

        Raises:
            HTTPException: 400 where the request is blocked, or where a policy cannot be put into it.
        """
        messages = data.get("messages")
        if not messages:
            return data
        decision = await decide(self._moderator, messages)
        intervened = decision.blocked or decision.guidance is not None
        self.add_standard_logging_guardrail_information_to_request_data(
            guardrail_json_response=verdict_json(decision.verdict),
            request_data=data,
            guardrail_status="guardrail_intervened" if intervened else "success",
        )
        if decision.blocked:
            raise HTTPException(400, {"error": "content_filter"})
        if decision.guidance is not None and not self.inject_advisory_message(data, decision.guidance):
            raise HTTPException(400, {"error": "content_filter"})
        return data
