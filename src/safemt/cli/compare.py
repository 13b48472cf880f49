"""`safemt compare`: runs side by side."""

from pathlib import Path

from safemt.cli.command import Argument, command


@command(
    "force",
    "as_json",
    arguments=[Argument("runs", "Two or more run directories. The first is the baseline.", nargs=-1)],
    examples=("safemt compare runs/first runs/second", "safemt compare runs/* --json"),
)
def compare(runs: tuple[Path, ...], *, force: bool, as_json: bool) -> None:
    """Prints the differences with intervals, and whether runs of this size can be told apart."""
    from safemt.cli.printing import print_json, stdout
    from safemt.report.compare import compare_json, compare_runs
    from safemt.report.result_tables import print_comparison
    from safemt.report.results import results_of

    compared = compare_runs([(run.name or str(run), results_of(run)) for run in runs], force=force)
    if as_json:
        print_json(compare_json(compared))
    else:
        print_comparison(compared, stdout())
