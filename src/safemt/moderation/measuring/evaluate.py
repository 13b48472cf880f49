"""Moderators on dialogues of known intent: every verdict is kept as soon as it is given."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from safemt.core.errors import SafemtError
from safemt.core.schema import Message
from safemt.core.verdict import Verdict
from safemt.moderation.measuring.kept import KeptVerdict, VerdictLog, kept_verdict, verdict_key
from safemt.moderation.measuring.labelled import LabelledDialogue
from safemt.moderation.moderator import Moderator, wait_for

EARLY: Final = 2
LATE: Final = 50
"""Turns of a long dialogue whose times are compared."""
LONG_DIALOGUES: Final = 15
TURN_LETTERS: Final = 220
"""About 50 tokens of English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated:
    """One moderator's verdicts, one for each dialogue and in their order."""

    moderator: Moderator
    every_turn: bool
    """Whether it gave a verdict after each user turn, not only after the last."""
    verdicts: tuple[Verdict, ...]
    milliseconds: tuple[float, ...]
    """The time of every verdict on every dialogue."""
    asked: int
    """Dialogues that were moderated now; the others were kept from before, or are equal to one of these."""


def moderate_all(
    moderator: Moderator,
    dialogues: Sequence[LabelledDialogue],
    log: VerdictLog,
    *,
    every_turn: bool,
    at_once: int,
    on_progress: Callable[[int, int], None],
) -> Moderated:
    """Have a moderator read dialogues, except those on which the log already has its verdict.

    A moderator that works on this machine alone gives a verdict after each user turn, and reads one dialogue
    after the other, so that its times are its own. One that calls endpoints reads `at_once` dialogues side by
    side. It is asked after the last turn, or after each turn with `every_turn`. A failed call gives a
    degraded verdict. `on_progress` is called with the number of dialogues read, and the number to read.

    Raises:
        RunStopped: an endpoint is given up; what was finished is in the log.
        ModeratorError: the log cannot be written, or the moderator does not work at all.
    """
    local = not moderator.detector.endpoints
    keys = [verdict_key(moderator.detector, each.key, every_turn=local or every_turn) for each in dialogues]
    missing: dict[str, LabelledDialogue] = {}
    fresh: dict[str, KeptVerdict] = {}
    for key, each in zip(keys, dialogues, strict=True):
        if log.get(key) is None:
            missing.setdefault(key, each)

    def finish(key: str, verdicts: Sequence[Verdict]) -> None:
        fresh[key] = kept_verdict(key, verdicts)
        log.add(fresh[key])
        on_progress(len(fresh), len(missing))

    on_progress(0, len(missing))
    if local:
        for key, each in missing.items():
            finish(key, wait_for(_verdicts(moderator, each, every_turn=True), calls=False))
    else:
        asyncio.run(_ask_at_once(moderator, missing, finish, every_turn=every_turn, at_once=at_once))
    found = [kept for key in keys if (kept := fresh.get(key) or log.get(key)) is not None]
    return Moderated(
        moderator=moderator,
        every_turn=local or every_turn,
        verdicts=tuple(kept.verdict for kept in found),
        milliseconds=tuple(each for kept in found for each in kept.milliseconds),
        asked=len(missing),
    )


async def _ask_at_once(
    moderator: Moderator,
    missing: Mapping[str, LabelledDialogue],
    finish: Callable[[str, Sequence[Verdict]], None],
    *,
    every_turn: bool,
    at_once: int,
) -> None:
    waiting = iter(missing.items())
    stopped: list[SafemtError] = []

    async def work() -> None:
        for key, each in waiting:
            try:
                finish(key, await _verdicts(moderator, each, every_turn=every_turn))
            except SafemtError as error:
                stopped.append(error)
            if stopped:
                return

    try:
        await asyncio.gather(*(work() for _ in range(min(at_once, len(missing)))))
    finally:
        await moderator.close()
    if stopped:
        raise stopped[0]


async def _verdicts(
    moderator: Moderator, labelled: LabelledDialogue, *, every_turn: bool
) -> tuple[Verdict, ...]:
    """The verdicts on a dialogue: after each user turn, or one after the last.

    Messages after the last user turn can change no verdict, and are not shown.
    """
    messages = labelled.dialogue.messages
    last = max(place for place, message in enumerate(messages) if message.role == "user")
    session = moderator.open(labelled.dialogue.id)
    verdicts = []
    for place, message in enumerate(messages[: last + 1]):
        await session.aadd(message)
        if place == last or (every_turn and message.role == "user"):
            verdicts.append(await session.averdict())
    return tuple(verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTimes:
    """Milliseconds that turns took in long dialogues; both of the same length, one entry per dialogue."""

    early: tuple[float, ...]
    """At turn `EARLY`."""
    late: tuple[float, ...]
    """At turn `LATE`."""


def time_long_dialogues(moderator: Moderator, dialogues: Sequence[LabelledDialogue]) -> LongTimes | None:
    """How long a turn takes early and late in dialogues of `LATE` turns.

    The turns are user turns of `dialogues` whose length is nearest to `TURN_LETTERS`, so that only their
    place differs. The first dialogue warms up and does not count. None if the moderator calls endpoints, or
    if there is no text.
    """
    texts = sorted(
        {m.content for each in dialogues for m in each.dialogue.messages if m.role == "user" and m.content},
        key=lambda text: (abs(len(text) - TURN_LETTERS), text),
    )[: LATE * (LONG_DIALOGUES + 1)]
    if moderator.detector.endpoints or not texts:
        return None
    endless = itertools.cycle(texts)
    early, late = [], []
    for _ in range(LONG_DIALOGUES + 1):
        session = moderator.open()
        times = [session.append(Message("user", next(endless))).milliseconds for _ in range(LATE)]
        early.append(times[EARLY - 1])
        late.append(times[LATE - 1])
    return LongTimes(early=tuple(early[1:]), late=tuple(late[1:]))
