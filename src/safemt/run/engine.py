"""The engine: takes sample by sample from question to label, many at once, and stores each step.

Samples are read from the store in their planned order, a few hundred at a time; only what is in flight
is held in memory. The judge of one sample runs while the target answers others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from safemt.core.errors import CallError, CapReached, RunStopped, SafemtError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Action, Label
from safemt.endpoints.base import Reply
from safemt.endpoints.limits import Patience
from safemt.endpoints.spend import Asked, Spend
from safemt.judges.base import Judge, Judgement, judge_id
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.run.calls import Calls
from safemt.run.commits import Commits
from safemt.run.gate import REFUSAL, REFUSAL_KEY, Decision, Gate, Moderation, WatchedDialogue
from safemt.run.protocol import History, as_asked, call_key, request, setup_key
from safemt.run.rows import Work
from safemt.run.running import Tracker
from safemt.run.store import Store
from safemt.run.watch.events import EventLog
from safemt.targets.base import Target

_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Whom a run asks, and how. Its answers are kept under `key`."""

    key: str
    target: Target | None
    """None: nobody is asked; what is answered already is judged, and the rest is left as it is."""
    history: History = History.SCRIPTED
    moderation: Moderation | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a sample."""

    sample: Sample
    """As it was asked: with the live history, with the target's own replies."""
    key: str
    reply: Reply
    is_new: bool
    """Whether it came just now, so that no judge can have seen it."""


def setup_of(
    target: Target, history: History = History.SCRIPTED, moderation: Moderation | None = None
) -> Setup:
    """The setup in which `target` is asked."""
    key = setup_key(target, history, moderation.identity if moderation else None)
    return Setup(key=key, target=target, history=history, moderation=moderation)


class Engine:
    """One invocation of a run."""

    def __init__(
        self,
        *,
        store: Store,
        setup: Setup,
        judge: Judge,
        concurrency: int,
        tracker: Tracker,
        spend: Spend | None = None,
        events: EventLog | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`concurrency` is the most calls at once to each endpoint."""
        self.tracker = tracker
        self.spend = spend or Spend()
        self.events = events or EventLog()
        self._store = store
        self._commits = Commits(store)
        self._setup = setup
        self._judge = judge
        self._judge_id = judge_id(judge)
        self._gate = (
            Gate(setup.moderation, store, settled=self._commits.settled) if setup.moderation else None
        )
        endpoints = [*judge.endpoints, *(self._gate.moderator.detector.endpoints if self._gate else ())]
        of_target = [setup.target.origin] if setup.target and setup.target.origin else []
        origins = dict.fromkeys([*of_target, *(endpoint.origin for endpoint in endpoints)])
        self._calls = Calls(
            origins=origins, concurrency=concurrency, spend=self.spend, events=self.events, tracker=tracker,
            patience=patience,
        )  # fmt: skip
        self._workers = concurrency * max(1, len(origins))
        self._queue: deque[Work] = deque()
        self._fetched_to: int | None = -1
        """The position of the last sample taken from the store; None when there are no more."""
        self._asking: dict[str, asyncio.Event] = {}
        """The calls to the target that are under way, by key."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def retries(self) -> int:
        """Attempts made again so far."""
        return self._calls.limits.retries

    @property
    def limits(self) -> dict[str, int]:
        """How many calls each endpoint gets at once now."""
        return self._calls.limits.now

    @property
    def stopping(self) -> bool:
        """Whether no new sample is taken up any more."""
        return self._calls.stopped is not None

    def stop(self, reason: str) -> None:
        """Take up no new sample; finish what is in flight. Called again: let go of that, too."""
        if self.stopping:
            for task in self._tasks:
                task.cancel()
        self._calls.stop(RunStopped("interrupted", reason))

    async def run(self) -> None:
        """Work off everything that is unfinished.

        Raises:
            RunStopped: it stopped before the end; everything finished is stored.
            RunError: the store cannot be written.
            BenchmarkError: an image has changed since the plan was made.
        """
        try:
            with self._store.grouped():
                async with asyncio.TaskGroup() as group:
                    self._tasks = [group.create_task(self._work()) for _ in range(self._workers)]
        finally:
            for called in (self._setup.target, *self._judge.endpoints, self._gate):
                if called is not None:
                    await called.close()
        stopped = self._calls.stopped
        if isinstance(stopped, CapReached):
            # What was in flight has been added to it since.
            raise self.spend.reached() or stopped
        if stopped is not None:
            raise stopped

    async def _work(self) -> None:
        try:
            while not self.stopping and (work := self._next()) is not None:
                self._calls.stop_at_caps()
                if not self.stopping:
                    await self._finish(work)
                # Where nothing waits for a network, signals and the display still need their turn.
                await asyncio.sleep(0)
        except SafemtError as error:
            self._calls.stop(error)

    def _next(self) -> Work | None:
        if not self._queue and self._fetched_to is not None:
            batch = self._store.open_work(
                setup=self._setup.key,
                judge=self._judge_id,
                after=self._fetched_to,
                most=_BATCH,
                answered_only=self._setup.target is None,
            )
            self._fetched_to = batch[-1].position if len(batch) == _BATCH else None
            self._queue.extend(batch)
        return self._queue.popleft() if self._queue else None

    # The way of one sample

    async def _finish(self, work: Work) -> None:
        """Answer a sample, judge the answer, store both, and count it."""
        asked_of = self._setup.key
        try:
            answer = await self._answered(work)
            asked_of = self._judge_id
            judgement = await self._judged(work, answer)
        except CallError as error:
            judgement = Judgement(Label.UNGRADED, error.failure.cause)
            self._store.add_failure(asked_of=asked_of, sample=work.key, failure=error.failure)
        await self._commits.settled()
        sample = work.sample
        self.tracker.count(sample.turns, judgement.label, twin=sample.twin_of is not None)
        self.events.emit("label", sample=sample.id, label=judgement.label.value, cause=judgement.cause)

    async def _answered(self, work: Work) -> Answer:
        """Ask the target about a sample: in one request, or with the live history turn by turn.

        A dialogue ends early when the provider or the moderator blocks a turn.
        """
        target, history = self._setup.target, self._setup.history
        if target is None:
            return self._stored_answer(work)
        watched = self._gate.dialogue(self._calls.ask("moderator", work.sample.id)) if self._gate else None
        replies: list[str] = []
        while True:
            sample = as_asked(work.sample, history, replies)
            decision = await self._moderated(sample, watched)
            key, reply, is_new = await self._replied(decision, sample, target)
            turn = sum(message.role == "user" for message in sample.dialogue)
            last = reply.blocked or turn == work.sample.turns
            self._store.add_answer(
                setup=self._setup.key, sample=work.key, turn=turn, response=key, last=last,
                verdict=decision.verdict,
            )  # fmt: skip
            await self._commits.settled()
            if last:
                return Answer(sample, key, reply, is_new)
            replies.append(reply.text)

    def _stored_answer(self, work: Work) -> Answer:
        replies = self._store.replies(setup=self._setup.key, sample=work.key)
        *earlier, (key, reply) = replies
        said = [each.text for _, each in earlier]
        return Answer(as_asked(work.sample, self._setup.history, said), key, reply, is_new=False)

    async def _moderated(self, sample: Sample, watched: WatchedDialogue | None) -> Decision:
        """The request for a sample, and what becomes of it behind a moderator."""
        messages = request(sample)
        if watched is None:
            return Decision(Action.ALLOW, messages)
        decision = await watched.decide(messages)
        self.tracker.moderated[decision.action] += 1
        turn = sum(message.role == "user" for message in messages)
        self.events.emit("verdict", sample=sample.id, turn=turn, action=decision.action)
        return decision

    async def _replied(self, decision: Decision, sample: Sample, target: Target) -> tuple[str, Reply, bool]:
        """The response to a request: its key, itself, and whether it is new or from the store."""
        if decision.action is Action.BLOCK:
            self._store.add_response(
                REFUSAL_KEY, REFUSAL, refused=True, judged=False, attempts=0, seconds=0.0
            )
            return REFUSAL_KEY, REFUSAL, True
        key = call_key(target, decision.messages, sample)
        while under_way := self._asking.get(key):
            await under_way.wait()
        stored = self._store.response(key)
        if stored is not None:
            return key, stored, False
        self._asking[key] = asyncio.Event()
        try:
            return key, await self._asked(key, decision.messages, sample, target), True
        finally:
            self._asking.pop(key).set()

    async def _asked(self, key: str, messages: Sequence[Message], sample: Sample, target: Target) -> Reply:
        """The target's reply to a request, stored under `key`."""
        started = time.monotonic()
        reply, attempts = await self._calls.make(
            Asked("target", target.name, target.origin or ""),
            sample.id,
            messages,
            lambda: target.respond(messages, sample),
        )
        self._store.add_response(
            key,
            reply,
            refused=detect_refusal(reply.text) is Refusal.FULL,
            judged=is_for_judge(reply),
            attempts=attempts,
            seconds=time.monotonic() - started,
        )
        return reply

    async def _judged(self, work: Work, answer: Answer) -> Judgement:
        """What the judge says of an answer, from the store if it could tell before."""
        if work.sample.twin_of is not None or not is_for_judge(answer.reply):
            return Judgement(Label.SAFE)
        if not answer.is_new:
            stored = self._store.label(judge=self._judge_id, sample=work.key, response=answer.key)
            if stored is not None:
                return Judgement(stored)
        ask = self._calls.ask("judge", work.sample.id)
        judgement = await self._judge.judge(answer.sample, answer.reply.text, ask)
        if judgement.cause:
            self.tracker.last_problem = f"the judge gave no verdict ({judgement.cause})"
        self._store.add_label(judge=self._judge_id, sample=work.key, response=answer.key, judgement=judgement)
        return judgement


def is_for_judge(reply: Reply) -> bool:
    """A blocked reply is judged only where a part of an answer got through the filter."""
    return not reply.blocked or (reply.finish_reason == "content_filter" and bool(reply.text.strip()))
