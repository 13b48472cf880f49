"""One engine on a worker of a Ray cluster, and what it tells of its work.

It works on a copy of the run's store in a folder of its own. What it adds there it also hands over, a
second's worth at a time, to be added to the one store that counts.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeAlias

from safemt.core.errors import SafemtError, UsageError
from safemt.endpoints.spend import Spend
from safemt.io.images import ImageFolder
from safemt.judges.base import judge_id
from safemt.run.config import RunConfig
from safemt.run.database import STORE_FILE, Database
from safemt.run.engine import Engine, setup_of
from safemt.run.plan import open_models
from safemt.run.running import Tracker
from safemt.run.spread.shards import Shard, place_samples
from safemt.run.store import Store
from safemt.run.watch.events import EventLog

Addition: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""One call of a store's `add_…`: its name and arguments."""
Event: TypeAlias = tuple[str, dict[str, object]]
ADDITIONS: Final = ("add_response", "add_answer", "add_label", "add_failure", "add_spend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one worker is to do. No key is in it: keys are read from the worker's own environment."""

    safemt: str
    """The version that the store is of."""
    config: RunConfig
    images: Path
    """The benchmark's folder, which the worker must be able to read if samples have images."""
    boundary: Path | None
    shard: Shard
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a worker has done since it last told, and how it stands."""

    additions: list[Addition]
    events: list[Event]
    done: int
    """Since its start, as all that follows."""
    unsafe: Counter[int]
    graded: Counter[int]
    ungraded: int
    last_problem: str
    retries: int
    limits: dict[str, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a worker's run ended."""

    error: str = ""
    """The name of an error's class; empty if everything was worked off."""
    message: str = ""


class Worker:
    """Works off one shard. An actor of Ray, with one engine in its event loop."""

    def __init__(self, task: Task, copy: bytes) -> None:
        """`copy` is the run's store as it is now: what it holds is not asked again."""
        self._task = task
        self._copy = copy
        self._engine: Engine | None = None
        self._store: _Journal | None = None
        self._events = _Collected()

    async def run(self) -> Ended:
        """Work the shard off; give how it ended."""
        try:
            with tempfile.TemporaryDirectory(prefix="safemt-") as folder:
                (Path(folder) / STORE_FILE).write_bytes(self._copy)
                self._copy = b""
                store = self._store = _Journal.open_for_run(Path(folder))
                try:
                    self._engine = self._make_engine(store)
                    await self._engine.run()
                finally:
                    store.close()
        except SafemtError as error:
            return Ended(type(error).__name__, str(error))
        return Ended()

    async def news(self) -> News:
        """What was done since the last time this was asked."""
        engine = self._engine
        tracker = engine.tracker if engine else Tracker.of([])
        return News(
            additions=self._store.taken() if self._store else [],
            events=self._events.taken(),
            done=tracker.done - tracker.already_done,
            unsafe=tracker.unsafe,
            graded=tracker.graded,
            ungraded=tracker.ungraded,
            last_problem=tracker.last_problem,
            retries=engine.retries if engine else 0,
            limits=engine.limits if engine else {},
        )

    async def stop(self, reason: str) -> None:
        """Finish what is in flight and start nothing."""
        if self._engine is not None:
            self._engine.stop(reason)

    def _make_engine(self, store: "_Journal") -> Engine:
        task = self._task
        if version("safemt") != task.safemt:
            raise UsageError(
                f"A worker has safemt {version('safemt')}, this machine {task.safemt}: install one version."
            )
        history = task.config.history
        target, judge = open_models(task.config, ImageFolder(task.images, boundary=task.boundary))
        plan = store.plan()
        places = place_samples([sample for _, sample in plan], task.shard, history)
        setup, identity = setup_of(target, history), judge_id(judge)
        store.begin(setup=setup.key, judge=identity, manifest={}, plan=[plan[place] for place, _ in places])
        return Engine(
            store=store,
            setup=setup,
            judge=judge,
            concurrency=task.concurrency,
            tracker=Tracker.of(store.scored_samples(setup=setup.key, judge=identity)),
            spend=Spend(record=store.add_spend),
            events=self._events,
        )


class _Journal(Store):
    """A store that keeps a list of what is added to it."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._added: list[Addition] = []
        for name in ADDITIONS:
            setattr(self, name, self._noting(name, getattr(self, name)))

    def taken(self) -> list[Addition]:
        """What was added since the last time."""
        added, self._added = self._added, []
        return added

    def _noting(self, name: str, add: Callable[..., None]) -> Callable[..., None]:
        def noted(*arguments: Any, **named: Any) -> None:
            add(*arguments, **named)
            self._added.append((name, arguments, named))

        return noted


class _Collected(EventLog):
    """Keeps events until they are handed over."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Event] = []

    def emit(self, event: str, **fields: object) -> None:
        """Keep one event, with its time."""
        self._kept.append((event, {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}))

    def taken(self) -> list[Event]:
        """What was emitted since the last time."""
        kept, self._kept = self._kept, []
        return kept
