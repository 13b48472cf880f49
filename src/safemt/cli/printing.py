"""Where the command's output goes: figures to stdout, everything else to stderr."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from safemt.benchmark.findings import Finding, Level, count_codes, errors_of
from safemt.benchmark.read import Benchmark
from safemt.core.errors import RunError

_EXAMPLES = 3


def stdout() -> Console:
    """The console for results."""
    return Console()


def stderr() -> Console:
    """The console for progress and remarks."""
    return Console(stderr=True)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False))


def write_results(folder: Path, document: dict[str, Any]) -> Path:
    """Write `results.json` whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    path = folder / "results.json"
    part = folder / "results.json.part"
    try:
        part.write_text(
            json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
        part.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def print_check(benchmark: Benchmark) -> None:
    """What a benchmark holds, and what the check found."""
    console = stdout()
    samples = benchmark.samples
    harmful = [sample for sample in samples if sample.twin_of is None]
    console.print(
        f"[bold]{benchmark.name}[/bold] ({benchmark.layout} layout): {len(samples):,} samples, "
        f"{benchmark.query_count:,} queries",
        highlight=False,
    )
    if len(harmful) < len(samples):
        console.print(f"{len(samples) - len(harmful):,} of the samples are benign twins", highlight=False)
    console.print(f"sha256 {benchmark.sha256}", highlight=False, soft_wrap=True)
    table = Table(title="Samples by scenario and turns", title_justify="left")
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
    images = {sample.image.sha256 for sample in samples if sample.image}
    console.print(
        f"{len(images):,} different images, {len(benchmark.imageless):,} samples without their image"
    )
    for level in Level:
        _print_findings(console, [f for f in benchmark.findings if f.level is level], level)
    if not errors_of(benchmark.findings):
        console.print("[green]No errors.[/green]")


def _print_findings(console: Console, findings: list[Finding], level: Level) -> None:
    colour = "red" if level is Level.ERROR else "yellow"
    for code, count in count_codes(findings).items():
        console.print(f"[{colour}]{level}[/{colour}] {code} × {count:,}", highlight=False)
        group = [finding for finding in findings if finding.code == code]
        if code == "missing_image":
            ids = ", ".join(sorted({finding.id or finding.place for finding in group}))
            console.print(f"  {ids}", highlight=False, markup=False, soft_wrap=True)
            continue
        for finding in group[:_EXAMPLES]:
            console.print(f"  {finding}", highlight=False, markup=False, soft_wrap=True)
        if count > _EXAMPLES:
            console.print(
                f"  … and {count - _EXAMPLES:,} more: safemt check --json lists them all", highlight=False
            )
