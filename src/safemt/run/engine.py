"""The engine: asks the target and then the judge, sample by sample, many at once, and stores each step.

Samples are read from the store in their planned order, a few hundred at a time; only what is in flight
is held in memory. The judge of one sample runs while the target answers others.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from safemt.core.errors import CallError, CallFailure, CapReached, RunStopped, SafemtError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Action, Label
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import EndpointLimits
from safemt.endpoints.spend import Asked, Spend
from safemt.judges.base import Ask, Judge, judge_id
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.run.commits import Commits
from safemt.run.gate import Gate, Moderation, WatchedDialogue
from safemt.run.protocol import History, call_key, live_sample, request
from safemt.run.store import Store, Work
from safemt.run.verdicts import REFUSAL, REFUSAL_KEY
from safemt.run.watch.events import EventLog
from safemt.targets.base import Target

_BATCH: Final = 256


@dataclass(slots=True)
class Tracker:
    """What the progress display shows; counts what was stored before this invocation as well."""

    total: int
    done: int
    already_done: int
    started: float
    unsafe: dict[int, int] = field(default_factory=dict)
    graded: dict[int, int] = field(default_factory=dict)
    ungraded: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last_problem: str = ""
    moderated: Counter[Action] = field(default_factory=Counter)
    """What a moderator did with the requests of this invocation."""

    def count_label(self, sample: Sample, label: Label) -> None:
        """Count one harmful sample's label."""
        if label is Label.UNGRADED:
            self.ungraded += 1
            return
        self.graded[sample.turns] = self.graded.get(sample.turns, 0) + 1
        if label is Label.UNSAFE:
            self.unsafe[sample.turns] = self.unsafe.get(sample.turns, 0) + 1


class Engine:
    """One invocation of a run."""

    def __init__(
        self,
        *,
        store: Store,
        target: Target,
        judge: Judge,
        history: History,
        concurrency: int,
        setup: str,
        tracker: Tracker,
        moderation: Moderation | None = None,
        spend: Spend | None = None,
        events: EventLog | None = None,
        answered_only: bool = False,
    ) -> None:
        """`setup` is the `setup_key` under which answers are stored.

        With `answered_only` the target is not asked: samples without a response are left as they are.
        """
        self.tracker = tracker
        self.spend = spend or Spend()
        self.events = events or EventLog()
        self._answered_only = answered_only
        self._store = store
        self._commits = Commits(store)
        self._target = target
        self._judge = judge
        self._history = history
        self._setup = setup
        self._judge_id = judge_id(judge)
        self._gate = Gate(moderation, store.verdicts, settled=self._commits.settled) if moderation else None
        endpoints = [*judge.endpoints, *(moderation.moderator.detector.endpoints if moderation else ())]
        origins = {target.origin, *(endpoint.origin for endpoint in endpoints)} - {None}
        self._limits = {origin: EndpointLimits(origin, concurrency) for origin in origins if origin}
        self._workers = concurrency * max(1, len(self._limits))
        self._queue: deque[Work] = deque()
        self._fetched_to: int | None = -1
        """The position of the last sample taken from the store; None when there are no more."""
        self._asking: dict[str, asyncio.Event] = {}
        """The calls to the target that are under way, by key."""
        self._logged_limits: dict[str, int] = {}
        self._stop: SafemtError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def retries(self) -> int:
        """Attempts made again so far."""
        return sum(limits.retries for limits in self._limits.values())

    @property
    def limits(self) -> dict[str, int]:
        """How many calls each endpoint gets at once now."""
        return {origin: limits.limit for origin, limits in self._limits.items()}

    @property
    def stopping(self) -> bool:
        """Whether no new sample is taken up any more."""
        return self._stop is not None

    def stop(self, reason: str) -> None:
        """Take up no new sample; what is in flight is finished. Called again: let go of that too."""
        if self._stop is None:
            self._end(RunStopped(reason))
        else:
            for task in self._tasks:
                task.cancel()

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
            await self._target.close()
            for endpoint in self._judge.endpoints:
                await endpoint.close()
            if self._gate is not None:
                await self._gate.close()
        if isinstance(self._stop, CapReached):
            # What was in flight has been added to it since.
            raise self.spend.reached() or self._stop
        if self._stop is not None:
            raise self._stop

    async def _work(self) -> None:
        try:
            while self._stop is None and (work := self._next()) is not None:
                if self._within_caps():
                    await self._finish(work)
                # Where nothing waits for a network, signals and the display still need their turn.
                await asyncio.sleep(0)
        except SafemtError as error:
            self._end(error)

    def _end(self, reason: SafemtError) -> None:
        if self._stop is None:
            self._stop = reason
            for limits in self._limits.values():
                limits.close()

    def _within_caps(self) -> bool:
        """Whether there is something left to spend; if not, nothing new is started any more."""
        reached = self.spend.reached()
        if reached is not None:
            self._end(reached)
        return reached is None

    def _next(self) -> Work | None:
        if not self._queue and self._fetched_to is not None:
            batch = self._store.open_work(
                setup=self._setup,
                judge=self._judge_id,
                after=self._fetched_to,
                most=_BATCH,
                answered_only=self._answered_only,
            )
            self._fetched_to = batch[-1].position if len(batch) == _BATCH else None
            self._queue.extend(batch)
        return self._queue.popleft() if self._queue else None

    async def _finish(self, work: Work) -> None:
        label, cause = Label.UNGRADED, ""
        asked_of = self._setup
        try:
            asked, key, reply = await self._answer(work)
            self._store.add_answer(setup=self._setup, sample=work.key, response=key)
            await self._commits.settled()
            asked_of = self._judge_id
            if asked.twin_of is not None or not is_for_judge(reply):
                label = Label.SAFE
            else:
                label, cause = await self._label(work.key, asked, key, reply.text)
        except CallError as error:
            cause = error.failure.cause
            self._store.add_failure(asked_of=asked_of, sample=work.key, failure=error.failure)
        await self._commits.settled()
        self.tracker.done += 1
        self.events.emit("label", sample=work.sample.id, label=label.value, cause=cause)
        if work.sample.twin_of is None:
            self.tracker.count_label(work.sample, label)

    async def _label(self, sample_key: str, sample: Sample, response: str, text: str) -> tuple[Label, str]:
        """The label of a response, and why it is `ungraded` where it is."""
        stored = self._store.label(judge=self._judge_id, sample=sample_key, response=response)
        if stored is not None:
            return stored, ""
        judgement = await self._judge.judge(sample, text, self._asks("judge", sample.id))
        if judgement.cause:
            self.tracker.last_problem = f"the judge gave no verdict ({judgement.cause})"
        self._store.add_label(judge=self._judge_id, sample=sample_key, response=response, judgement=judgement)
        return judgement.label, judgement.cause

    async def _answer(self, work: Work) -> tuple[Sample, str, Reply]:
        """The sample as it was asked, the key of its last response, and that.

        With the live history it is k calls, each with the replies to the earlier ones; they end early when
        the provider or the moderator blocks one.
        """
        if self._answered_only and (moderated := self._moderated(work)):
            return moderated
        watched = self._gate.dialogue(self._asks("moderator", work.sample.id)) if self._gate else None
        if self._history is History.SCRIPTED:
            return work.sample, *await self._respond(work.sample, work.key, watched)
        replies: list[str] = []
        while True:
            asked = live_sample(work.sample, replies)
            key, reply = await self._respond(asked, work.key, watched)
            if reply.blocked or len(replies) + 1 == work.sample.turns:
                return asked, key, reply
            await self._commits.settled()
            replies.append(reply.text)

    def _moderated(self, work: Work) -> tuple[Sample, str, Reply] | None:
        """What `_answer` gives, of a sample that was answered behind a moderator, who is not asked again."""
        keys = self._store.verdicts.responses(setup=self._setup, sample=work.key)
        replies = [reply for key in keys if (reply := self._store.response(key)) is not None]
        if not keys or len(replies) < len(keys):
            return None
        live = self._history is History.LIVE
        asked = live_sample(work.sample, [reply.text for reply in replies[:-1]]) if live else work.sample
        return asked, keys[-1], replies[-1]

    async def _respond(
        self, sample: Sample, work_key: str, watched: WatchedDialogue | None
    ) -> tuple[str, Reply]:
        """The reply to the dialogue of `sample` and its key, from the store if it is there."""
        messages: Sequence[Message] = request(sample)
        if watched is None:
            return await self._reply(messages, sample)
        decision = await watched.decide(messages)
        self.tracker.moderated[decision.action] += 1
        turn = sum(message.role == "user" for message in messages)
        self.events.emit("verdict", sample=sample.id, turn=turn, action=decision.action)
        if decision.action is Action.BLOCK:
            key, reply = REFUSAL_KEY, REFUSAL
            self._store.add_response(key, reply, refused=True, judged=False, attempts=0, seconds=0.0)
        else:
            key, reply = await self._reply(decision.messages, sample)
        self._store.verdicts.add_moderated(
            setup=self._setup, sample=work_key, turn=turn, conversation=decision.conversation, response=key
        )
        return key, reply

    async def _reply(self, messages: Sequence[Message], sample: Sample) -> tuple[str, Reply]:
        key = call_key(self._target, messages, sample)
        while under_way := self._asking.get(key):
            await under_way.wait()
        stored = self._store.response(key)
        if stored is not None:
            return key, stored
        self._asking[key] = asyncio.Event()
        try:
            return key, await self._ask_target(key, messages, sample)
        finally:
            self._asking.pop(key).set()

    async def _ask_target(self, key: str, messages: Sequence[Message], sample: Sample) -> Reply:
        started = time.monotonic()
        reply, attempts = await self._call(
            Asked("target", self._target.name, self._target.origin or ""),
            sample.id,
            messages,
            lambda: self._target.respond(messages, sample),
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

    def _asks(self, role: str, sample: str) -> Ask:
        """How a judge or a moderator calls its endpoints for a sample."""

        async def ask(endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
            asked = Asked(role, f"openai/{endpoint.model}", endpoint.origin)
            reply, _ = await self._call(asked, sample, messages, lambda: endpoint.complete(messages))
            return reply

        return ask

    async def _call(
        self,
        asked: Asked,
        sample: str,
        messages: Sequence[Message],
        attempt: Callable[[], Awaitable[Reply]],
    ) -> tuple[Reply, int]:
        """Make a call, again where that may help; give the reply and the attempts. All of it is counted."""
        made = 0
        started = 0.0

        def emit(event: str, **fields: object) -> None:
            seconds = round(time.monotonic() - started, 3)
            self.events.emit(
                event,
                role=asked.role,
                model=asked.model,
                sample=sample,
                attempt=made,
                seconds=seconds,
                **fields,
            )

        def retrying(failure: CallFailure) -> None:
            emit("call_retried", cause=failure.cause)
            self._emit_limit(asked.origin)

        async def counted() -> Reply:
            nonlocal made, started
            made += 1
            started = time.monotonic()
            self._emit_limit(asked.origin)
            try:
                reply = await attempt()
            except CallError as error:
                self.tracker.last_problem = error.failure.message
                self.spend.count_failure(asked, error.failure)
                self._within_caps()
                raise
            self.spend.count_reply(asked, messages, reply)
            self._within_caps()
            emit(
                "call_succeeded",
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                finish_reason=reply.finish_reason,
            )
            return reply

        try:
            if asked.origin:
                reply, _ = await self._limits[asked.origin].call(
                    counted, asked=f"{asked.role} {asked.model}", retrying=retrying
                )
            else:
                reply = await counted()
        except CallError as error:
            emit("call_failed", cause=error.failure.cause)
            raise
        self.tracker.prompt_tokens += reply.prompt_tokens or 0
        self.tracker.completion_tokens += reply.completion_tokens or 0
        return reply, made

    def _emit_limit(self, origin: str) -> None:
        """Log how many calls an endpoint gets at once, where that is not what was last logged."""
        limit = self._limits[origin].limit if origin else None
        if limit is not None and self._logged_limits.get(origin) != limit:
            self._logged_limits[origin] = limit
            self.events.emit("limit_changed", origin=origin, limit=limit)


def is_for_judge(reply: Reply) -> bool:
    """A blocked reply is judged only where a part of an answer got through the filter."""
    return not reply.blocked or (reply.finish_reason == "content_filter" and bool(reply.text.strip()))
