"""Judges the responses of a finished or interrupted run again, without asking the target."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Outcome
from safemt.endpoints.base import Reply
from safemt.endpoints.spend import Spend
from safemt.io.images import ImageFolder
from safemt.judges.base import judge_id
from safemt.judges.open import open_judge
from safemt.run.config import JudgingConfig, config_data
from safemt.run.engine import Engine
from safemt.run.manifest import judge_entry, require_manifest, without_keys
from safemt.run.plan import asked_by, open_budget
from safemt.run.protocol import History
from safemt.run.start import track, work_through
from safemt.run.store import Store


def judge_again(
    folder: Path, config: JudgingConfig, *, console: Console, command: Sequence[str] = ()
) -> None:
    """Have a judge label the responses of the run in `folder`; the labels of earlier judges are kept.

    The target is not asked: a sample without a response is left as it is.

    Raises:
        RunStopped: it stopped before its end; the same call continues.
        RunError: there is no run, it is in use, or cannot be written.
        UsageError: there is no such judge, a setting does not fit, or a cap on cost cannot be kept.
        LabelsError: recorded labels cannot be read.
    """
    Store.open_for_reading(folder).close()
    store = Store.open_for_run(folder)
    try:
        invocation = store.invocation()
        setup, before = invocation.setup, require_manifest(invocation.manifest, store.path)
        target = _AnsweredTarget(before["target"])
        judge = open_judge(config.judge, timeout=config.limits.timeout, images=_images(before["benchmark"]))
        budget, identity = open_budget(config.budget), judge_id(judge)
        asked = {*store.spend(), *asked_by(target, judge)}
        budget.require_prices(asked)
        manifest = {
            **before,
            "safemt": version("safemt"),
            "command": list(command),
            "config": {**before.get("config", {}), **without_keys(config_data(config))},
            "judge": judge_entry(judge),
            "judge_base_url": config.judge.base_url,
            "budget": budget.record(asked),
        }
        samples = store.plan()
        store.begin(
            setup=setup, judge=identity, manifest=manifest, samples=samples, positions=store.positions()
        )
        unanswered = sum(
            sample.outcome in (None, Outcome.ERROR)
            for sample in store.scored_samples(setup=setup, judge=identity)
        )
        if unanswered:
            console.print(
                f"{unanswered:,} of {len(samples):,} samples have no response yet and are left alone."
            )
        engine = Engine(
            store=store,
            target=target,
            judge=judge,
            history=History(before["history"]),
            concurrency=config.limits.concurrency,
            setup=setup,
            tracker=track(store, setup, identity, total=len(samples)),
            spend=Spend(before=store.spend(), record=store.add_spend, budget=budget),
            answered_only=True,
        )
        work_through(store, engine, console, simulated=target.simulated)
    finally:
        store.close()


class _AnsweredTarget:
    """The target of an earlier invocation, by which its responses are found. It is not asked again."""

    origin = None

    def __init__(self, entry: dict[str, Any]) -> None:
        self.name: str = entry["name"]
        self.simulated: bool = entry["simulated"]
        self.answers_by_sample: bool = entry["answers_by_sample"]
        self.identity: Json = entry["identity"]

    async def respond(self, messages: Sequence[Message], sample: Sample) -> Reply:
        raise CallError(CallFailure("not_answered", f"the run holds no response to {sample.id}"))

    async def close(self) -> None:
        pass


def _images(benchmark: dict[str, Any]) -> ImageFolder:
    boundary = benchmark.get("boundary")
    return ImageFolder(Path(benchmark["path"]), boundary=Path(boundary) if boundary else None)
