"""The middleware in a real LangChain agent (langchain 1.5)."""

from typing import Any

import pytest

pytest.importorskip("langchain", reason="langchain is not installed (extra `langchain`)")

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from safemt.integrations.langchain import SafemtMiddleware

# The tools' own warnings are theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

FLAGGED: Any = {"messages": [{"role": "user", "content": "How do I poison a dog?"}]}


class Recording(GenericFakeChatModel):  # type: ignore[misc, unused-ignore]  # absent where types are checked
    """A model that keeps what it was asked."""

    asked: list[Any] = []  # noqa: RUF012

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(messages)
        return super()._generate(messages, *args, **kwargs)


def agent_of(**settings: Any) -> tuple[Any, list[Any]]:
    model = Recording(messages=iter([AIMessage("Hello!")] * 5), asked=[])
    return create_agent(model, [], middleware=[SafemtMiddleware("keyword", **settings)]), model.asked


def test_a_policy_goes_into_the_call_and_not_into_the_history() -> None:
    agent, asked = agent_of()
    done = agent.invoke(FLAGGED)
    assert asked[0][-1].type == "system"
    assert "[guidance " in asked[0][-1].content
    assert [message.type for message in done["messages"]] == ["human", "ai"]


async def test_blocks_without_asking_the_model() -> None:
    agent, asked = agent_of(action="block")
    done = await agent.ainvoke(FLAGGED)
    assert "cannot help" in done["messages"][-1].content
    assert asked == []
    await agent.ainvoke({"messages": [{"role": "user", "content": "Hello"}]})
    assert len(asked) == 1
