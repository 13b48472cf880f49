"""What is sent, and under which key."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Scenario
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.run.protocol import History, call_key, live_sample, request, setup_key
from safemt.targets.openai import OpenAITarget
from safemt.targets.simulated import SimulatedTarget

IMAGE = ImageRef("ab" * 32, "image/png", 3, 4, "images/a.png")


def sample(turns: int = 3, **fields: Any) -> Sample:
    dialogue = tuple(
        Message("assistant" if position % 2 else "user", f"message {position}")
        for position in range(2 * turns - 1)
    )
    made = Sample("q", turns, Scenario.FRAUD, "question", dialogue, image=IMAGE)
    return replace(made, **fields)


def chat(*, temperature: float | None = 0.0, base_url: str = "http://localhost/v1") -> OpenAITarget:
    """A target that looks at messages alone."""
    sampling = Sampling(temperature=temperature)
    return OpenAITarget(ChatEndpoint(model="m", base_url=base_url, sampling=sampling, timeout=1.0))


def test_the_image_goes_with_the_first_user_message_and_nothing_is_added() -> None:
    asked = sample()
    first, *rest = request(asked)
    assert first == Message("user", "message 0", IMAGE)
    assert rest == list(asked.dialogue[1:])
    assert request(sample(image=None)) == list(sample().dialogue)


@given(st.integers(1, 8), st.data())
def test_live_history_is_the_users_turns_with_the_targets_replies_between(
    turns: int, data: st.DataObject
) -> None:
    replies = data.draw(st.lists(st.text(), min_size=0, max_size=turns - 1))
    asked = live_sample(sample(turns), replies)
    users = [message.content for message in asked.dialogue if message.role == "user"]
    assert users == [f"message {2 * position}" for position in range(len(replies) + 1)]
    assert [message.content for message in asked.dialogue if message.role == "assistant"] == replies
    assert [m.role for m in asked.dialogue] == (["user", "assistant"] * turns)[: len(asked.dialogue)]
    assert replace(asked, dialogue=()) == replace(sample(turns), dialogue=())


@pytest.mark.parametrize(
    "change",
    [
        {"dialogue": (*sample().dialogue[:-1], Message("user", "another"))},
        {"dialogue": (Message("user", "message 0 "), *sample().dialogue[1:])},
        {"image": replace(IMAGE, sha256="cd" * 32)},
        {"image": None},
    ],
)
def test_anything_that_is_sent_changes_the_key(change: dict[str, Any]) -> None:
    target = chat()
    changed = sample(**change)
    assert call_key(target, request(sample()), sample()) != call_key(target, request(changed), changed)


@pytest.mark.parametrize(
    "change",
    [
        {"question": "another"},
        {"scenario": Scenario.SATIRE},
        {"query_id": "another"},
        {"image": replace(IMAGE, path="moved.png", width=9)},
        {"meta": {"source": "x"}},
    ],
)
def test_nothing_else_does(change: dict[str, Any]) -> None:
    target = chat()
    changed = sample(**change)
    assert call_key(target, request(sample()), sample()) == call_key(target, request(changed), changed)


def test_sampling_is_part_of_the_key_and_the_address_is_not() -> None:
    asked = sample()
    keys = [
        call_key(target, request(asked), asked)
        for target in (chat(), chat(base_url="http://elsewhere/v1"), chat(temperature=0.7))
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_target_that_looks_at_the_sample_has_a_key_for_each() -> None:
    target = SimulatedTarget("steady")
    another = sample(query_id="another")
    assert call_key(target, request(sample()), sample()) != call_key(target, request(another), another)


def test_a_setup_is_the_target_and_the_history() -> None:
    steady, drifting = SimulatedTarget("steady"), SimulatedTarget("drifting")
    keys = {setup_key(target, history) for target in (steady, drifting) for history in History}
    assert len(keys) == 4
    assert setup_key(SimulatedTarget("steady"), History.LIVE) in keys
    assert setup_key(SimulatedTarget("steady", seed=1), History.LIVE) not in keys
