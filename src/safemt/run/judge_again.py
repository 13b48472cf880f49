"""Judges the responses of a finished or interrupted run again, without asking the target."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from safemt.core.taxonomy import Outcome
from safemt.endpoints.spend import Asked, Spend
from safemt.io.images import ImageFolder
from safemt.judges.base import judge_id
from safemt.judges.open import open_judge
from safemt.run.config import JudgingConfig, config_data
from safemt.run.engine import Engine, Setup
from safemt.run.manifest import judge_entry, require_manifest, without_keys
from safemt.run.plan import open_budget
from safemt.run.protocol import History
from safemt.run.running import Tracker
from safemt.run.start import work_through
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
        before = require_manifest(invocation.manifest, store.path)
        setup = Setup(key=invocation.setup, target=None, history=History(before["history"]))
        judge = open_judge(config.judge, timeout=config.limits.timeout, images=_images(before["benchmark"]))
        budget, identity = open_budget(config.budget), judge_id(judge)
        asked = {
            *store.spend(),
            *(Asked("judge", f"openai/{each.model}", each.origin) for each in judge.endpoints),
        }
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
            concurrency=config.limits.concurrency,
            tracker=Tracker.of(scored),
            spend=Spend(before=store.spend(), record=store.add_spend, budget=budget),
        )
        work_through(store, engine, console, simulated=before["target"]["simulated"])
    finally:
        store.close()


def _images(benchmark: dict[str, Any]) -> ImageFolder:
    boundary = benchmark.get("boundary")
    return ImageFolder(Path(benchmark["path"]), boundary=Path(boundary) if boundary else None)
