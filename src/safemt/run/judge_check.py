"""Checking a judge against people: a run over responses that people have labelled.

It is an ordinary run, with the recorded responses as its target, so it is limited, stored and resumed like
one.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console

from safemt.benchmark.judged import JudgedFile, JudgedRow
from safemt.benchmark.layouts import Layout
from safemt.benchmark.read import Benchmark
from safemt.core.taxonomy import Label
from safemt.endpoints.spend import Budget
from safemt.judges.base import Judge, judge_id
from safemt.judges.validation import Validation, safemt_home, save_validation
from safemt.run.start import RunPlan, describe_benchmark, start_run
from safemt.run.store import Store
from safemt.stats.agreement import confusion
from safemt.targets.replay import ReplayTarget


@dataclass(frozen=True, slots=True)
class Checked:
    """One row with both labels."""

    row: JudgedRow
    label: Label
    """The judge's."""
    cause: str
    """Why it is `ungraded`."""


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """A judge's labels beside people's."""

    validation: Validation
    checked: Sequence[Checked]
    labelled_by_people: bool


def check_judge(
    file: JudgedFile,
    judge: Judge,
    *,
    rows: Sequence[JudgedRow],
    selection: str,
    concurrency: int,
    budget: Budget,
    manifest: Mapping[str, Any],
    console: Console,
) -> JudgeCheck:
    """Judge `rows` of `file`, compare with people's labels, and keep the result under the judge's hash.

    Raises:
        RunStopped: it stopped before the end; the same call continues.
        RunError, LabelsError: the working folder or the result cannot be written.
    """
    identity = judge_id(judge)
    samples = [row.sample for row in rows]
    benchmark = Benchmark(
        path=file.path.parent, boundary=None, layout=Layout.JSONL, name=file.path.name,
        samples=tuple(samples), findings=(),
    )  # fmt: skip
    plan = RunPlan(
        benchmark=describe_benchmark(benchmark, samples),
        samples=samples,
        target=ReplayTarget(
            file.path,
            {(row.sample.query_id, row.sample.turns): row.response for row in file.rows},
            sha256=file.sha256,
        ),
        judge=judge,
        concurrency=concurrency,
        budget=budget,
        manifest=dict(manifest),
    )
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
        judge=judge.name,
        judge_id=identity,
        labels=file.path.name,
        labels_sha256=file.sha256,
        selection=selection,
        confusion=confusion((c.row.label, c.label) for c in checked),
        checked=datetime.now(UTC).isoformat(timespec="seconds"),
        safemt=version("safemt"),
    )
    save_validation(validation)
    return JudgeCheck(validation=validation, checked=checked, labelled_by_people=file.labelled_by_people)


def choose_rows(file: JudgedFile, *, limit: int | None, seed: int) -> list[JudgedRow]:
    """All rows, or a random `limit` of them with the labels in the file's proportion at worst one off."""
    if limit is None or limit >= len(file.rows):
        return list(file.rows)
    groups = {label: [row for row in file.rows if row.label is label] for label in (Label.UNSAFE, Label.SAFE)}
    unsafe = round(limit * len(groups[Label.UNSAFE]) / len(file.rows))
    chosen: set[str] = set()
    for label, many in ((Label.UNSAFE, unsafe), (Label.SAFE, limit - unsafe)):
        picked = random.Random(f"{seed}:{label}").sample(groups[label], min(many, len(groups[label])))
        chosen.update(row.sample.query_id for row in picked)
    return [row for row in file.rows if row.sample.query_id in chosen]
