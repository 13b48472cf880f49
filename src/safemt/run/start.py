"""Starting a run, or continuing one: the plan goes into the store, the engine works it off."""

import asyncio
import contextlib
import ctypes
import gc
import platform
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from safemt.benchmark.read import Benchmark
from safemt.core.errors import CapReached, RunError, SafemtError
from safemt.core.identity import content_key
from safemt.core.schema import Sample
from safemt.core.taxonomy import Outcome
from safemt.endpoints.spend import Asked, Budget, Spend
from safemt.judges.base import Judge, judge_id
from safemt.run.engine import Engine, Setup, setup_of
from safemt.run.gate import Moderation
from safemt.run.manifest import require_manifest
from safemt.run.protocol import History
from safemt.run.running import Running, Tracker
from safemt.run.spread.shards import Shard, place_samples
from safemt.run.store import Store
from safemt.run.watch.events import EventLog
from safemt.run.watch.heartbeat import keep_heartbeat
from safemt.run.watch.progress import beside, show_progress
from safemt.targets.base import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """All that one invocation of a run needs."""

    benchmark: dict[str, Any]
    """What the manifest says of it: `describe_benchmark`."""
    samples: list[Sample]
    """What to ask, in this order. Emptied by `start_run` once it stands in the store."""
    target: Target
    judge: Judge
    moderation: Moderation | None = None
    """What stands before the target, if anything."""
    history: History = History.SCRIPTED
    concurrency: int = 20
    budget: Budget = field(default_factory=Budget)
    shard: Shard | None = None
    """The part of it to run; None for all."""
    events: EventLog = field(default_factory=EventLog)
    manifest: dict[str, Any]
    """Further provenance to record: the command, its options, base URLs. No secrets."""


Executor: TypeAlias = Callable[[RunPlan, Store, Tracker, Spend], Running]
"""What makes something that works a plan off."""


def start_run(plan: RunPlan, out: Path, *, console: Console, executor: Executor | None = None) -> None:
    """Work off `plan` in the run directory `out`, continuing whatever is there.

    By default one engine of this process does it.

    A first Ctrl-C finishes what is in flight and stops; a second one stops at once.

    Raises:
        RunStopped: it stopped before its end; the same call continues.
        RunError: the directory holds another target's run, is in use, or cannot be written.
        UsageError: a cap on cost cannot be kept, or the shard is empty.
    """
    placed = place_samples(plan.samples, plan.shard, plan.history)
    store = Store.open_for_run(out)
    try:
        _require_same_target(store, plan.target.name, out)
        plan.budget.require_prices({*store.spend(), *_asked(plan.target, plan.judge, plan.moderation)})
        setup, judge = setup_of(plan.target, plan.history, plan.moderation).key, judge_id(plan.judge)
        store.begin(setup=setup, judge=judge, manifest=_manifest(plan, store), plan=placed)
        if plan.shard:
            console.print(f"Shard {plan.shard}: {len(placed):,} of {len(plan.samples):,} samples.")
        # A run can take hours, and needs of the samples only those in flight.
        placed.clear()
        plan.samples.clear()
        tracker = Tracker.of(store.scored_samples(setup=setup, judge=judge))
        if tracker.already_done:
            console.print(f"{tracker.already_done:,} of {tracker.total:,} samples are already done.")
        spend = Spend(before=store.spend(), record=store.add_spend, budget=plan.budget)
        engine = (executor or _one_engine)(plan, store, tracker, spend)
        plan.events.emit("run_started", **_said_at_start(plan, out, tracker))
        _work_off(store, engine, console, simulated=plan.target.simulated)
    finally:
        store.close()


def _one_engine(plan: RunPlan, store: Store, tracker: Tracker, spend: Spend) -> Engine:
    return Engine(
        store=store,
        setup=setup_of(plan.target, plan.history, plan.moderation),
        judge=plan.judge,
        concurrency=plan.concurrency,
        tracker=tracker,
        spend=spend,
        events=plan.events,
    )


def judge_again(
    folder: Path,
    judge: Judge,
    *,
    concurrency: int,
    budget: Budget,
    command: Sequence[str],
    console: Console,
) -> None:
    """Have `judge` label the responses that the run in `folder` holds; earlier judges' labels stay beside.

    No target is asked: a sample without a response is left as it is.

    Raises:
        RunStopped: it stopped before its end; the same call continues.
        RunError: there is no run, it is in use, or cannot be written.
        UsageError: a cap on cost cannot be kept.
    """
    Store.open_for_reading(folder).close()
    store = Store.open_for_run(folder)
    try:
        invocation = store.invocation()
        before = require_manifest(invocation.manifest, store.path)
        setup = Setup(key=invocation.setup, target=None, history=History(before["history"]))
        asked = {*store.spend(), *_asked(None, judge)}
        budget.require_prices(asked)
        identity = judge_id(judge)
        manifest = {
            **before,
            "judge": _judge_entry(judge),
            "budget": budget.record(asked),
            "command": list(command),
            "safemt": version("safemt"),
        }
        store.begin(setup=setup.key, judge=identity, manifest=manifest, plan=store.plan())
        scored = list(store.scored_samples(setup=setup.key, judge=identity))
        unanswered = sum(sample.outcome in (None, Outcome.ERROR) for sample in scored)
        if unanswered:
            console.print(
                f"{unanswered:,} of {len(scored):,} samples have no response yet and are left alone."
            )
        engine = Engine(
            store=store,
            setup=setup,
            judge=judge,
            concurrency=concurrency,
            tracker=Tracker.of(scored),
            spend=Spend(before=store.spend(), record=store.add_spend, budget=budget),
        )
        _work_off(store, engine, console, simulated=before["target"]["simulated"])
    finally:
        store.close()


def _settle_memory() -> None:
    """Give back what reading the benchmark took, and search the rest for garbage no more: it stays."""
    # Pillow makes the names of methods anew for each look-up, and the interpreter's cache keeps thousands of
    # them: each such string holds the megabyte around it.
    ctypes.pythonapi.PyType_ClearCache()
    gc.collect()
    gc.freeze()


def _work_off(store: Store, engine: Running, console: Console, *, simulated: bool) -> None:
    _settle_memory()
    ending = "stopped"
    try:
        asyncio.run(_drive(engine, store.path.parent, console, simulated=simulated))
        ending = "complete"
        store.end(ending)
    except SafemtError as error:
        ending = "cap_reached" if isinstance(error, CapReached) else "stopped"
        with contextlib.suppress(RunError):  # a store that cannot be written may be why it stopped
            store.end(f"stopped: {error}")
        raise
    finally:
        gc.unfreeze()
        tracker, spend = engine.tracker, engine.spend
        engine.events.emit(
            "run_ended",
            ending=ending,
            total=tracker.total,
            done=tracker.done,
            ungraded=tracker.ungraded,
            retries=engine.retries,
            tokens=spend.tokens,
            cost=spend.cost,
            seconds=round(time.monotonic() - tracker.started, 3),
        )


def _said_at_start(plan: RunPlan, out: Path, tracker: Tracker) -> dict[str, object]:
    return {
        "run": str(out),
        "safemt": version("safemt"),
        "benchmark": plan.benchmark["name"],
        "target": plan.target.name,
        "judge": plan.judge.name,
        "history": plan.history.value,
        "total": tracker.total,
        "done": tracker.done,
        "shard": str(plan.shard) if plan.shard else None,
        "concurrency": plan.concurrency,
        "max_cost": plan.budget.max_cost,
        "max_tokens": plan.budget.max_tokens,
    }


async def _drive(engine: Running, folder: Path, console: Console, *, simulated: bool) -> None:
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        # Where the loop takes no signal handlers (Windows), Ctrl-C stops at once; the store stays whole.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal_number, _interrupt, engine, console)
    async with (
        show_progress(engine, console, simulated=simulated),
        beside(keep_heartbeat(engine, folder)),
    ):
        await engine.run()


def _interrupt(engine: Running, console: Console) -> None:
    again = engine.stopping
    engine.stop("Interrupted.")
    # After the stop: Ctrl-C in a pipeline may have ended whoever reads this.
    with contextlib.suppress(OSError):
        if again:
            console.print("Stopping at once.")
        else:
            console.print("Stopping: finishing what is in flight. Press Ctrl-C again to stop at once.")


def _require_same_target(store: Store, target: str, out: Path) -> None:
    invocations = store.invocations()
    if not invocations:
        return
    held = require_manifest(invocations[0].manifest, out)["target"]["name"]
    if held != target:
        raise RunError(
            f"{out} holds a run of {held}, not of {target}. Give another --out: "
            "one run directory is one target."
        )


def describe_benchmark(benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Any]:
    """What the manifest says of a benchmark and of the samples that were selected from it."""
    return {
        "name": benchmark.name,
        "path": str(benchmark.path.resolve()),
        "boundary": str(benchmark.boundary.resolve()) if benchmark.boundary else None,
        "layout": benchmark.layout,
        "sha256": benchmark.sha256,
        "samples": len(samples),
        "queries": len({sample.query_id for sample in samples if sample.twin_of is None}),
        "rounds": sorted({sample.turns for sample in samples}),
        "selection": content_key(sorted(sample.id for sample in samples)),
    }


def _manifest(plan: RunPlan, store: Store) -> dict[str, Any]:
    return {
        "safemt": version("safemt"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "benchmark": plan.benchmark,
        "target": {
            "name": plan.target.name,
            "simulated": plan.target.simulated,
            "answers_by_sample": plan.target.answers_by_sample,
            "identity": plan.target.identity,
        },
        "judge": _judge_entry(plan.judge),
        "moderator": plan.moderation.entry if plan.moderation else None,
        "history": plan.history,
        "concurrency": plan.concurrency,
        "budget": plan.budget.record({*store.spend(), *_asked(plan.target, plan.judge, plan.moderation)}),
        **({"shard": str(plan.shard)} if plan.shard else {}),
        **plan.manifest,
    }


def _asked(target: Target | None, judge: Judge, moderation: Moderation | None = None) -> set[Asked]:
    """Whom a run may call."""
    asked = {Asked("judge", f"openai/{each.model}", each.origin) for each in judge.endpoints}
    if moderation is not None:
        detector = moderation.moderator.detector
        asked |= {Asked("moderator", f"openai/{each.model}", each.origin) for each in detector.endpoints}
    if target is not None and target.origin is not None:
        asked.add(Asked("target", target.name, target.origin))
    return asked


def _judge_entry(judge: Judge) -> dict[str, Any]:
    return {"name": judge.name, "id": judge_id(judge), "identity": judge.identity}
