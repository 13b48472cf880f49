"""`--executor ray`: a run on the workers of a Ray cluster, one engine each, into one store.

The run is split into as many shards as there are workers. This process makes no call: it takes what the
workers hand over, adds it to the store, counts what is spent, and has the shard of a worker that dies taken
up again, from what had arrived of it.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safemt.core import errors
from safemt.core.errors import CapReached, RunStopped, SafemtError, UsageError
from safemt.core.schema import Sample
from safemt.endpoints.spend import Spend
from safemt.run.plan import RunPlan
from safemt.run.protocol import History
from safemt.run.running import Tracker
from safemt.run.spread.ray_worker import ADDITIONS, Ended, News, Task, Worker
from safemt.run.spread.shards import Shard, place_samples
from safemt.run.start import Executor
from safemt.run.store import Store

_NEWS_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 10.0
_LIVES: Final = 3
"""How many workers a shard may use up before the run stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray cluster that this process is connected to."""

    ray: Any
    workers: int
    """How many engines to start on it."""

    def executor(self) -> Executor:
        """Makes what works through a plan on this cluster."""
        return lambda plan, store, tracker, spend: Fleet(
            self, plan=plan, store=store, tracker=tracker, spend=spend
        )


@contextmanager
def ray_cluster(address: str, workers: int | None) -> Iterator[Cluster]:
    """Connect to the cluster at `address` (`auto`: the one of this machine); one worker per node by default.

    Raises:
        UsageError: Ray is not installed, or there is no cluster.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise UsageError(
            "ray_not_installed",
            "Ray is not installed. Install safemt[ray], here and on the cluster's workers.",
        ) from None
    try:
        if address != "auto":
            # Ray itself goes on trying for minutes where nobody answers.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise UsageError(
            "no_ray_cluster",
            f"There is no Ray cluster {where}. Start one (ray start --head --port=6379), or give the "
            "HOST:PORT of one (`ray.address`).",
            address=address,
        ) from error
    try:
        nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())
        yield Cluster(ray=ray, workers=workers or max(1, nodes))
    finally:
        ray.shutdown()


class Fleet:
    """Many engines on a cluster, seen as one."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        plan: RunPlan,
        store: Store,
        tracker: Tracker,
        spend: Spend,
    ) -> None:
        """The plan's concurrency is for all workers together."""
        self.tracker = tracker
        self.spend = spend
        self.events = plan.events
        self._ray = cluster.ray
        self._store = store
        history, concurrency = plan.config.history, plan.config.limits.concurrency
        workers = min(cluster.workers, concurrency)
        samples = [sample for _, sample in store.plan()]
        boundary = plan.benchmark["boundary"]
        self._tasks = [
            Task(
                safemt=version("safemt"),
                config=plan.config,
                images=Path(plan.benchmark["path"]),
                boundary=Path(boundary) if boundary else None,
                shard=shard,
                # The first ones get what does not divide evenly.
                concurrency=(concurrency + workers - shard.number) // workers,
            )
            for shard in (Shard(number, workers) for number in range(1, workers + 1))
            if _holds_anything(samples, shard, history)
        ]
        self._actors: dict[Shard, Any] = {}
        self._news: dict[Any, News] = {}
        """The newest of each worker, living or dead."""
        self._stop: SafemtError | None = None
        self._following: list[asyncio.Task[None]] = []
        self._before = (tracker.done, Counter(tracker.unsafe), Counter(tracker.graded))

    @property
    def retries(self) -> int:
        """Attempts made again so far."""
        return sum(news.retries for news in self._news.values())

    @property
    def limits(self) -> dict[str, int]:
        """How many calls each endpoint gets at once now, from all workers together."""
        total: dict[str, int] = {}
        for actor in self._actors.values():
            if actor in self._news:
                for origin, limit in self._news[actor].limits.items():
                    total[origin] = total.get(origin, 0) + limit
        return total

    @property
    def stopping(self) -> bool:
        """Whether no new sample is taken up any more."""
        return self._stop is not None

    def stop(self, reason: str) -> None:
        """Take up no new sample; what is in flight is finished. Called again: let go of that too."""
        if self._stop is None:
            self._end(RunStopped(reason))
        else:
            for task in self._following:
                task.cancel()

    async def run(self) -> None:
        """Work off everything that is unfinished.

        Raises:
            RunStopped: it stopped before the end; everything that arrived is stored.
            UsageError, BenchmarkError, RunError, LabelsError: as a worker or the store has it.
        """
        copy = self._ray.put(self._store.copy())
        try:
            async with asyncio.TaskGroup() as group:
                self._following = [group.create_task(self._follow(task, copy)) for task in self._tasks]
        finally:
            for actor in self._actors.values():
                self._ray.kill(actor)
        if isinstance(self._stop, CapReached):
            raise self.spend.reached() or self._stop
        if self._stop is not None:
            raise self._stop

    async def _follow(self, task: Task, copy: Any) -> None:
        """Have workers work off a shard until it is done, or too many of them died."""
        died = self._ray.exceptions.RayActorError
        remote = self._ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(Worker)
        for _ in range(_LIVES):
            if self.stopping:
                return
            actor = self._actors[task.shard] = remote.remote(task, copy)
            try:
                ended = await self._take_all(actor)
            except died:
                self.tracker.last_problem = f"the worker of shard {task.shard} died; another goes on"
                copy = self._ray.put(self._store.copy())
                continue
            finally:
                self._actors.pop(task.shard, None)
            if ended.error:
                kind = getattr(errors, ended.error, RunStopped)
                self._end(RunStopped(ended.message) if kind is CapReached else kind(ended.message))
            return
        self._end(
            RunStopped(f"{_LIVES} workers died on shard {task.shard}. See the logs of the Ray cluster.")
        )

    async def _take_all(self, actor: Any) -> Ended:
        """Take the news of a worker until it ends."""
        running = asyncio.wrap_future(actor.run.remote().future())
        while True:
            await asyncio.wait([running], timeout=_NEWS_SECONDS)
            over = running.done()
            self._take(actor, await actor.news.remote())
            if over:
                self._ray.kill(actor)
                ended: Ended = running.result()
                return ended

    def _take(self, actor: Any, news: News) -> None:
        try:
            with self._store.grouped():
                for name, arguments, named in news.additions:
                    if name not in ADDITIONS:
                        raise RuntimeError(f"a worker added by {name}")
                    if name == "add_spend":
                        self.spend.add(*arguments, **named)
                    else:
                        getattr(self._store, name)(*arguments, **named)
        except SafemtError as error:  # the store cannot be written
            self._end(error)
            return
        for event, fields in news.events:
            self.events.emit(event, **fields)
        self._news[actor] = news
        self._count()
        reached = self.spend.reached()
        if reached is not None:
            self._end(reached)

    def _count(self) -> None:
        """Bring the tracker up to what the workers told."""
        tracker, told = self.tracker, list(self._news.values())
        done, unsafe, graded = self._before
        tracker.done = done + sum(news.done for news in told)
        tracker.unsafe = sum((news.unsafe for news in told), unsafe)
        tracker.graded = sum((news.graded for news in told), graded)
        tracker.ungraded = sum(news.ungraded for news in told)
        tracker.last_problem = next(
            (news.last_problem for news in reversed(told) if news.last_problem), tracker.last_problem
        )

    def _end(self, reason: SafemtError) -> None:
        if self._stop is None:
            self._stop = reason
            for actor in self._actors.values():
                actor.stop.remote(str(reason))


def _holds_anything(samples: Sequence[Sample], shard: Shard, history: History) -> bool:
    try:
        place_samples(samples, shard, history)
    except UsageError:
        return False
    return True
