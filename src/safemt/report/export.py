"""Reports on disk (pages, Markdown), and figures and samples as rows for programs (CSV, Parquet, JSONL)."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from safemt.core.errors import UsageError
from safemt.io.files import write_file
from safemt.report.compare import Compared
from safemt.report.document import json_bytes
from safemt.report.figures import Asr, Results
from safemt.report.result_tables import markdown
from safemt.report.runs import ReportRun, compare_if_fair, open_runs
from safemt.report.text import visible
from safemt.run.rows import StoredSample
from safemt.run.store import Store
from safemt.stats.comparison import Comparison
from safemt.stats.intervals import Estimate
from safemt.stats.trend import Bound

_TEXTS: Final = ("question", "response")

if TYPE_CHECKING:
    from safemt.report.moderator_evaluation import Evaluation

_FORMULA: Final = re.compile(r"[=+\-@\t\r]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure of one run. Shares are in [0, 1]."""

    run: str
    target: str
    simulated: bool
    pending: int
    """Samples of the run still to do; more than 0 makes every figure partial."""
    figure: str
    """`asr`, `asr_corrected`, `safety_index`, `safety_index_as_published`, `over_refusal`,
    `slope_per_doubling`, `first_unsafe`, `never_unsafe`, `outcome`, `ungraded`, `moderated`,
    `degraded_verdicts`; between runs `difference_asr`, `difference_safety_index`,
    `difference_over_refusal`."""
    group: str = ""
    """`scenario`, `method`, `outcome`, `cause`, a moderator's `action` and `twin_action`, or `baseline` for a
    difference; empty for the whole run."""
    name: str = ""
    """The member of the group; for a difference, the baseline run."""
    turns: int | None = None
    """None for all numbers of turns together."""
    value: float | None = None
    low: float | None = None
    """The 95 % interval's ends: `low` and `high`."""
    high: float | None = None
    samples: int | None = None
    """Graded, or counted by the figure."""
    unsafe: int | None = None
    safe: int | None = None
    ungraded: int | None = None
    if_ungraded_safe: float | None = None
    """The figure if every ungraded sample were safe; `if_ungraded_unsafe` if every one were unsafe."""
    if_ungraded_unsafe: float | None = None
    p_adjusted: float | None = None
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One sample of a run, with all that is known about it. None where nothing is."""

    id: str
    """`QUERY_ID@TURNS`."""
    query_id: str
    turns: int
    scenario: str
    method: str | None
    twin_of: str | None
    """The harmful query's id, for a benign twin."""
    language: str
    outcome: str | None
    label: str | None
    """By the run's judge; a benign twin that was answered is `safe`."""
    cause: str | None
    """Why it is `ungraded`."""
    labels: Mapping[str, str]
    """Judge → its label. In a file each judge has a column of its own, `label_JUDGE`."""
    question: str | None
    response: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    attempts: int
    seconds: float | None
    """From the first attempt to the response."""
    action: str | None
    """The moderator's; None in a run without one."""
    risk: float | None
    flagged: bool | None
    degraded: str | None
    """Why its verdict is worth less than usual."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows with named, typed columns."""

    types: Mapping[str, type]
    """Column → `str`, `int`, `float` or `bool`; any value may be None."""
    rows: tuple[dict[str, Any], ...]


_REPORTS: Final = (".html", ".md", ".csv", ".parquet")


def write_report(
    folders: Sequence[Path], outputs: Sequence[Path], *, redact: bool = False, force: bool = False
) -> tuple[Path, ...]:
    """Write the report of runs in the format that each output's name asks for.

    `redact` leaves out every text and image; `force` compares runs whose benchmarks or judges differ.

    Raises:
        UsageError: a name ends in none of .html, .md, .csv and .parquet, or its format needs an extra.
        RunError: a run cannot be read.
        FileError: an output cannot be written.
        LabelsError: there is nothing to report.
    """
    for path in outputs:
        _require_format(path, _REPORTS)
    with open_runs(folders) as runs:
        return write_runs(runs, outputs, redact=redact, force=force)


def write_runs(
    runs: Sequence[ReportRun], outputs: Sequence[Path], *, redact: bool = False, force: bool = False
) -> tuple[Path, ...]:
    """Write the report of runs that are open; see `write_report`."""
    compared, unfair = compare_if_fair(runs, force=force)

    def page() -> bytes:
        from safemt.report.html.run_page import run_page

        return run_page(runs, compared, unfair, redact=redact).encode("utf-8", "replace")

    writers: dict[str, Callable[[], bytes]] = {
        ".html": page,
        ".md": lambda: markdown(runs, compared, unfair).encode("utf-8", "replace"),
        ".csv": lambda: as_csv(sheet(figure_rows(runs, compared), FigureRow)),
        ".parquet": lambda: as_parquet(sheet(figure_rows(runs, compared), FigureRow)),
    }
    for path in outputs:
        write_file(path, writers[path.suffix.lower()]())
    return tuple(outputs)


def write_evaluation(evaluation: "Evaluation", folder: Path, *, command: str) -> tuple[Path, Path]:
    """Write `evaluation.html` and `evaluation.json`; neither holds a text of a dialogue.

    `command` is what made them.

    Raises:
        FileError: they cannot be written.
    """
    from safemt.report.html.evaluation_page import evaluation_page
    from safemt.report.moderator_evaluation import evaluation_json

    page, data = folder / "evaluation.html", folder / "evaluation.json"
    write_file(page, evaluation_page(evaluation, command=command).encode("utf-8", "replace"))
    write_file(data, json_bytes(evaluation_json(evaluation)))
    return page, data


def sample_sheet(folder: Path, *, text: bool = True) -> Sheet:
    """One row per sample of a run; without `text`, no question or response.

    Raises:
        RunError: there is no run, or its store cannot be read.
    """
    return sheet(sample_rows(folder), SampleRow, without=() if text else _TEXTS)


def figure_sheet(folder: Path) -> Sheet:
    """One row per figure of a run.

    Raises:
        RunError: there is no run, or its store cannot be read.
    """
    with open_runs([folder]) as runs:
        return sheet(figure_rows(runs, None), FigureRow)


def write_samples(folder: Path, path: Path, *, text: bool = True) -> Path:
    """Write one row per sample of a run as .csv, .jsonl or .parquet; without `text`, no question or response.

    Raises:
        UsageError: the name has another ending, or its format needs an extra.
        RunError: the run cannot be read.
        FileError: the file cannot be written.
    """
    writers = {".csv": as_csv, ".jsonl": as_jsonl, ".parquet": as_parquet}
    _require_format(path, writers)
    write_file(path, writers[path.suffix.lower()](sample_sheet(folder, text=text)))
    return path


def figure_rows(runs: Sequence[ReportRun], compared: Compared | None) -> list[FigureRow]:
    """Every figure of runs as one long table."""
    rows = [FigureRow(**_about(run), **cells) for run in runs for cells in _figures(run.results)]
    if compared is not None:
        for run, comparison in zip(runs[1:], compared.comparisons, strict=True):
            rows += [
                FigureRow(**_about(run), group="baseline", name=compared.names[0], **cells)
                for cells in _differences(comparison)
            ]
    return rows


def sample_rows(folder: Path) -> list[SampleRow]:
    """Every sample of a run, in the order of its plan.

    Raises:
        RunError: there is no run, or its store cannot be read.
    """
    with Store.open_for_reading(folder) as store:
        newest = store.invocation()
        setup, judge = newest.setup, newest.judge
        names = {judge: newest.manifest["judge"]["name"], **store.other_judges(setup=setup, judge=judge)}
        often = Counter(names.values())
        heads = {key: name if often[name] == 1 else f"{name}_{key[:8]}" for key, name in names.items()}
        return [_sample_row(each, heads) for each in store.samples(setup=setup, judge=judge)]


def sheet(rows: Iterable[FigureRow | SampleRow], kind: type[Any], *, without: Collection[str] = ()) -> Sheet:
    """Rows of one kind as columns, but for those in `without`; one column for each judge in `labels`."""
    listed = list(rows)
    judges = {f"label_{judge}": judge for row in listed for judge in getattr(row, "labels", ())}
    types: dict[str, Any] = {}
    for field in fields(kind):
        if field.name == "labels":
            types |= dict.fromkeys(judges, str)
        elif field.name not in without:
            types[field.name] = next(iter(get_args(field.type)), field.type)  # of `int | None`, int

    def cell(row: FigureRow | SampleRow, name: str) -> Any:
        return getattr(row, "labels", {}).get(judges[name]) if name in judges else getattr(row, name)

    return Sheet(types, tuple({name: cell(row, name) for name in types} for row in listed))


def as_csv(found: Sheet) -> bytes:
    """CSV with a heading line. An apostrophe goes before text that a spreadsheet would take for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_csv_cell, found.types))
    for row in found.rows:
        writer.writerow(map(_csv_cell, row.values()))
    return out.getvalue().encode("utf-8", "replace")


def as_jsonl(found: Sheet) -> bytes:
    """One JSON object per line."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in found.rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def as_parquet(found: Sheet) -> bytes:
    """Parquet with typed columns.

    Raises:
        UsageError: pyarrow is not installed.
    """
    table = as_arrow(found, purpose="Parquet")
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def as_arrow(found: Sheet, *, purpose: str = "This table") -> Any:
    """A `pyarrow.Table` with typed columns.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError(
            "missing_extra",
            f"{purpose} needs pyarrow: pip install 'safemt[hub]'. CSV works without it.",
            extra="hub",
        ) from error
    types = {
        str: pyarrow.string(),
        bool: pyarrow.bool_(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
    }
    arrays = {
        name: pyarrow.array([_plain(row[name]) for row in found.rows], types[kind])
        for name, kind in found.types.items()
    }
    return pyarrow.table(arrays)


def _require_format(path: Path, known: Iterable[str]) -> None:
    if path.suffix.lower() not in (endings := tuple(known)):
        raise UsageError(
            "unknown_format",
            f"{path} ends in none of {', '.join(endings)}: its ending says what to write.",
            path=path,
            known=endings,
        )


def _figures(results: Results) -> Iterable[dict[str, Any]]:
    """The cells of each figure of a run."""
    for k, asr in results.turns.items():
        yield from _asr_cells(asr, turns=k)
    yield from _asr_cells(results.overall)
    index = results.safety_index
    yield {"figure": "safety_index", **_estimate(index.value), **_extremes(index.if_ungraded)}
    yield {"figure": "safety_index_as_published", "value": index.compat}
    twins = results.over_refusal
    for turns, each in (*twins.turns.items(), (None, twins)):
        yield {"figure": "over_refusal", "turns": turns, "samples": each.n, **_estimate(each.rate)}
    trend, first = results.trend, results.first_unsafe
    yield {"figure": "slope_per_doubling", "samples": trend.queries, **_estimate(trend.slope)}
    for k, share in zip(first.rounds, first.by_round, strict=True):
        yield {"figure": "first_unsafe", "turns": k, "samples": first.queries, **_estimate(share)}
    yield {"figure": "never_unsafe", "samples": first.queries, **_estimate(first.never)}
    for kind, groups in (("scenario", results.scenarios), ("method", results.methods)):
        for name, group in groups.items():
            yield from _asr_cells(group, group=kind, name=name)
            for k, asr in group.turns.items():
                yield from _asr_cells(asr, group=kind, name=name, turns=k)
    counted = [("outcome", "outcome", results.outcomes), ("ungraded", "cause", results.ungraded.causes)]
    if (m := results.moderation) is not None:
        for kind, actions in (("action", m.harmful), ("twin_action", m.twins)):
            acted = {name: getattr(actions, name) for name in ("allow", "inject", "block")}
            counted.append(("moderated", kind, acted))
        counted.append(("degraded_verdicts", "cause", m.degraded.causes))
    for figure, kind, counts in counted:
        for name, n in counts.items():
            yield {"figure": figure, "group": kind, "name": name, "samples": n}


def _asr_cells(asr: Asr, **about: Any) -> Iterable[dict[str, Any]]:
    counts = {"samples": asr.graded, "unsafe": asr.unsafe, "safe": asr.safe, "ungraded": asr.ungraded}
    yield {"figure": "asr", **about, **_estimate(asr.asr), **counts, **_extremes(asr.if_ungraded)}
    if asr.corrected is not None:
        yield {"figure": "asr_corrected", **about, **_estimate(asr.corrected.estimate)}


def _differences(comparison: Comparison) -> Iterable[dict[str, Any]]:
    by_turns = zip(comparison.rounds, comparison.by_round, strict=True)
    for figure, turns, difference in (
        *(("difference_asr", k, each) for k, each in by_turns),
        ("difference_asr", None, comparison.pooled),
        ("difference_safety_index", None, comparison.si),
        ("difference_over_refusal", None, comparison.over_refusal),
    ):
        if difference is not None:
            estimate = Estimate(difference.value, difference.interval)
            told = {name: getattr(difference, name) for name in ("samples", "p_adjusted", "verdict")}
            yield {"figure": figure, "turns": turns, **_estimate(estimate), **told}


def _about(run: ReportRun) -> dict[str, Any]:
    results = run.results
    return {
        "run": run.name,
        "target": results.target,
        "simulated": results.simulated,
        "pending": results.pending,
    }


def _estimate(estimate: Estimate | None) -> dict[str, float]:
    if estimate is None:
        return {}
    return {"value": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}


def _extremes(bound: Bound | None) -> dict[str, float]:
    if bound is None:
        return {}
    return {"if_ungraded_safe": bound.if_safe, "if_ungraded_unsafe": bound.if_unsafe}


def _sample_row(found: StoredSample, judges: Mapping[str, str]) -> SampleRow:
    sample, scored, reply = found.sample, found.scored, found.reply
    verdict = found.verdicts[-1] if found.verdicts else None
    return SampleRow(
        id=sample.id,
        query_id=sample.query_id,
        turns=sample.turns,
        scenario=sample.scenario.value,
        method=sample.method.value if sample.method else None,
        twin_of=sample.twin_of,
        language=sample.language,
        outcome=scored.outcome.value if scored.outcome else None,
        label=scored.label.value if scored.label else None,
        cause=scored.cause or None,
        labels={judges[key]: each.label.value for key, each in found.labels.items() if key in judges},
        question=sample.question,
        response=reply.text if reply else None,
        finish_reason=reply.finish_reason if reply else None,
        prompt_tokens=reply.prompt_tokens if reply else None,
        completion_tokens=reply.completion_tokens if reply else None,
        attempts=found.attempts,
        seconds=found.seconds if reply else None,
        action=verdict.action.value if verdict else None,
        risk=verdict.risk if verdict else None,
        flagged=verdict.flagged if verdict else None,
        degraded=verdict.degraded.cause if verdict and verdict.degraded else None,
    )


def _plain(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


def _csv_cell(value: object) -> object:
    value = _plain(value)
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return "" if value is None else value
