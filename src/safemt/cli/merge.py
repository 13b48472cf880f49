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
    from safemt.cli.printing import finish_run, say, stderr
    from safemt.run.spread.merge import merge_runs

    merged = merge_runs(runs, out, command=["safemt", *sys.argv[1:]])
    console = stderr()
    say(console, f"{len(runs)} runs with {merged.samples:,} of {merged.planned:,} samples → {out}")
    if merged.missing:
        missing = ", ".join(merged.missing)
        say(console, f"Missing: shard {missing}. Merge again with these, into another --out.")
    elif merged.unfinished:
        say(
            console,
            f"{merged.unfinished:,} samples are unfinished. To finish them, run the command of a shard with "
            f"--out {out} and without --shards.",
        )
    return finish_run(out, as_json=as_json)
