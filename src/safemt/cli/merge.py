"""`safemt merge`: join the shards of a run."""

import sys
from pathlib import Path

from safemt.cli.command import Argument, command
from safemt.cli.options import option


@command(
    option("out", "The new run directory.", required=True),
    "as_json",
    arguments=[Argument("runs", "Run directories, made with `safemt run --shards N/M`.", nargs=-1)],
    examples=(
        "safemt merge shard-1 shard-2 --out runs/whole",
        "safemt merge shard-* --out runs/whole --json",
    ),
)
def merge(runs: tuple[Path, ...], *, out: Path, as_json: bool) -> int | None:
    """The result holds what one process would have written.

    Shards that contradict each other are refused.
    """
    from safemt.cli.printing import finish_run, stderr
    from safemt.run.spread.merge import merge_runs

    merged = merge_runs(runs, out, command=["safemt", *sys.argv[1:]])
    console = stderr()
    console.print(
        f"{len(runs)} runs with {merged.samples:,} of {merged.planned:,} samples → {out}", highlight=False
    )
    if merged.missing:
        console.print(
            f"Missing: shard {', '.join(merged.missing)}. Merge again with these, into another --out.",
            highlight=False,
        )
    elif merged.unfinished:
        console.print(
            f"{merged.unfinished:,} samples are unfinished. To finish them, run the command of a shard with "
            f"--out {out} and without --shards.",
            highlight=False,
        )
    return finish_run(out, as_json=as_json)
