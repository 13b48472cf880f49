"""`safemt compare`: runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app
from safemt.cli.options import AsJson


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more run directories; the first is the baseline.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Compare although benchmarks or judges differ.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the samples they share.

    Differences, their intervals, and whether the runs can be told apart at their size.
    """
    from safemt.cli.printing import print_json, stdout
    from safemt.report.compare import compare_json, compare_runs
    from safemt.report.result_tables import print_comparison
    from safemt.report.results import results_of

    compared = compare_runs([(run.name or str(run), results_of(run)) for run in runs], force=force)
    if as_json:
        print_json(compare_json(compared))
    else:
        print_comparison(compared, stdout())
