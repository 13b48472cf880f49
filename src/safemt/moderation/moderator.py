"""The moderator: it turns a detector's assessments into verdicts, in the same way for every detector.

session = moderator.open()
verdict = session.append({"role": "user", "content": "…"})
"""

import asyncio
import threading
import time
from collections.abc import Coroutine
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self, TypeVar

from safemt.core.errors import DialogueError, UsageError
from safemt.core.identity import Json
from safemt.core.schema import JUDGED_ROLES, Message, UnknownPart
from safemt.core.taxonomy import Action, OnError, Scenario
from safemt.core.verdict import Coverage, Degraded, TurnRisk, Unscanned, Verdict
from safemt.endpoints.asking import Ask, limited_ask
from safemt.moderation.detectors.detector import (
    Assessment,
    Detector,
    ForkableReading,
    Reading,
    Scan,
    assess_safely,
    degraded_by,
)
from safemt.moderation.policies.policy import FITS, Policies, Policy, select_policies
from safemt.moderation.reading.chat import Conversation, Said, conversation_of, message_of

LINKED: Final = 0.5
"""The linkage from which a turn serves the suspected intent. A turn below it is never blocked."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderator:
    """A detector and what follows from its assessments. Async methods begin with an `a`."""

    detector: Detector
    policies: Policies
    action: Action = Action.INJECT
    """What to do with a flagged conversation: `inject` or `block`."""
    on_error: OnError = OnError.INJECT
    threshold: float | None = None
    """The risk from which a conversation is flagged; None is the detector's own."""
    ask: Ask = limited_ask
    """Makes the calls to endpoints: by default within limits, and again if that may help."""

    @property
    def name(self) -> str:
        """The detector's name, such as `embedded`."""
        return self.detector.name

    @property
    def identity(self) -> Json:
        """Everything that decides a verdict and what a target is given."""
        return {
            "detector": self.detector.identity,
            "threshold": self.flag_from,
            "action": self.action.value,
            "on_error": self.on_error.value,
            "policies": self.policies.sha256,
        }

    @property
    def flag_from(self) -> float:
        """The risk from which a conversation is flagged."""
        return self.detector.threshold if self.threshold is None else self.threshold

    def open(self, name: str = "") -> "Session":
        """Begin a conversation; `name` becomes the verdicts' id."""
        return Session(self, self.detector.open(self.ask), name)

    def moderate(self, conversation: Conversation, *, name: str = "", every_turn: bool = True) -> Verdict:
        """The verdict on a whole conversation. See `amoderate`. Also works while an event loop is running."""
        return wait_for(self.amoderate(conversation, name=name, every_turn=every_turn), calls=self._calls)

    async def amoderate(
        self, conversation: Conversation, *, name: str = "", every_turn: bool = True
    ) -> Verdict:
        """The verdict on a whole conversation; its time and tokens are those of all turns.

        `conversation` is one user message as text, or a list of messages: each a `Message`, or a mapping with
        `role` and `content` as in a chat request. Without `every_turn` a detector that calls an endpoint is
        asked once, at the end, and the risk after earlier turns may be missing.

        Raises:
            DialogueError: there is no user message, or something is not a message.
        """
        session = self.open(name)
        for message in conversation_of(conversation):
            await session.aadd(message)
            if every_turn and message.role == "user":
                await session.aassess()
        return await session.averdict()

    async def close(self) -> None:
        """Close the connections; a later call opens others. The sync form is `with moderator:`."""
        for endpoint in self.detector.endpoints:
            await endpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        wait_for(self.close(), calls=self._calls)

    @property
    def _calls(self) -> bool:
        return bool(self.detector.endpoints)


class Session:
    """One conversation under moderation. State carries over: turn 50 costs the same as turn 2."""

    def __init__(self, moderator: Moderator, reading: Reading, name: str) -> None:
        self._moderator = moderator
        self._reading = reading
        self._name = name
        self._messages = self._turns = self._turns_scored = self._images = self._images_scored = 0
        self._unscanned: list[Unscanned] = []
        self._trajectory: dict[int, TurnRisk] = {}
        self._assessment: Assessment | None = None
        """Of the newest user turn with what tools brought in since; None while it is still to be made."""
        self._failed: Degraded | None = None
        """Why a message could not be taken in."""
        self._seconds = 0.0
        self._prompt_tokens = self._completion_tokens = 0

    def append(self, message: Said) -> Verdict:
        """Take in the next message, and give the verdict after it.

        Raises:
            DialogueError: there is no user message yet, or this is not a message.
        """
        return wait_for(self.aappend(message), calls=bool(self._moderator.detector.endpoints))

    async def aappend(self, message: Said) -> Verdict:
        """See `append`."""
        await self.aadd(message)
        return await self.averdict()

    async def aadd(self, message: Said) -> None:
        """Take in the next message without giving a verdict.

        Raises:
            DialogueError: this is not a message.
        """
        message = message_of(message)
        started = time.perf_counter()
        try:
            scan = await self._reading.add(message)
        except Exception as error:  # noqa: BLE001 - a detector may run anybody's code
            failed = degraded_by(error)
            self._failed = self._failed or failed
            scan = Scan(text=False, unscanned=dict.fromkeys(range(len(message.parts)), failed.cause))
        self._seconds += time.perf_counter() - started
        self._count(message, scan)
        if message.role in JUDGED_ROLES:
            self._assessment = None

    def _count(self, message: Message, scan: Scan) -> None:
        unknown = {n: part.kind for n, part in enumerate(message.parts) if isinstance(part, UnknownPart)}
        if unknown and message.role in JUDGED_ROLES:
            kinds = ", ".join(sorted(set(unknown.values())))
            self._failed = self._failed or Degraded(
                cause="unknown_part", message=f"No moderator can look at a part of the kind {kinds}."
            )
        self._unscanned += [
            Unscanned(message=self._messages, part=part, why=why)
            for part, why in sorted({**scan.unscanned, **unknown}.items())
        ]
        self._messages += 1
        self._images += len(message.images)
        self._images_scored += scan.images
        if message.role == "user":
            self._turns += 1
            self._turns_scored += scan.text

    async def averdict(self) -> Verdict:
        """The verdict on the conversation so far. Asking twice costs nothing.

        Raises:
            DialogueError: there is no user message yet.
        """
        if not self._turns:
            raise DialogueError(
                "no_user_message",
                "The dialogue has no user message, so there is nothing to moderate. Give at least one with "
                "the role `user`.",
            )
        verdict = self._decide(await self.aassess())
        self._seconds = 0.0
        self._prompt_tokens = self._completion_tokens = 0
        return verdict

    async def aassess(self) -> Assessment:
        """Assess the newest user turn unless that was done; its risk becomes part of later verdicts."""
        if self._assessment is None:
            self._assessment = await self._assess()
        return self._assessment

    async def _assess(self) -> Assessment:
        started = time.perf_counter()
        assessment = await assess_safely(self._reading)
        self._seconds += time.perf_counter() - started
        self._prompt_tokens += assessment.prompt_tokens
        self._completion_tokens += assessment.completion_tokens
        for turn, risk in enumerate(assessment.earlier, 1):
            self._trajectory.setdefault(turn, TurnRisk(turn=turn, risk=risk))
        self._trajectory[self._turns] = TurnRisk(
            turn=self._turns,
            risk=assessment.risk,
            turn_risk=assessment.turn_risk,
            linkage=assessment.linkage,
        )
        return assessment

    def _decide(self, assessment: Assessment) -> Verdict:
        moderator = self._moderator
        degraded = self._failed or assessment.degraded
        flagged = assessment.risk is not None and assessment.risk >= moderator.flag_from
        action = _action(assessment, flagged=flagged, degraded=degraded is not None, moderator=moderator)
        policies: tuple[Policy, ...] = ()
        if action is Action.INJECT:
            policies = select_policies(moderator.policies, assessment.scenarios if flagged else {})
        return Verdict(
            id=self._name,
            moderator=moderator.name,
            risk=assessment.risk,
            threshold=moderator.flag_from,
            flagged=flagged,
            action=action,
            scenario=_likeliest(assessment) if flagged else None,
            scenarios=assessment.scenarios,
            turns=tuple(
                self._trajectory.get(turn, TurnRisk(turn=turn, risk=None))
                for turn in range(1, self._turns + 1)
            ),
            policies=tuple(policy.ref for policy in policies),
            coverage=Coverage(
                turns_scored=self._turns_scored,
                turns_total=self._turns,
                images_scored=self._images_scored,
                images_total=self._images,
                unscanned=tuple(self._unscanned),
            ),
            degraded=degraded,
            milliseconds=1000 * self._seconds,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
        )

    def fork(self, name: str = "") -> "Session":
        """A copy that continues on its own, under another name. It takes microseconds and a few kilobytes.

        Raises:
            UsageError: the detector calls endpoints, and its readings cannot be copied.
        """
        if not isinstance(self._reading, ForkableReading):
            raise UsageError(
                "not_forkable", f"A session of `moderator` {self._moderator.name} cannot be copied."
            )
        forked = copy(self)
        vars(forked).update(
            _name=name,
            _reading=self._reading.fork(),
            _unscanned=list(self._unscanned),
            _trajectory=dict(self._trajectory),
        )
        return forked


def _action(assessment: Assessment, *, flagged: bool, degraded: bool, moderator: Moderator) -> Action:
    if degraded and moderator.on_error is OnError.CLOSED:
        return Action.BLOCK
    if flagged:
        unlinked = assessment.linkage is not None and assessment.linkage < LINKED
        return Action.INJECT if unlinked else moderator.action
    return Action.INJECT if degraded and moderator.on_error is OnError.INJECT else Action.ALLOW


def _likeliest(assessment: Assessment) -> Scenario | None:
    """The scenario that fits best; None if none fits, and then the baseline policy applies."""
    best = max(assessment.scenarios, key=lambda each: assessment.scenarios[each], default=None)
    return best if best is not None and assessment.scenarios[best] >= FITS else None


def wait_for(work: Coroutine[Any, Any, T], *, calls: bool) -> T:
    """The result of `work`, for code that is not async. Without `calls` it never waits, and needs no loop.

    Work that makes calls runs in a thread of its own, which keeps connections open from one call to the next
    and also works if this thread has a running loop.
    """
    if calls:
        return asyncio.run_coroutine_threadsafe(work, _loop()).result()
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("a detector without endpoints waited for something")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="safemt-moderator", daemon=True).start()
    return loop
