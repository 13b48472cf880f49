"""Checks a judge against people: a run over responses that people have labelled.

It is an ordinary run whose target is the recorded responses, so it is limited, stored and resumed like one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from safemt.benchmark.judged import JudgedFile, JudgedRow, read_judged
from safemt.benchmark.layouts import Layout
from safemt.benchmark.read import Benchmark
from safemt.core.taxonomy import Label
from safemt.judges.base import judge_id
from safemt.judges.open import open_judge
from safemt.judges.validation import Validation, safemt_home, save_validation
from safemt.run.config import JudgeCheckConfig, RunConfig, SelectionConfig
from safemt.run.plan import RunPlan, describe_benchmark, open_budget
from safemt.run.start import start_run
from safemt.run.store import Store
from safemt.stats.agreement import confusion
from safemt.targets.open import TargetConfig
from safemt.targets.replay import ReplayTarget


@dataclass(frozen=True, slots=True)
class Checked:
    """One row with both labels."""

    row: JudgedRow
    label: Label
    """The judge's label."""
    cause: str
    """Why it is `ungraded`."""


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """A judge's labels beside people's."""

    validation: Validation
    checked: Sequence[Checked]
    labelled_by_people: bool


def check_judge(
    path: Path, config: JudgeCheckConfig, *, console: Console, command: Sequence[str] = ()
) -> JudgeCheck:
    """Judge the responses in the file at `path`, compare with people's labels, and keep the result.

    It is kept under the hash of the judge's configuration, and later used to correct the judge's figures.

    Raises:
        RunStopped: it stopped before the end; the same call continues.
        UsageError: there is no such judge, a setting does not fit, or a cap on cost cannot be kept.
        RunError, LabelsError: the file cannot be read, or the working folder or the result be written.
    """
    file = read_judged(path, language=config.selection.language)
    rows = choose_rows(file, limit=config.selection.limit, seed=config.seed)
    plan = _plan(file, rows, config, command)
    identity = judge_id(plan.judge)
    folder = safemt_home() / "judge-checks" / f"{identity[:16]}-{file.sha256[:16]}"
    start_run(plan, folder, console=console)
    store = Store.open_for_reading(folder)
    try:
        invocation = store.invocation()
        scored = {s.query_id: s for s in store.scored_samples(setup=invocation.setup, judge=invocation.judge)}
    finally:
        store.close()
    checked = [
        Checked(row, scored[row.sample.query_id].label or Label.UNGRADED, scored[row.sample.query_id].cause)
        for row in rows
    ]
    validation = Validation(
        judge=plan.judge.name,
        judge_id=identity,
        labels=file.path.name,
        labels_sha256=file.sha256,
        selection=_described(config, len(rows)),
        confusion=confusion((c.row.label, c.label) for c in checked),
        checked=datetime.now(UTC).isoformat(timespec="seconds"),
        safemt=version("safemt"),
    )
    save_validation(validation)
    return JudgeCheck(validation=validation, checked=checked, labelled_by_people=file.labelled_by_people)


def _plan(
    file: JudgedFile, rows: Sequence[JudgedRow], config: JudgeCheckConfig, command: Sequence[str]
) -> RunPlan:
    samples = [row.sample for row in rows]
    benchmark = Benchmark(
        path=file.path.parent, boundary=None, layout=Layout.JSONL, name=file.path.name,
        samples=tuple(samples), findings=(),
    )  # fmt: skip
    responses = {(row.sample.query_id, row.sample.turns): row.response for row in file.rows}
    return RunPlan(
        config=RunConfig(
            benchmark=str(file.path),
            target=TargetConfig(name=f"replay/{file.path}"),
            judge=config.judge,
            selection=SelectionConfig(limit=config.selection.limit),
            limits=config.limits,
            budget=config.budget,
            seed=config.seed,
        ),
        benchmark=describe_benchmark(benchmark, samples),
        samples=samples,
        target=ReplayTarget(file.path, responses, sha256=file.sha256),
        judge=open_judge(config.judge, timeout=config.limits.timeout),
        budget=open_budget(config.budget),
        command=command,
    )


def _described(config: JudgeCheckConfig, rows: int) -> str:
    """Which rows were chosen, as it is kept with the validation."""
    language, limit = config.selection.language, config.selection.limit
    chosen = [f"language {language}" if language else "", f"{rows} rows, seed {config.seed}" if limit else ""]
    return ", ".join(part for part in chosen if part) or "all"


def choose_rows(file: JudgedFile, *, limit: int | None, seed: int) -> list[JudgedRow]:
    """All rows, or a random `limit` of them whose labels keep the file's proportion, give or take one."""
    if limit is None or limit >= len(file.rows):
        return list(file.rows)
    groups = {label: [row for row in file.rows if row.label is label] for label in (Label.UNSAFE, Label.SAFE)}
    unsafe = round(limit * len(groups[Label.UNSAFE]) / len(file.rows))
    chosen: set[str] = set()
    for label, many in ((Label.UNSAFE, unsafe), (Label.SAFE, limit - unsafe)):
        picked = random.Random(f"{seed}:{label}").sample(groups[label], min(many, len(groups[label])))
        chosen.update(row.sample.query_id for row in picked)
    return [row for row in file.rows if row.sample.query_id in chosen]
