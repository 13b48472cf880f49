"""The OpenAI Agents SDK: a guardrail that blocks, and a filter that injects policies.

agent = Agent(name="…", input_guardrails=[input_guardrail(action="block")])
await Runner.run(agent, text, run_config=RunConfig(call_model_input_filter=policy_filter()))
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agents import GuardrailFunctionOutput, InputGuardrail
from agents.run import CallModelData, ModelInputData

from safemt.core.verdict import verdict_json
from safemt.integrations.decision import decide
from safemt.moderation.open import DEFAULT, open_moderator


def input_guardrail(moderator: str = DEFAULT, **settings: Any) -> InputGuardrail[Any]:
    """A guardrail that trips where the moderator blocks. It ends before the model and its tools begin.

    `settings` are those of `open_moderator`. The SDK runs input guardrails for the first agent only.
    """
    opened = open_moderator(moderator, **{"action": "block", **settings})

    async def check(_context: Any, _agent: Any, given: str | Sequence[Any]) -> GuardrailFunctionOutput:
        decision = await decide(opened, _messages(given))
        return GuardrailFunctionOutput(
            output_info=verdict_json(decision.verdict), tripwire_triggered=decision.blocked
        )

    return InputGuardrail(guardrail_function=check, name="safemt", run_in_parallel=False)


def policy_filter(
    moderator: str = DEFAULT, **settings: Any
) -> Callable[[CallModelData[Any]], Awaitable[ModelInputData]]:
    """A filter for `RunConfig.call_model_input_filter` that adds the policy before each call of the model."""
    opened = open_moderator(moderator, **settings)

    async def filtered(data: CallModelData[Any]) -> ModelInputData:
        given = data.model_data
        decision = await decide(opened, _messages(given.input))
        if decision.guidance is None:
            return given
        policy: Any = {"role": "system", "content": decision.guidance}
        return ModelInputData(input=[*given.input, policy], instructions=given.instructions)

    return filtered


def _messages(given: str | Sequence[Any]) -> list[dict[str, Any]]:
    """Items of the Responses API as messages; what tools gave back has no role there."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    found: list[dict[str, Any]] = []
    for item in given:
        if not isinstance(item, Mapping):
            continue
        if "role" in item:
            found.append({"role": item["role"], "content": item.get("content")})
        elif str(item.get("type", "")).endswith("_output"):
            found.append({"role": "tool", "content": str(item.get("output"))})
    return found
