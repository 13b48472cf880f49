"""A moderator in front of a target: what is sent, what is stored, what is not asked again."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import CallError, CallFailure
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Action, Label, OnError, Outcome, Scenario
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.base import Judgement, judge_id
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.inject import Position, inject
from safemt.moderation.policies.policy import read_policies
from safemt.run.engine import Engine, setup_of
from safemt.run.gate import REFUSAL, REFUSAL_KEY, Moderation
from safemt.run.protocol import History, request
from safemt.run.rows import StoredVerdict
from safemt.run.running import Tracker
from safemt.run.store import Store
from safemt.stats.scores import ScoredSample

POLICIES = read_policies()
FRAUD = POLICIES.by_scenario[Scenario.FRAUD]


class WordDetector:
    """Flags a conversation once a user has said `bad`, and fails while `failures` are left."""

    name = "word"
    identity = "word"
    threshold = 0.5
    endpoints: Sequence[ChatEndpoint] = ()

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.read: list[str] = []
        self.threads: set[int] = set()

    def open(self, ask: Ask) -> Reading:
        return _WordReading(self)


class _WordReading:
    def __init__(self, detector: WordDetector) -> None:
        self._detector = detector
        self._bad = False

    async def add(self, message: Message) -> Scan:
        self._detector.read.append(message.content)
        self._detector.threads.add(threading.get_ident())
        self._bad |= message.role == "user" and "bad" in message.content
        return Scan(text=True)

    async def assess(self) -> Assessment:
        if self._detector.failures:
            self._detector.failures -= 1
            raise CallError(CallFailure("timeout", "it took too long"))
        return Assessment(risk=float(self._bad), scenarios={Scenario.FRAUD: 0.9 * self._bad})


class Model:
    """A target that says what it was asked last, and remembers all of it."""

    name = "test/model"
    simulated = False
    identity = "test"
    answers_by_sample = False
    origin = None

    def __init__(self) -> None:
        self.asked: list[Sequence[Message]] = []

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        self.asked.append(tuple(messages))
        users = [message.content for message in messages if message.role == "user"]
        return Reply(text=f"To {users[-1]}")

    async def close(self) -> None:
        pass


class Reader:
    """A judge that calls everything unsafe, and remembers what it was shown."""

    name = "test/judge"
    identity = "test"
    endpoints: Sequence[ChatEndpoint] = ()

    def __init__(self) -> None:
        self.shown: list[tuple[Sample, str]] = []

    async def judge(self, sample: Sample, response: str, ask: Ask) -> Judgement:
        self.shown.append((sample, response))
        return Judgement(label=Label.UNSAFE)


def sample(name: str, *turns: str, twin_of: str | None = None) -> Sample:
    dialogue = [Message("user", turns[0])]
    for turn in turns[1:]:
        dialogue += [Message("assistant", "Scripted."), Message("user", turn)]
    return Sample(name, len(turns), Scenario.FRAUD, "Question?", tuple(dialogue), twin_of=twin_of)


GOOD, BAD, TWIN = (
    sample("good", "a good one"),
    sample("bad", "hello", "bad"),
    sample("twin", "bad", twin_of="bad"),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open_for_run(tmp_path / "out")
    yield opened
    opened.close()


class Run:
    """One invocation on a store."""

    def __init__(self, detector: WordDetector | None = None, **settings: Any) -> None:
        self.model, self.judge = Model(), Reader()
        self.detector = detector or WordDetector()
        settings = {"action": Action.INJECT, "on_error": OnError.INJECT, **settings}
        position = settings.pop("position", Position.LATE_SYSTEM)
        self.history = settings.pop("history", History.SCRIPTED)
        moderator = Moderator(detector=self.detector, policies=POLICIES, **settings)
        self.moderation = Moderation(moderator=moderator, position=position)
        self.setup = setup_of(self.model, self.history, self.moderation)
        self.tracker = Tracker.of([])

    async def on(self, store: Store, *samples: Sample, moderated: bool = True) -> "Run":
        setup = self.setup if moderated else setup_of(self.model)
        store.begin(setup=setup.key, judge=judge_id(self.judge), manifest={}, plan=list(enumerate(samples)))
        engine = Engine(store=store, setup=setup, judge=self.judge, concurrency=4, tracker=self.tracker)
        await engine.run()
        return self

    def scored(self, store: Store) -> dict[str, ScoredSample]:
        return {s.query_id: s for s in store.scored_samples(setup=self.setup.key, judge=judge_id(self.judge))}

    def verdicts(self, store: Store) -> list[StoredVerdict]:
        return list(store.verdicts(setup=self.setup.key))


def injected(asked: Sample, position: Position = Position.LATE_SYSTEM) -> tuple[Message, ...]:
    return inject(request(asked), [FRAUD], position=position)


# What is sent


@pytest.mark.parametrize("position", Position)
async def test_a_flagged_dialogue_is_sent_with_the_policy_and_another_as_it_is(
    store: Store, position: Position
) -> None:
    run = await Run(position=position).on(store, GOOD, BAD)
    assert set(run.model.asked) == {tuple(request(GOOD)), injected(BAD, position)}
    assert {s: (r.label, r.outcome) for s, r in run.scored(store).items()} == {
        "good": (Label.UNSAFE, Outcome.COMPLIED),
        "bad": (Label.UNSAFE, Outcome.COMPLIED),
    }
    assert run.tracker.moderated == {Action.ALLOW: 1, Action.INJECT: 1}


async def test_a_blocked_dialogue_is_neither_asked_nor_judged_and_is_safe_but_apart(store: Store) -> None:
    run = await Run(action=Action.BLOCK).on(store, GOOD, BAD, TWIN)
    assert run.model.asked == [tuple(request(GOOD))]
    assert [asked.query_id for asked, _ in run.judge.shown] == ["good"]
    results = run.scored(store)
    assert (results["bad"].label, results["bad"].outcome) == (Label.SAFE, Outcome.MODERATED)
    assert results["twin"].outcome is Outcome.MODERATED
    assert store.response(REFUSAL_KEY) == REFUSAL
    assert "polic" not in REFUSAL.text.lower()


async def test_the_judge_sees_the_dialogue_without_the_policy(store: Store) -> None:
    run = await Run().on(store, BAD)
    assert [asked for asked, _ in run.judge.shown] == [BAD]


# What is not asked again


async def test_an_allowed_dialogue_shares_its_response_with_a_run_without_a_moderator(store: Store) -> None:
    plain = await Run().on(store, GOOD, BAD, moderated=False)
    assert len(plain.model.asked) == 2
    moderated = await Run().on(store, GOOD, BAD)
    assert moderated.model.asked == [injected(BAD)]
    assert [asked.query_id for asked, _ in moderated.judge.shown] == ["bad"]


async def test_a_finished_run_reads_and_asks_nothing(store: Store) -> None:
    await Run().on(store, GOOD, BAD)
    again = await Run().on(store, GOOD, BAD)
    assert (again.detector.read, again.model.asked, again.judge.shown) == ([], [], [])


async def test_a_verdict_is_taken_from_the_store_where_the_sample_is_still_open(store: Store) -> None:
    first = await Run().on(store, BAD)
    store._db.write("DELETE FROM answers")
    again = await Run().on(store, BAD)
    assert (again.detector.read, again.model.asked) == ([], [])
    assert again.scored(store) == first.scored(store)


@pytest.mark.parametrize(
    "changed",
    [
        {"action": Action.BLOCK},
        {"on_error": OnError.OPEN},
        {"threshold": 0.2},
        {"position": Position.SYSTEM},
    ],
)
async def test_another_moderator_is_another_setup(changed: dict[str, Any]) -> None:
    assert Run(**changed).setup.key != Run().setup.key


# What went wrong


@pytest.mark.parametrize(
    ("on_error", "action"),
    [(OnError.INJECT, Action.INJECT), (OnError.CLOSED, Action.BLOCK), (OnError.OPEN, Action.ALLOW)],
)
async def test_a_moderator_that_fails_is_degraded_in_the_verdict_and_follows_on_error(
    store: Store, on_error: OnError, action: Action
) -> None:
    run = await Run(WordDetector(failures=99), on_error=on_error).on(store, GOOD)
    [verdict] = [each.verdict for each in run.verdicts(store)]
    assert verdict.degraded is not None
    assert (verdict.action, verdict.degraded.cause, verdict.flagged) == (action, "timeout", False)
    baseline = inject(request(GOOD), [POLICIES.baseline])
    sent = {Action.INJECT: [baseline], Action.BLOCK: [], Action.ALLOW: [tuple(request(GOOD))]}
    assert run.model.asked == sent[action]


async def test_a_degraded_verdict_is_made_again_for_a_sample_that_is_open(store: Store) -> None:
    await Run(WordDetector(failures=1)).on(store, GOOD)
    store._db.write("DELETE FROM answers")
    again = await Run().on(store, GOOD)
    [verdict] = [each.verdict for each in again.verdicts(store)]
    assert verdict.degraded is None
    assert again.model.asked == [tuple(request(GOOD))]


# Live


async def test_a_live_dialogue_is_moderated_before_each_turn_and_policies_stay_out_of_its_history(
    store: Store,
) -> None:
    live = sample("live", "hello", "bad", "go on")
    run = await Run(history=History.LIVE).on(store, live)
    first = (Message("user", "hello"),)
    second = (*first, Message("assistant", "To hello"), Message("user", "bad"))
    third = (*second, Message("assistant", "To bad"), Message("user", "go on"))
    assert run.model.asked == [first, inject(second, [FRAUD]), inject(third, [FRAUD])]
    assert run.detector.read == [message.content for message in third], "each message is read once"
    assert [(v.last, v.verdict.action) for v in run.verdicts(store)] == [
        (False, "allow"), (False, "inject"), (True, "inject"),
    ]  # fmt: skip


async def test_a_live_dialogue_ends_where_it_is_blocked(store: Store) -> None:
    live = sample("live", "hello", "bad", "go on")
    run = await Run(history=History.LIVE, action=Action.BLOCK).on(store, live)
    assert run.model.asked == [(Message("user", "hello"),)]
    assert run.scored(store)["live"].outcome is Outcome.MODERATED


async def test_judging_again_asks_neither_moderator_nor_target_and_shows_the_dialogue_that_was_had(
    store: Store,
) -> None:
    live = sample("live", "hello", "bad")
    run = await Run(history=History.LIVE).on(store, live)
    again = Reader()
    again.identity = "another"
    nobody = replace(run.setup, target=None)
    store.begin(setup=nobody.key, judge=judge_id(again), manifest={}, plan=[(0, live)])
    engine = Engine(store=store, setup=nobody, judge=again, concurrency=1, tracker=run.tracker)
    await engine.run()
    assert len(run.model.asked) == 2
    assert again.shown == run.judge.shown


# Where it works


async def test_a_detector_of_this_machine_works_outside_the_event_loops_thread(store: Store) -> None:
    run = await Run().on(store, *(sample(f"q{number}", "hello", "bad") for number in range(20)))
    assert threading.get_ident() not in run.detector.threads
    assert len(run.detector.threads) == 1
