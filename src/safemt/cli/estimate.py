"""`safemt estimate`: what a run will cost."""

from pathlib import Path

from safemt.cli.command import command, paths_of
from safemt.cli.options import option
from safemt.run.config import RunConfig


@command(
    "config", *paths_of(RunConfig),
    option("out", "Run directory. What it holds already is not counted."),
    "as_json",
    config=RunConfig,
    examples=(
        "safemt estimate --benchmark demo --target openai/MODEL --judge openai/JUDGE",
        "safemt estimate --config run.yaml --out runs/first --json",
    ),
)  # fmt: skip
def estimate(config: RunConfig, *, out: Path | None, as_json: bool) -> None:
    """Takes the options of `safemt run` and needs no key. The calls of a moderator are not counted."""
    from safemt.cli.printing import print_json, stdout
    from safemt.report.estimate import estimate_json, print_estimate
    from safemt.run.estimate import estimate_run

    result = estimate_run(config, out)
    if as_json:
        print_json(estimate_json(result))
    else:
        print_estimate(result, stdout())
