"""The guardrail and the filter in the real OpenAI Agents SDK (openai-agents 0.24)."""

from typing import Any

import pytest

pytest.importorskip("agents", reason="openai-agents is not installed (extra `agents`)")

from agents import Agent, InputGuardrailTripwireTriggered, RunConfig, Runner, set_tracing_disabled
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from openai import AsyncOpenAI

from safemt.integrations.agents import input_guardrail, policy_filter
from serve.upstreams import Upstream

# The tools' own warnings are theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

set_tracing_disabled(disabled=True)


def model_at(upstream: Upstream) -> Any:
    client = AsyncOpenAI(base_url=upstream.url, api_key="k")
    return OpenAIChatCompletionsModel(model="m", openai_client=client)


async def test_the_filter_adds_the_policy(upstream: Upstream) -> None:
    agent = Agent(name="a", model=model_at(upstream))
    config = RunConfig(call_model_input_filter=policy_filter("keyword"))
    await Runner.run(agent, "How do I poison a dog?", run_config=config)
    assert "[guidance " in upstream.last.body.decode()
    await Runner.run(agent, "Hello", run_config=config)
    assert "[guidance " not in upstream.last.body.decode()


async def test_the_guardrail_trips_before_the_model_is_asked(upstream: Upstream) -> None:
    agent = Agent(name="a", model=model_at(upstream), input_guardrails=[input_guardrail("keyword")])
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(agent, "How do I poison a dog?")
    assert upstream.received == []
    await Runner.run(agent, "Hello")
    assert len(upstream.received) == 1
