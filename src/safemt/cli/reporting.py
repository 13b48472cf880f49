"""`safemt report`: runs as a page and as tables."""

from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories; the first is the baseline.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            help="report.html, or .md, .csv, .parquet for the tables; may be given several times.",
        ),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Leave out every question, dialogue, response and image.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare although benchmarks or judges differ.")
    ] = False,
) -> None:
    """Write a report to look at.

    One HTML file that needs no network, or its tables.
    """
    from safemt.cli.printing import stdout
    from safemt.report.export import write_report

    for path in write_report(runs, out or [Path("report.html")], redact=redact, force=force):
        size = path.stat().st_size
        stdout().print(f"Report: {path} ({size / 1e6:.1f} MB)", highlight=False, markup=False, soft_wrap=True)
