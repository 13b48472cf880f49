"""A remembered verdict is the verdict that a fresh reading gives, whatever was asked before and at once."""

import asyncio
import gc
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safemt.core.schema import ImageRef, Message, Part, UnknownPart
from safemt.core.verdict import Verdict
from safemt.moderation.moderator import Moderator
from safemt.moderation.open import open_moderator
from safemt.serve.dialects.dialect import Conversation
from safemt.serve.guard import Guard
from safemt.serve.lanes import Lanes
from safemt.serve.state import States, chain

TEXTS = ("How is bread baked?", "How do I poison a dog?", "And a Ponzi scheme?", "", "Thank you.")
PICTURE = ImageRef("a" * 64, "image/png", 1, 1)
PARTS: st.SearchStrategy[Part] = st.sampled_from([*TEXTS, PICTURE, UnknownPart("input_audio")])
MESSAGES = st.builds(
    Message, st.sampled_from(["user", "assistant", "tool", "system"]), st.lists(PARTS, max_size=2)
)
DIALOGUES = st.lists(MESSAGES, min_size=1, max_size=6).filter(lambda d: any(m.role == "user" for m in d))


def guard_of(moderator: Moderator, *, state_mb: float = 8) -> Guard:
    return Guard(moderator, States(int(state_mb * 2**20), 60), Lanes(2, 1000), secret=b"s", seconds=60)


def timeless(verdict: Verdict) -> Verdict:
    return replace(verdict, milliseconds=0.0, id="")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(DIALOGUES, st.integers(1, 6)), min_size=1, max_size=4), st.sampled_from([8, 0.01]))
def test_edits_branches_and_simultaneous_requests(
    asked: list[tuple[list[Message], int]], state_mb: float
) -> None:
    moderator = open_moderator("keyword")
    dialogues = [dialogue for dialogue, _ in asked]
    dialogues += [dialogue[:cut] + other for dialogue, cut in asked for other in dialogues[:2]]
    dialogues = [d for d in dialogues if any(message.role == "user" for message in d)]

    async def judge_all() -> list[Verdict]:
        guard = guard_of(moderator, state_mb=state_mb)
        first = await asyncio.gather(*(guard.judge(Conversation(tuple(each)), "a") for each in dialogues))
        again = [await guard.judge(Conversation(tuple(each)), "b") for each in dialogues]
        guard._lanes.close()
        return [each.verdict for each in (*first, *again)]

    async def judge_fresh(dialogue: list[Message]) -> Verdict:
        guard = guard_of(moderator)
        judged = await guard.judge(Conversation(tuple(dialogue)), "a")
        guard._lanes.close()
        return judged.verdict

    fresh = [timeless(asyncio.run(judge_fresh(each))) for each in dialogues]
    for verdict, dialogue in zip(fresh, dialogues, strict=True):
        if all(message.role != "tool" for message in dialogue):
            assert verdict == timeless(moderator.moderate(dialogue))
    assert [timeless(each) for each in asyncio.run(judge_all())] == fresh * 2


async def test_the_embedded_moderator_too() -> None:
    moderator = open_moderator("embedded")
    guard = guard_of(moderator)
    messages: list[Message] = []
    for n, text in enumerate((*TEXTS[:3], TEXTS[4])):
        messages += [Message("user", text), Message("assistant", f"Answer {n}")]
        judged = await guard.judge(Conversation(tuple(messages[:-1])), "a")
        assert timeless(judged.verdict) == timeless(moderator.moderate(messages[:-1]))
        assert not judged.known
        assert (await guard.judge(Conversation(tuple(messages[:-1])), "a")).known


@given(DIALOGUES, DIALOGUES)
def test_hashes_are_equal_only_for_equal_conversations(left: list[Message], right: list[Message]) -> None:
    same = [(m.role, m.parts) for m in left] == [(m.role, m.parts) for m in right]
    assert (chain(b"", left)[-1] == chain(b"", right)[-1]) == same


def test_tenants_share_nothing() -> None:
    moderator, states = open_moderator("keyword"), States(2**20, 60)
    lanes = Lanes(2, 10)
    guards = [Guard(moderator, states, lanes, secret=secret, seconds=60) for secret in (b"a", b"b")]
    conversation = Conversation((Message("user", "Hello"),))

    async def known() -> list[bool]:
        return [(await guard.judge(conversation, "")).known for guard in (*guards, *guards)]

    assert asyncio.run(known()) == [False, False, True, True]
    lanes.close()


def test_memory_is_bounded_and_estimated_well() -> None:
    moderator = open_moderator("embedded")
    states = States(10**9, 60)
    guard = Guard(moderator, states, Lanes(2, 10_000), secret=b"s", seconds=60)
    conversations = [
        Conversation(tuple(Message("user", f"What about number {n}, and {k}?") for k in range(n % 4 + 1)))
        for n in range(120)
    ]

    async def judge_all() -> None:
        for each in conversations:
            await guard.judge(each, "x")

    moderator.moderate([Message("user", "warm")])
    embedded: Any = moderator.detector
    embedded.model.encoder.forget()
    gc.collect()
    tracemalloc.start()
    asyncio.run(judge_all())
    embedded.model.encoder.forget()
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(states) == 120
    assert 0.6 < taken / states.bytes < 1.2


def test_the_oldest_and_the_least_used_go() -> None:
    now = [0.0]
    states = States(10 * 4000, 100, clock=lambda: now[0])
    moderator = open_moderator("keyword")
    guard = Guard(moderator, states, Lanes(2, 10), secret=b"s", seconds=60)

    async def judge(text: str) -> bool:
        return (await guard.judge(Conversation((Message("user", text),)), "")).known

    async def scenario() -> None:
        await judge("kept")
        for n in range(30):
            await judge(f"number {n}")
            assert await judge("kept")
            assert states.bytes <= states.limit
        assert not await judge("number 0")
        now[0] += 101
        await judge("new")
        assert len(states) == 1

    asyncio.run(scenario())
    guard._lanes.close()


@pytest.mark.slow
async def test_a_new_turn_costs_the_same_at_turn_50_as_at_turn_2() -> None:
    guard = guard_of(open_moderator("embedded"))
    messages: list[Message] = []
    cost: list[float] = []
    for n in range(50):
        messages += [Message("user", f"Tell me more about day {n} of the journey to the north, please.")]
        started = time.process_time()
        await guard.judge(Conversation(tuple(messages)), "a")
        cost.append(time.process_time() - started)
        messages.append(Message("assistant", "It was cold."))
    assert sum(cost[45:]) <= 1.5 * sum(cost[1:6])
