"""`safemt score`: the figures of a run."""

from pathlib import Path

from safemt.cli.command import Argument, command
from safemt.cli.options import Panel, Setting


@command(
    Setting("target", "Model to score, if a folder holds labels of several.", str),
    Setting(
        "people", "JSONL of labels by people on a random part of the run, to combine with the judge's.",
        Path, panel=Panel.JUDGE,
    ),
    Setting("compat", "Use the published computation exactly.", bool),
    "as_json",
    arguments=[Argument("run", "A run directory, or a folder of label files in the published layout.")],
    examples=("safemt score runs/first", "safemt score runs/first --compat --json"),
)  # fmt: skip
def score(run: Path, *, compat: bool, target: str | None, people: Path | None, as_json: bool) -> None:
    """Every figure has a 95 % interval, clustered by query."""
    from safemt.benchmark.recorded import read_recorded
    from safemt.cli.printing import print_json, stdout
    from safemt.report.result_tables import print_results
    from safemt.report.results import results_json, results_of

    by_people = [] if people is None else read_recorded(people, field="label")
    results = results_of(
        run, target=target, people=[(row.query_id, row.turns, row.value) for row in by_people]
    )
    if as_json:
        print_json(results_json(results, compat=compat))
    else:
        print_results(results, stdout(), compat=compat)
