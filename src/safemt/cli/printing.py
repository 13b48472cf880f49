"""Where the command's output goes: figures to stdout, everything else to stderr."""

import json
import re
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from safemt.benchmark.findings import MISSING_IMAGE, Finding, Level, count_codes, errors_of
from safemt.benchmark.read import Benchmark
from safemt.io.files import PUBLIC, write_file

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:@-]*")
_EXAMPLES = 3
_IDS = 30


def stdout() -> Console:
    """The console for results. It shows a name such as `a:bug:b` as it is."""
    return Console(emoji=False)


class _Remarks(Console):
    """Falls silent when its reader has gone (`2>&1 | tee`, and Ctrl-C), and does not end the command."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def stderr() -> Console:
    """The console for progress and remarks."""
    # No emoji: their table, loaded while the samples are in memory, would lie among them and keep that memory
    # from being given back.
    return _Remarks(stderr=True, emoji=False)


def say(console: Console, line: str) -> None:
    """Print a line as it is, without colours and breaks."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False), flush=True)


def print_yaml(document: dict[str, Any]) -> None:
    """One YAML document on stdout, which safemt reads back as it was."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes all but plain words: YAML 1.2 reads more as numbers (1e3) than PyYAML, which writes 1.1."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = None if _PLAIN.fullmatch(value) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    print(yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True), end="", flush=True)


def write_results(folder: Path, document: dict[str, Any]) -> Path:
    """Write `results.json` whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    # What UTF-8 cannot hold (in a path, say) becomes the escape that JSON has for it.
    return write_file(folder / "results.json", text.encode(errors="backslashreplace"), mode=PUBLIC)


def finish_run(folder: Path, *, as_json: bool) -> int | None:
    """Write and print the results of the run in `folder`. The exit code is 1 if nothing was graded."""
    # Imported late: a run makes its first call sooner without the statistics.
    from safemt.report.results import results_json, results_of_run
    from safemt.report.tables import print_results

    results = results_of_run(folder)
    document = results_json(results)
    path = write_results(folder, document)
    if as_json:
        print_json(document)
    else:
        print_results(results, stdout())
        say(stdout(), f"Results: {path}")
    return None if any(tally.asr is not None for tally in results.scores.turns.values()) else 1


def print_check(benchmark: Benchmark) -> None:
    """The contents of a benchmark, the findings (errors first), and whether a run may use it."""
    console = stdout()
    samples = benchmark.samples
    console.print(Text.assemble((benchmark.name, "bold"), f" ({benchmark.layout} layout)"))
    if samples:
        _print_contents(console, benchmark)
    for level in Level:
        _print_findings(console, [f for f in benchmark.findings if f.level is level], level)
    errors = errors_of(benchmark.findings)
    warnings = _count(len(benchmark.findings) - len(errors), "warning", "warnings")
    missing = len(benchmark.imageless)
    if not errors:
        verdict = f"[green]Usable:[/green] no errors, {warnings}."
    elif missing == len(errors):
        lack = f"{missing:,} of {_count(len(samples), 'sample', 'samples')} without their image"
        verdict = f"[red]Not usable as it is:[/red] {lack}, {warnings}."
    else:
        verdict = f"[red]Not usable:[/red] {_count(len(errors), 'error', 'errors')}, {warnings}."
    console.print(verdict, highlight=False)


def _print_contents(console: Console, benchmark: Benchmark) -> None:
    samples = benchmark.samples
    harmful = [sample for sample in samples if sample.twin_of is None]
    twins = len({sample.query_id for sample in samples if sample.twin_of is not None})
    queries = _count(benchmark.query_count, "query", "queries")
    if twins:
        queries += f" and {_count(twins, 'benign twin', 'benign twins')}"
    rounds = ", ".join(str(turns) for turns in benchmark.rounds)
    console.print(
        f"{_count(len(samples), 'sample', 'samples')}: {queries} at {rounds} turns", highlight=False
    )
    console.print(f"sha256 {benchmark.sha256}", highlight=False, soft_wrap=True)
    title = "Samples by scenario and turns" + (", twins left out" if twins else "")
    table = Table(title=title, title_justify="left")
    table.add_column("scenario")
    for turns in benchmark.rounds:
        table.add_column(str(turns), justify="right")
    for scenario in sorted({sample.scenario for sample in harmful}):
        group = [sample.turns for sample in harmful if sample.scenario is scenario]
        table.add_row(scenario.value, *(f"{group.count(turns):,}" for turns in benchmark.rounds))
    table.add_section()
    every = [sample.turns for sample in harmful]
    table.add_row("all", *(f"{every.count(turns):,}" for turns in benchmark.rounds))
    console.print(table)
    images = len({sample.image.sha256 for sample in samples if sample.image})
    missing = len(benchmark.imageless)
    console.print(f"{images:,} different images; samples without their image: {missing:,}", highlight=False)


def _print_findings(console: Console, findings: list[Finding], level: Level) -> None:
    colour = "red" if level is Level.ERROR else "yellow"
    for code, count in count_codes(findings).items():
        console.print(f"[{colour}]{level}[/{colour}] {code} × {count:,}", highlight=False)
        group = [finding for finding in findings if finding.code == code]
        if code == MISSING_IMAGE:
            ids = list(dict.fromkeys(finding.id or finding.place for finding in group))
            lines, rest = [", ".join(ids[:_IDS])], len(ids) - _IDS
        else:
            lines, rest = [str(finding) for finding in group[:_EXAMPLES]], count - _EXAMPLES
        if rest > 0:
            lines.append(f"… and {rest:,} more: safemt check --json lists them all")
        if code == MISSING_IMAGE:
            lines.append("Put them in place, or run with --text-only or --skip-missing-images.")
        for line in lines:
            text = fill(
                line,
                console.width,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            console.print(Text(text), soft_wrap=True)


def _count(number: int, one: str, more: str) -> str:
    return f"{f'{number:,}' if number else 'no'} {one if number == 1 else more}"
