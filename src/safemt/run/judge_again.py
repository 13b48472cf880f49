"""Judges the responses of a finished or interrupted run again, without asking the target."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Outcome
from safemt.endpoints.base import Reply
from safemt.io.images import ImageFolder
from safemt.judges.base import judge_id
from safemt.judges.open import open_judge
from safemt.run.config import JudgingConfig, config_data, config_from
from safemt.run.manifest import require_manifest, run_manifest
from safemt.run.plan import RunPlan, open_budget
from safemt.run.start import one_engine, prepared, work_through
from safemt.run.store import Store

_KEPT: Final = ("moderator", "skipped_missing_images", "shard", "merged", "merged_shards")
"""What a manifest says about how the responses were made."""


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
        before = require_manifest(invocation.manifest, store.path)
        samples, images = store.plan(), _images(before["benchmark"])
        judge = open_judge(config.judge, timeout=config.limits.timeout, images=images)
        plan = RunPlan(
            config=config_from({**before.get("config", {}), **config_data(config)}),
            benchmark=before["benchmark"],
            samples=samples,
            target=_AnsweredTarget(before["target"]),
            judge=judge,
            budget=open_budget(config.budget),
            command=command,
        )
        asked = {*store.spend(), *plan.asked}
        plan.budget.require_prices(asked)
        setup, identity = invocation.setup, judge_id(judge)
        kept: dict[str, Any] = {name: before[name] for name in _KEPT if name in before}
        store.begin(
            setup=setup,
            judge=identity,
            manifest={**run_manifest(plan, asked), **kept},
            samples=samples,
            positions=store.positions(),
        )
        scored = store.scored_samples(setup=setup, judge=identity)
        unanswered = sum(sample.outcome in (None, Outcome.ERROR) for sample in scored)
        if unanswered:
            console.print(
                f"{unanswered:,} of {len(samples):,} samples have no response yet and are left alone."
            )
        executor = partial(one_engine, setup=setup, answered_only=True)
        engine = prepared(plan, store, executor, setup=setup, total=len(samples))
        work_through(store, engine, console, simulated=plan.target.simulated)
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
