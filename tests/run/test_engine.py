"""The engine on its own: what is asked once, how it stops, what an error in one worker does to the rest."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from safemt.core.errors import CallError, CallFailure, RunError, RunStopped
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Label, Scenario
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import Patience
from safemt.judges.base import Judgement, judge_id
from safemt.run.engine import Engine, setup_of
from safemt.run.protocol import History
from safemt.run.running import Tracker
from safemt.run.store import Store

Answer = Callable[[Sample], Awaitable[Reply]]


async def at_once(sample: Sample) -> Reply:
    return Reply(text=f"To {sample.dialogue[-1].content}", prompt_tokens=2, completion_tokens=3)


async def soon(sample: Sample) -> Reply:
    await asyncio.sleep(0.02)
    return await at_once(sample)


class Model:
    """A target that answers as it is told, and remembers what it was asked."""

    name = "test/model"
    simulated = False
    identity = "test"
    answers_by_sample = False

    def __init__(self, answer: Answer = at_once, *, origin: str | None = "http://x") -> None:
        self.origin = origin
        self.asked: list[Sequence[Message]] = []
        self.ended = 0
        self.closed = False
        self._answer = answer

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        self.asked.append(messages)
        reply = await self._answer(sample)
        self.ended += 1
        return reply

    async def close(self) -> None:
        self.closed = True


class Reader:
    """A judge that finds nothing wrong, and remembers what it was shown."""

    name = "test/judge"
    identity = "test"
    endpoints: Sequence[ChatEndpoint] = ()

    def __init__(self) -> None:
        self.shown: list[tuple[Sample, str]] = []

    async def judge(self, sample: Sample, response: str, ask: Ask) -> Judgement:
        self.shown.append((sample, response))
        return Judgement(label=Label.SAFE)


def sample(name: str, turns: int = 1, *, text: str | None = None) -> Sample:
    return Sample(
        query_id=name,
        turns=turns,
        scenario=Scenario.FRAUD,
        question="A question?",
        dialogue=tuple(
            Message(
                role="assistant" if position % 2 else "user", content=text or f"{name}, message {position}"
            )
            for position in range(2 * turns - 1)
        ),
    )


MANY = [sample(f"q{number}") for number in range(40)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open_for_run(tmp_path / "out")
    yield opened
    opened.close()


QUICK = Patience(first_backoff=0.001)


def plan(
    store: Store,
    samples: Sequence[Sample],
    model: Model,
    judge: Reader | None = None,
    *,
    history: History = History.SCRIPTED,
    concurrency: int = 4,
    patience: Patience = QUICK,
) -> Engine:
    """An engine on these samples, as `start_run` makes one."""
    reader = judge or Reader()
    setup, identity = setup_of(model, history), judge_id(reader)
    store.begin(setup=setup.key, judge=identity, manifest={}, plan=list(enumerate(samples)))
    return Engine(
        store=store,
        setup=setup,
        judge=reader,
        concurrency=concurrency,
        tracker=Tracker.of(store.scored_samples(setup=setup.key, judge=identity)),
        patience=patience,
    )


async def ended(engine: Engine, *, within: float = 30) -> None:
    async with asyncio.timeout(within):
        await engine.run()


async def test_every_sample_is_asked_judged_and_counted_once(store: Store) -> None:
    model, judge = Model(), Reader()
    engine = plan(store, [*MANY, sample("q0", 2)], model, judge)
    await ended(engine)
    assert Counter(messages[-1].content for messages in model.asked).total() == 41
    assert sorted(text for _, text in judge.shown) == sorted(f"To {m[-1].content}" for m in model.asked)
    tracker = engine.tracker
    assert (tracker.done, tracker.total, tracker.graded, tracker.unsafe) == (41, 41, {1: 40, 2: 1}, {})
    assert (engine.spend.total.prompt_tokens, engine.spend.total.completion_tokens) == (82, 123)
    assert model.closed
    again = plan(store, MANY, model, judge)
    await ended(again)
    assert (again.tracker.already_done, len(model.asked), len(judge.shown)) == (40, 41, 41)


async def test_the_same_request_of_two_samples_is_made_once(store: Store) -> None:
    model, judge = Model(soon), Reader()
    await ended(plan(store, [sample(f"q{n}", text="The same") for n in range(8)], model, judge))
    assert len(model.asked) == 1
    assert len(judge.shown) == 8


async def test_when_the_first_of_two_same_requests_fails_the_other_tries_for_itself(store: Store) -> None:
    answers = iter([CallFailure("http_400", "no"), None])

    async def once(asked: Sample) -> Reply:
        await asyncio.sleep(0.01)
        if failure := next(answers):
            raise CallError(failure)
        return await at_once(asked)

    model = Model(once)
    engine = plan(store, [sample("a", text="The same"), sample("b", text="The same")], model)
    await ended(engine)
    assert len(model.asked) == 2
    assert (engine.tracker.ungraded, engine.tracker.graded) == (1, {1: 1})
    assert engine.tracker.last_problem == "no"


async def test_the_judge_is_shown_the_conversation_that_was_really_had(store: Store) -> None:
    model, judge = Model(), Reader()
    await ended(plan(store, [sample("q", 3)], model, judge, history=History.LIVE))
    shown, response = judge.shown[0]
    assert [message.content for message in shown.dialogue] == [
        "q, message 0",
        "To q, message 0",
        "q, message 2",
        "To q, message 2",
        "q, message 4",
    ]
    assert [message.role for message in shown.dialogue] == ["user", "assistant"] * 2 + ["user"]
    assert response == "To q, message 4"
    assert [len(messages) for messages in model.asked] == [1, 3, 5]


async def test_a_failure_on_the_way_keeps_the_calls_before_it(store: Store) -> None:
    broken = [True]

    async def breaks_once(asked: Sample) -> Reply:
        if len(asked.dialogue) == 3 and broken:
            broken.clear()
            raise CallError(CallFailure("http_400", "no"))
        return await at_once(asked)

    model = Model(breaks_once)
    await ended(plan(store, [sample("q", 4)], model, history=History.LIVE))
    assert [len(messages) for messages in model.asked] == [1, 3]
    await ended(plan(store, [sample("q", 4)], model, history=History.LIVE))
    assert [len(messages) for messages in model.asked] == [1, 3, 3, 5, 7]


async def test_the_store_is_not_searched_again_by_every_worker_at_the_end(store: Store) -> None:
    many = [sample(f"q{number}") for number in range(300)]
    queries: list[str] = []
    engine = plan(store, many, Model(), concurrency=50)
    store._db.connection.set_trace_callback(queries.append)
    await ended(engine)
    store._db.connection.set_trace_callback(None)
    assert engine.tracker.done == 300
    assert sum("ORDER BY s.position LIMIT" in query for query in queries) == 2


# Stopping


async def test_a_stop_finishes_what_is_in_flight_and_starts_nothing(store: Store) -> None:
    async def stops_at_the_tenth(asked: Sample) -> Reply:
        if len(model.asked) == 10:
            engine.stop("Interrupted.")
        return await soon(asked)

    model = Model(stops_at_the_tenth)
    engine = plan(store, MANY, model)
    with pytest.raises(RunStopped) as stopped:
        await ended(engine)
    assert stopped.value.code == "interrupted"
    assert model.ended == len(model.asked) == 10
    assert model.closed
    continued = plan(store, MANY, model)
    await ended(continued)
    assert len(model.asked) == len(MANY)
    assert continued.tracker.already_done == 10


async def test_a_stop_before_the_beginning_starts_nothing(store: Store) -> None:
    model = Model()
    engine = plan(store, MANY, model)
    engine.stop("Interrupted.")
    with pytest.raises(RunStopped):
        await ended(engine)
    assert model.asked == []


@pytest.mark.parametrize(
    "failure",
    [
        CallFailure("http_500", "broken", retryable=True),
        CallFailure("http_429", "slow down", retryable=True, throttled=True, retry_after=100),
    ],
)
async def test_a_stop_does_not_wait_for_retries_and_pauses(store: Store, failure: CallFailure) -> None:
    async def fails_after_one(asked: Sample) -> Reply:
        if asked.query_id == "q0":
            return await at_once(asked)
        raise CallError(failure)

    slow = Patience(first_backoff=100.0, longest_backoff=100.0)
    engine = plan(store, MANY, Model(fails_after_one), patience=slow)
    asyncio.get_running_loop().call_later(0.1, engine.stop, "Interrupted.")
    with pytest.raises(RunStopped) as stopped:
        await ended(engine)
    assert stopped.value.code == "interrupted"
    assert (engine.tracker.done, engine.tracker.ungraded) == (1, 0)


async def test_a_second_stop_lets_go_of_what_is_in_flight(store: Store) -> None:
    all_hang = asyncio.Event()

    async def never(asked: Sample) -> Reply:
        if asked.query_id == "q0":
            return await at_once(asked)
        if len(model.asked) == 1 + 4:
            all_hang.set()
        await asyncio.sleep(100)
        raise AssertionError("unreachable")

    model = Model(never)
    engine = plan(store, MANY, model)
    running = asyncio.create_task(ended(engine))
    await all_hang.wait()
    engine.stop("Interrupted.")
    await asyncio.sleep(0.05)
    assert not running.done()
    engine.stop("Interrupted.")
    engine.stop("Interrupted.")
    with pytest.raises(RunStopped):
        await running
    assert len(model.asked) == 1 + 4
    assert model.closed


async def test_work_without_a_network_leaves_signals_their_turn(store: Store) -> None:
    many = [sample(f"q{number}") for number in range(400)]
    await ended(plan(store, many, Model(origin=None)))

    class Another(Reader):
        identity = "another"

    engine = plan(store, many, Model(), Another())
    asyncio.get_running_loop().call_soon(engine.stop, "Interrupted.")
    with pytest.raises(RunStopped):
        await ended(engine)
    assert engine.tracker.done < 20


# Errors


async def test_a_fatal_failure_stops_all_after_one_call(store: Store) -> None:
    async def refuses(asked: Sample) -> Reply:
        raise CallError(CallFailure("bad_key", "the key is wrong", fatal=True))

    model = Model(refuses)
    with pytest.raises(RunStopped) as stopped:
        await ended(plan(store, MANY, model, concurrency=20))
    assert stopped.value.code == "bad_key"
    assert len(model.asked) == 1
    assert model.closed


async def test_a_bug_in_one_worker_ends_the_run_at_once_and_visibly(store: Store) -> None:
    async def bug(asked: Sample) -> Reply:
        await asyncio.sleep(0.001)
        if asked.query_id == "q5":
            raise ZeroDivisionError
        return await soon(asked)

    model = Model(bug)
    with pytest.RaisesGroup(ZeroDivisionError):
        await ended(plan(store, MANY, model))
    assert len(model.asked) < 15
    assert model.closed


async def test_a_store_that_cannot_be_written_stops_the_run_with_its_reason(store: Store) -> None:
    model = Model(soon)
    engine = plan(store, MANY, model)
    store._db.connection.execute("PRAGMA query_only = 1")
    with pytest.raises(RunError, match="attempt to write a readonly database") as error:
        await ended(engine)
    assert error.value.code == "store_unusable"
    assert model.ended == len(model.asked) <= 2 * 4
    store._db.connection.execute("PRAGMA query_only = 0")
    await ended(plan(store, MANY, model))


async def test_a_store_that_cannot_be_read_stops_the_run_with_its_reason(store: Store) -> None:
    engine = plan(store, MANY, Model())
    store._db.connection.execute("ALTER TABLE answers RENAME TO lost")
    with pytest.raises(RunError, match="no such table"):
        await ended(engine)
    store._db.connection.execute("ALTER TABLE lost RENAME TO answers")


async def test_a_target_that_makes_no_calls_can_fail_sample_by_sample(store: Store) -> None:
    async def not_recorded(asked: Sample) -> Reply:
        raise CallError(CallFailure("not_recorded", f"nothing is recorded for {asked.id}"))

    engine = plan(store, MANY, Model(not_recorded, origin=None))
    await ended(engine)
    assert (engine.tracker.done, engine.tracker.ungraded) == (40, 40)
    assert (engine.limits, engine.retries) == ({}, 0)
    assert engine.tracker.last_problem.startswith("nothing is recorded for q")
