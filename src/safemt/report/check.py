"""What a check found in a benchmark: as a document, and on the terminal."""

from collections import Counter
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

from safemt.benchmark.findings import MISSING_IMAGE, Finding, Level, errors_of
from safemt.benchmark.read import Benchmark
from safemt.report.table import RULE, Row, Table, columns, print_table, say
from safemt.report.text import count, one_line

if TYPE_CHECKING:
    from rich.console import Console

_KEYS: Final = ("level", "code", "file", "index", "id", "message")
_EXAMPLES: Final = 3
_IDS: Final = 30


def check_json(benchmark: Benchmark) -> dict[str, Any]:
    """The check as one document, described in docs/file-formats.md."""
    harmful = [sample for sample in benchmark.samples if sample.twin_of is None]
    missing = {sample_id.rpartition("@")[0] for sample_id in benchmark.imageless}
    return {
        "name": benchmark.name,
        "layout": benchmark.layout,
        "sha256": benchmark.sha256,
        "samples": len(benchmark.samples),
        "queries": benchmark.query_count,
        "rounds": list(benchmark.rounds),
        "turns": {str(k): n for k, n in sorted(Counter(sample.turns for sample in harmful).items())},
        "scenarios": dict(sorted(Counter(sample.scenario.value for sample in harmful).items())),
        "methods": dict(sorted(Counter(sample.method.value for sample in harmful if sample.method).items())),
        "benign_twins": len(benchmark.samples) - len(harmful),
        "images": len({sample.image.sha256 for sample in benchmark.samples if sample.image}),
        "missing_images": sorted(missing),
        "ok": not errors_of(benchmark.findings),
        "counts": dict(benchmark.counts),
        "findings": [{key: getattr(each, key) for key in _KEYS} for each in benchmark.findings],
    }


def print_check(benchmark: Benchmark, console: "Console") -> None:
    """Print what a benchmark holds, what the check found (errors first), and whether a run may use it."""
    samples = benchmark.samples
    say(console, f"{benchmark.name} ({benchmark.layout} layout)", "bold")
    if samples:
        _print_contents(benchmark, console)
    for level in Level:
        _print_findings(benchmark, level, console)
    errors = _count_level(benchmark, Level.ERROR)
    warnings = _count(_count_level(benchmark, Level.WARNING), "warning")
    missing = len(benchmark.imageless)
    if not errors:
        say(console, f"Usable: no errors, {warnings}.", "green")
    elif missing == errors:
        lack = f"{missing:,} of {count(len(samples), 'sample')} lack their image"
        say(console, f"Not usable as it is: {lack}, {warnings}.", "red")
    else:
        say(console, f"Not usable: {_count(errors, 'error')}, {warnings}.", "red")


def _print_contents(benchmark: Benchmark, console: "Console") -> None:
    samples = benchmark.samples
    twins = len({sample.query_id for sample in samples if sample.twin_of is not None})
    queries = count(benchmark.query_count, "query", "queries")
    if twins:
        queries += f" and {count(twins, 'benign twin')}"
    rounds = ", ".join(str(turns) for turns in benchmark.rounds)
    say(console, f"{count(len(samples), 'sample')}: {queries} at {rounds} turns")
    say(console, f"sha256 {benchmark.sha256}", wrap=False)
    print_table(_contents_table(benchmark), console)
    say(console)
    images = len({sample.image.sha256 for sample in samples if sample.image})
    say(console, f"{images:,} different images; {len(benchmark.imageless):,} samples lack their image")


def _contents_table(benchmark: Benchmark) -> Table:
    harmful = [sample for sample in benchmark.samples if sample.twin_of is None]
    counts = Counter((sample.scenario.value, sample.turns) for sample in harmful)
    rows: list[Row] = [
        (scenario, *(counts[scenario, k] for k in benchmark.rounds))
        for scenario in sorted({scenario for scenario, _ in counts})
    ]
    every = Counter(sample.turns for sample in harmful)
    twins = ", without twins" if len(harmful) < len(benchmark.samples) else ""
    return Table(
        f"Samples by scenario and turns{twins}",
        columns("Scenario", *map(str, benchmark.rounds), text=("Scenario",)),
        (*rows, RULE, ("all", *(every[k] for k in benchmark.rounds))),
    )


def _by_code(benchmark: Benchmark, level: Level) -> dict[str, list[Finding]]:
    """The listed findings of a level, those of the most frequent code first."""
    groups: dict[str, list[Finding]] = {code: [] for code in benchmark.counts}
    for finding in benchmark.findings:
        if finding.level is level:
            groups[finding.code].append(finding)
    return {code: group for code, group in groups.items() if group}


def _count_level(benchmark: Benchmark, level: Level) -> int:
    return sum(benchmark.counts[code] for code in _by_code(benchmark, level))


def _print_findings(benchmark: Benchmark, level: Level, console: "Console") -> None:
    for code, group in _by_code(benchmark, level).items():
        n = benchmark.counts[code]
        say(console, f"{level} {code} × {n:,}", "red" if level is Level.ERROR else "yellow")
        if code == MISSING_IMAGE:
            ids = list(dict.fromkeys(finding.id or finding.place for finding in group))
            lines, rest = [", ".join(ids[:_IDS])], len(ids) - _IDS
        else:
            lines, rest = [str(finding) for finding in group[:_EXAMPLES]], n - _EXAMPLES
        if rest > 0:
            lines.append(f"… and {rest:,} more, which the JSON document lists")
        if code == MISSING_IMAGE:
            lines.append("Put them in place, run on text only, or leave these samples out.")
        for line in lines:
            # Paths and ids stay whole, so that they can be copied.
            said = fill(
                one_line(line), console.width, initial_indent="  ", subsequent_indent="  ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            say(console, said, wrap=False)


def _count(number: int, one: str) -> str:
    return count(number, one) if number else f"no {one}s"
