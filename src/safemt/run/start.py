"""Starts a run, or continues one: the plan goes into the store, and the engine works through it."""

import asyncio
import contextlib
import ctypes
import gc
import signal
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from rich.console import Console

from safemt.core.errors import CapReached, RunError, SafemtError
from safemt.core.taxonomy import Action
from safemt.endpoints.spend import Spend
from safemt.judges.base import judge_id
from safemt.run.engine import Engine
from safemt.run.manifest import require_manifest, run_manifest
from safemt.run.plan import RunPlan
from safemt.run.running import Running, Tracker
from safemt.run.spread.shards import place_samples
from safemt.run.store import Store
from safemt.run.watch.heartbeat import keep_heartbeat
from safemt.run.watch.progress import beside, show_progress

Executor: TypeAlias = Callable[[RunPlan, Store, Tracker, Spend], Running]
"""Makes something that works through a plan."""


def start_run(plan: RunPlan, out: Path, *, console: Console, executor: Executor | None = None) -> None:
    """Work through `plan` in the run directory `out`, continuing whatever is there.

    A first Ctrl-C finishes what is in flight and stops; a second one stops at once.

    Args:
        plan: What to do.
        out: The run directory.
        console: Where progress and remarks go.
        executor: Does the work; None is one engine in this process.

    Raises:
        RunStopped: the run stopped before its end; the same call continues it.
        RunError: the directory holds another target's run, is in use, or cannot be written.
        UsageError: a cap on cost cannot be kept, or the shard is empty.
    """
    placed = place_samples(plan.samples, plan.shard, plan.config.history)
    store = Store.open_for_run(out)
    try:
        _require_same_target(store, plan.target.name, out)
        asked = {*store.spend(), *plan.asked}
        plan.budget.require_prices(asked)
        judge = judge_id(plan.judge)
        store.begin(setup=plan.setup.key, judge=judge, manifest=run_manifest(plan, asked), plan=placed)
        if plan.shard:
            console.print(f"Shard {plan.shard}: {len(placed):,} of {len(plan.samples):,} samples.")
        # A run can take hours, and needs only the samples in flight.
        placed.clear()
        plan.samples.clear()
        tracker = Tracker.of(store.scored_samples(setup=plan.setup.key, judge=judge))
        if tracker.already_done:
            console.print(f"{tracker.already_done:,} of {tracker.total:,} samples are already done.")
        spend = Spend(before=store.spend(), record=store.add_spend, budget=plan.budget)
        engine = (executor or _one_engine)(plan, store, tracker, spend)
        plan.events.emit("run_started", **_started(plan, out, tracker))
        work_through(store, engine, console, simulated=plan.target.simulated)
    finally:
        store.close()


def work_through(store: Store, engine: Running, console: Console, *, simulated: bool) -> None:
    """Run `engine` to its end, with a progress display, a heartbeat and Ctrl-C; record how it ended.

    Raises:
        RunStopped, RunError, BenchmarkError: as the engine raises them.
    """
    _settle_memory()
    ending = "stopped"
    try:
        asyncio.run(_drive(engine, store.path.parent, console, simulated=simulated))
        ending = "complete"
        store.end(ending)
    except SafemtError as error:
        ending = "cap_reached" if isinstance(error, CapReached) else "stopped"
        with contextlib.suppress(RunError):  # the run may have stopped because the store cannot be written
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


def announce(plan: RunPlan, out: Path, *, console: Console) -> None:
    """Say what is about to run, and warn about a moderator that can change nothing."""
    moderator = plan.moderation.moderator if plan.moderation else None
    behind = f" behind {moderator.name} ({moderator.action})" if moderator else ""
    skipped = f", {plan.skipped:,} without an image left out" if plan.skipped else ""
    lengths = ", ".join(str(k) for k in plan.benchmark["rounds"])
    console.print(
        f"{plan.benchmark['name']}: {len(plan.samples):,} samples at {lengths} turns{skipped} → "
        f"{plan.target.name}{' (simulated)' if plan.target.simulated else ''}{behind}, judged by "
        f"{plan.judge.name} → {out}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if moderator and plan.target.answers_by_sample and moderator.action is Action.INJECT:
        console.print(
            f"{plan.target.name} gives the same answers whatever it is told, so injected policies have no "
            "effect. Blocking has.",
            style="yellow",
            highlight=False,
            markup=False,
        )


def _one_engine(plan: RunPlan, store: Store, tracker: Tracker, spend: Spend) -> Engine:
    return Engine(
        store=store,
        setup=plan.setup,
        judge=plan.judge,
        concurrency=plan.config.limits.concurrency,
        tracker=tracker,
        spend=spend,
        events=plan.events,
    )


def _settle_memory() -> None:
    """Give back the memory that reading the benchmark took, and exempt the rest from garbage collection."""
    # Pillow makes the names of methods anew for each look-up, and the interpreter's cache keeps thousands of
    # them. Each such string keeps the megabyte around it.
    ctypes.pythonapi.PyType_ClearCache()
    gc.collect()
    gc.freeze()


async def _drive(engine: Running, folder: Path, console: Console, *, simulated: bool) -> None:
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        # Not on Windows, where Ctrl-C stops at once and the store stays whole, nor outside the main thread.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal_number, _interrupt, engine, console)
    async with (
        show_progress(engine, console, simulated=simulated),
        beside(keep_heartbeat(engine, folder)),
    ):
        await engine.run()


def _interrupt(engine: Running, console: Console) -> None:
    again = engine.stopping
    engine.stop("Interrupted.")
    # After the stop: Ctrl-C in a pipeline may have ended the reader of this.
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
            "another_target",
            f"{out} holds a run of {held}, not of {target}. Give another `out`: one run directory holds one "
            "target.",
            path=out,
            held=held,
            target=target,
        )


def _started(plan: RunPlan, out: Path, tracker: Tracker) -> dict[str, object]:
    return {
        "run": str(out),
        "safemt": version("safemt"),
        "benchmark": plan.benchmark["name"],
        "target": plan.target.name,
        "judge": plan.judge.name,
        "history": plan.config.history.value,
        "total": tracker.total,
        "done": tracker.done,
        "shard": str(plan.shard) if plan.shard else None,
        "concurrency": plan.config.limits.concurrency,
        "max_cost": plan.budget.max_cost,
        "max_tokens": plan.budget.max_tokens,
    }
