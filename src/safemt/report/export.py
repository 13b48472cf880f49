"""A report written: the page, and its tables as Markdown, CSV and Parquet."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

from safemt.core.errors import UsageError
from safemt.io.files import write_file
from safemt.report.compare import Compared
from safemt.report.page import words
from safemt.report.page.build import build_page, compare_if_fair, load_runs
from safemt.report.page.drawings import ReportRun
from safemt.report.page.markdown import markdown
from safemt.stats.comparison import Comparison
from safemt.stats.intervals import Estimate
from safemt.stats.scores import Tally

_FORMULA: Final = re.compile(r"[=+\-@\t\r]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure of one run; the columns of the CSV and Parquet tables. Shares are in [0, 1]."""

    run: str
    target: str
    simulated: bool
    pending: int
    """Samples of the run still to do: more than 0 makes every figure partial."""
    figure: str
    """`asr`, `asr_corrected`, `safety_index`, `safety_index_as_published`, `over_refusal`,
    `slope_per_doubling`, `first_unsafe`, `never_unsafe`, `outcome`, `ungraded`, `moderated`,
    `degraded_verdicts`; between runs `difference_asr`, `difference_safety_index`,
    `difference_over_refusal`."""
    group: str = ""
    """`scenario`, `method`, `outcome`, `cause`, `action` and `twin_action` of a moderator, or `baseline` on a
    difference; empty for the whole run."""
    name: str = ""
    """Of the group's member; the baseline's run on a difference."""
    turns: int | None = None
    """None for all numbers of turns together."""
    value: float | None = None
    low: float | None = None
    """Of the 95 % interval, as is `high`."""
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


def write_report(
    folders: Sequence[Path], outputs: Sequence[Path], *, redact: bool = False, force: bool = False
) -> tuple[Path, ...]:
    """Write the runs' report in the format that each output's name asks for, each file whole or not at all.

    Raises:
        UsageError: a name ends in none of .html, .md, .csv and .parquet, or its format needs an extra.
        RunError: a run cannot be read.
        FileError: an output cannot be written.
        LabelsError: there is nothing to report.
    """
    writers: dict[str, Callable[[], bytes]] = {
        ".html": lambda: build_page(runs, redact=redact, force=force).encode("utf-8", "replace"),
        ".md": lambda: markdown(runs, compared, unfair).encode("utf-8", "replace"),
        ".csv": lambda: csv_table(figure_rows(runs, compared)).encode("utf-8", "replace"),
        ".parquet": lambda: parquet_table(figure_rows(runs, compared)),
    }
    for path in outputs:
        if path.suffix.lower() not in writers:
            raise UsageError(f"{path} ends in none of {', '.join(writers)}: its end says what to write.")
    runs = load_runs(folders)
    compared, unfair = compare_if_fair(runs, force=force)
    for path in outputs:
        write_file(path, writers[path.suffix.lower()]())
    return tuple(outputs)


def figure_rows(runs: Sequence[ReportRun], compared: Compared | None) -> list[FigureRow]:
    """Every figure of the report as one long table."""
    rows = [row for run in runs for row in _run_rows(run)]
    if compared is not None:
        for run, comparison in zip(runs[1:], compared.comparisons, strict=True):
            rows += _difference_rows(run, compared.names[0], comparison)
    return rows


def csv_table(rows: Sequence[FigureRow]) -> str:
    """CSV with a heading line; an apostrophe goes before text that a spreadsheet would take for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(field.name for field in fields(FigureRow))
    for row in rows:
        writer.writerow(_cell(value) for value in astuple(row))
    return out.getvalue()


def parquet_table(rows: Sequence[FigureRow]) -> bytes:
    """The same rows as Parquet, typed.

    Raises:
        UsageError: pyarrow is not there.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow: pip install 'safemt[hub]'. CSV needs nothing.") from error
    types: dict[object, object] = {
        str: pyarrow.string(),
        bool: pyarrow.bool_(),
        int: pyarrow.int64(),
        int | None: pyarrow.int64(),
        float | None: pyarrow.float64(),
    }
    columns = {
        field.name: pyarrow.array([_plain(getattr(row, field.name)) for row in rows], types[field.type])
        for field in fields(FigureRow)
    }
    table = pyarrow.table(columns)
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def _run_rows(run: ReportRun) -> list[FigureRow]:
    scores, figures = run.results.scores, run.results.figures
    overall, bounds, first = figures.overall, figures.bounds, figures.first_unsafe

    def row(figure: str, estimate: Estimate | None = None, **cells: str | float | None) -> FigureRow:
        if estimate is not None:
            cells |= {"value": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}
        return _row(run, figure=figure, **cells)

    rows = []
    for at, k in enumerate(overall.rounds):
        rows.append(
            row("asr", overall.asr[at], turns=k, **_counts(scores.turns[k]), **_extremes(bounds.asr[at]))
        )
        if figures.corrected is not None:
            rows.append(row("asr_corrected", figures.corrected.by_round[at].estimate, turns=k))
    every = Tally(
        *(sum(getattr(t, label) for t in scores.turns.values()) for label in ("safe", "unsafe", "ungraded"))
    )
    rows.append(row("asr", overall.pooled, **_counts(every), **_extremes(bounds.pooled)))
    if figures.corrected is not None:
        rows.append(row("asr_corrected", figures.corrected.pooled.estimate))
    rows.append(row("safety_index", overall.si, **_extremes(bounds.si)))
    rows.append(row("safety_index_as_published", value=scores.safety_index_compat))
    for k, estimate in figures.over_refusal_turns.items():
        rows.append(row("over_refusal", estimate, turns=k, samples=scores.over_refusal[k].n))
    rows.append(
        row("over_refusal", figures.over_refusal, samples=sum(o.n for o in scores.over_refusal.values()))
    )
    rows.append(row("slope_per_doubling", figures.trend.slope, samples=figures.trend.queries))
    rows += [
        row("first_unsafe", share, turns=k, samples=first.queries)
        for k, share in zip(first.rounds, first.by_round, strict=True)
    ]
    rows.append(row("never_unsafe", first.never, samples=first.queries))
    for kind, groups, tallies, by_turns in (
        ("scenario", figures.scenarios, scores.scenarios, scores.scenario_turns),
        ("method", figures.methods, scores.methods, scores.method_turns),
    ):
        for name, group in groups.items():
            rows.append(row("asr", group.pooled, group=kind, name=name, **_counts(tallies[name])))
            rows += [
                row("asr", group.asr[at], group=kind, name=name, turns=k, **_counts(by_turns[name][k]))
                for at, k in enumerate(group.rounds)
            ]
    rows += [row("outcome", group="outcome", name=name, samples=n) for name, n in scores.outcomes.items()]
    rows += [row("ungraded", group="cause", name=name, samples=n) for name, n in scores.causes.items()]
    if (moderation := run.results.moderation) is not None:
        for kind, actions in (("action", moderation.harmful), ("twin_action", moderation.twins)):
            rows.append(row("moderated", group=kind, name="allow", samples=actions.allowed))
            rows.append(row("moderated", group=kind, name="inject", samples=actions.injected))
            rows.append(row("moderated", group=kind, name="block", samples=actions.blocked))
        rows += [
            row("degraded_verdicts", group="cause", name=name, samples=n)
            for name, n in moderation.degraded.items()
        ]
    return rows


def _difference_rows(run: ReportRun, baseline: str, comparison: Comparison) -> list[FigureRow]:
    differences = [
        *(("difference_asr", k, d) for k, d in zip(comparison.rounds, comparison.by_round, strict=True)),
        ("difference_asr", None, comparison.pooled),
        ("difference_safety_index", None, comparison.si),
        ("difference_over_refusal", None, comparison.over_refusal),
    ]
    return [
        _row(
            run,
            figure=figure,
            group="baseline",
            name=baseline,
            turns=turns,
            value=d.value,
            low=d.interval.low,
            high=d.interval.high,
            samples=d.samples,
            p_adjusted=d.p_adjusted,
            verdict=d.verdict,
        )
        for figure, turns, d in differences
        if d is not None
    ]


def _row(run: ReportRun, **cells: object) -> FigureRow:
    results = run.results
    return FigureRow(
        run=run.name,
        target=results.target,
        simulated=results.simulated,
        pending=results.scores.pending,
        **cells,  # type: ignore[arg-type]
    )


def _counts(tally: Tally) -> dict[str, float | None]:
    return {
        "samples": tally.safe + tally.unsafe,
        "unsafe": tally.unsafe,
        "safe": tally.safe,
        "ungraded": tally.ungraded,
    }


def _extremes(bound: object) -> dict[str, float | None]:
    safe, unsafe = getattr(bound, "if_safe", None), getattr(bound, "if_unsafe", None)
    return {"if_ungraded_safe": safe, "if_ungraded_unsafe": unsafe}


def _plain(value: object) -> object:
    return words.visible(value) if isinstance(value, str) else value


def _cell(value: object) -> object:
    value = _plain(value)
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return "" if value is None else value
