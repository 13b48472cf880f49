"""Many dialogues at once, within bounds. Verdicts come in order, each as soon as possible."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from safemt.core.errors import BenchmarkError, DialogueError
from safemt.core.verdict import Verdict
from safemt.moderation.moderator import Moderator, wait_for
from safemt.moderation.reading.dialogues import BadRow, Dialogue

AT_ONCE: Final = 8

Row: TypeAlias = Dialogue | BadRow
Outcome: TypeAlias = Verdict | BadRow


def moderate_many(
    moderator: Moderator, dialogues: Iterable[Row], *, at_once: int = AT_ONCE, every_turn: bool = True
) -> Iterator[Outcome]:
    """A verdict for each dialogue, in order; or a `BadRow` if a row holds none, or cannot be moderated.

    A moderator that calls endpoints reads `at_once` dialogues at a time, and is closed at the end. Rows are
    taken as they come: on a slow pipe, each verdict comes before the next row.

    Raises:
        ModeratorError: the moderator does not work at all.
        RunStopped: the limits that its calls are made in have given up its endpoint.
    """
    if not moderator.detector.endpoints:
        for row in dialogues:
            yield wait_for(_moderate(moderator, row, every_turn=every_turn), calls=False)
        return
    outcomes = amoderate_many(moderator, dialogues, at_once=at_once, every_turn=every_turn)
    try:
        while (outcome := wait_for(_next(outcomes), calls=True)) is not None:
            yield outcome
    finally:
        wait_for(_close(outcomes, moderator), calls=True)


async def amoderate_many(
    moderator: Moderator, dialogues: Iterable[Row], *, at_once: int = AT_ONCE, every_turn: bool = True
) -> AsyncGenerator[Outcome, None]:
    """See `moderate_many`; the moderator stays open. The rows are read in a thread of their own."""
    loop = asyncio.get_running_loop()
    begun: asyncio.Queue[asyncio.Task[Outcome] | BaseException | None] = asyncio.Queue()
    under_way: set[asyncio.Task[Outcome]] = set()
    room = threading.Semaphore(at_once)
    stopping = threading.Event()

    def begin(row: Row) -> None:
        task = loop.create_task(_moderate(moderator, row, every_turn=every_turn))
        under_way.add(task)
        begun.put_nowait(task)

    def read() -> None:
        last: BaseException | None = None
        try:
            for row in dialogues:
                room.acquire()
                if stopping.is_set():
                    return
                loop.call_soon_threadsafe(begin, row)
        except Exception as error:  # noqa: BLE001 - it is raised where the verdicts are awaited
            last = error
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(begun.put_nowait, last)

    # A daemon, since it may wait for a pipe that never ends.
    threading.Thread(target=read, name="safemt-rows", daemon=True).start()
    try:
        while (task := await begun.get()) is not None:
            if isinstance(task, BaseException):
                raise task
            outcome = await task
            under_way.discard(task)
            yield outcome
            room.release()
    finally:
        stopping.set()
        room.release()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _moderate(moderator: Moderator, row: Row, *, every_turn: bool) -> Outcome:
    if isinstance(row, BadRow):
        return row
    try:
        return await moderator.amoderate(row.messages, name=row.id, every_turn=every_turn)
    except (DialogueError, BenchmarkError) as error:
        return BadRow(id=row.id, problem=f"{row.place}: {error}" if row.place else str(error))


async def _next(outcomes: AsyncGenerator[Outcome, None]) -> Outcome | None:
    return await anext(outcomes, None)


async def _close(outcomes: AsyncGenerator[Outcome, None], moderator: Moderator) -> None:
    await outcomes.aclose()
    await moderator.close()
