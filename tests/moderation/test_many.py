"""Many dialogues at once: order, bounds, bad rows, slow sources, and an end at any time."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from moderation.detectors.test_llm import code_in
from moderation.dialogues import assistant, opened, turns
from moderation.model_server import Body, serve, shown
from safemt.core.errors import CallError, CallFailure, DialogueError
from safemt.core.schema import Message
from safemt.core.verdict import Verdict
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.many import amoderate_many, moderate_many
from safemt.moderation.reading.dialogues import BadRow, Dialogue


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def row(name: str) -> Dialogue:
    return Dialogue(id=name, messages=tuple(turns(f"turn of {name}.")))


class Gate:
    """A model that holds requests until as many as expected are there, and counts them."""

    def __init__(self, together: int) -> None:
        self.barrier = threading.Barrier(together)
        self.now = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, body: Body) -> str:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.barrier.wait(10)
        with self.lock:
            self.now -= 1
        return json.dumps({"code": code_in(body), "risk": 90})


def test_verdicts_keep_the_order_and_calls_are_made_side_by_side_within_bounds() -> None:
    gate = Gate(4)
    with serve(gate) as server:
        moderator = opened("llm:openai/m", server.base_url)
        found = list(moderate_many(moderator, (row(str(n)) for n in range(12)), at_once=4))
    assert [each.id for each in found] == [str(n) for n in range(12)]
    assert gate.most == 4


def test_a_moderator_can_be_used_again_after_a_batch() -> None:
    with serve(Gate(1)) as server:
        moderator = opened("llm:openai/m", server.base_url)
        for _ in range(2):
            assert len(list(moderate_many(moderator, [row("a")], at_once=1))) == 1


@pytest.mark.parametrize("name", ["keyword", "llm:openai/m"])
def test_a_bad_row_keeps_its_place_and_the_others_go_on(name: str) -> None:
    silent = Dialogue(id="silent", messages=(assistant("hello"),), place="f, line 2")
    rows: list[Dialogue | BadRow] = [
        row("a"),
        silent,
        BadRow(id="bad", problem="f, line 3: broken."),
        row("b"),
    ]
    with serve(Gate(1)) as server:
        moderator = opened(name, server.base_url if "llm" in name else None)
        a, no_user, bad, b = moderate_many(moderator, rows, at_once=1)
    assert isinstance(a, Verdict)
    assert isinstance(b, Verdict)
    assert isinstance(no_user, BadRow)
    assert no_user.problem.startswith("f, line 2: The dialogue has no user message")
    assert bad is rows[2]


def test_each_verdict_comes_before_the_next_row_is_there() -> None:
    next_row = threading.Event()

    def slow() -> Iterator[Dialogue]:
        yield row("a")
        next_row.wait(10)
        yield row("b")

    with serve(Gate(1)) as server:
        moderator = opened("llm:openai/m", server.base_url)
        outcomes = moderate_many(moderator, slow(), at_once=4)
        assert next(outcomes).id == "a"
        next_row.set()
        assert [each.id for each in outcomes] == ["b"]


def test_what_ends_the_rows_is_raised_after_what_came_before_it() -> None:
    def torn() -> Iterator[Dialogue]:
        yield row("a")
        raise DialogueError("unreadable_file", "f cannot be read.")

    with serve(Gate(1)) as server:
        moderator = opened("llm:openai/m", server.base_url)
        outcomes = moderate_many(moderator, torn(), at_once=2)
        assert next(outcomes).id == "a"
        with pytest.raises(DialogueError) as caught:
            next(outcomes)
        assert caught.value.code == "unreadable_file"


async def test_whoever_stops_early_leaves_nothing_running() -> None:
    with serve(lambda _: None) as server:
        moderator = opened("llm:openai/m", server.base_url, timeout=0.3)
        outcomes = amoderate_many(moderator, (row(str(n)) for n in range(100)), at_once=3)
        first = await anext(outcomes)
        await outcomes.aclose()
        await moderator.close()
    assert isinstance(first, Verdict)
    assert first.degraded is not None
    assert len(server.requests) < 12
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_one_of_many_that_fails_is_degraded_and_the_others_are_not() -> None:
    def answer(body: Body) -> str | tuple[int, object]:
        if "turn of 2." in shown(body):
            return 500, {"error": {"message": "broken"}}
        return json.dumps({"code": code_in(body), "risk": 10})

    with serve(answer) as server:
        moderator = opened("llm:openai/m", server.base_url)
        found = list(moderate_many(moderator, [row(str(n)) for n in range(5)]))
    assert [isinstance(each, Verdict) and each.degraded is not None for each in found] == [
        *(False, False, True),
        *(False, False),
    ]


def test_calls_go_through_the_ask_that_was_given() -> None:
    async def refuse(endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
        raise CallError(CallFailure("quota", "the quota is used up"))

    with serve(Gate(1)) as server:
        moderator = replace(opened("llm:openai/m", server.base_url), ask=refuse)
        [verdict] = moderate_many(moderator, [row("a")])
        assert server.requests == []
    assert isinstance(verdict, Verdict)
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "quota"
