"""`safemt merge`: the shards of a run become one run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app
from safemt.cli.options import AsJson


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, made with run --shards N/M.")],
    out: Annotated[Path, typer.Option(help="The new run directory.")],
    as_json: AsJson = False,
) -> None:
    """Join the shards of a run into one run.

    It holds what one process would have written. What contradicts itself is refused.
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
            f"Missing: shard {', '.join(merged.missing)}. Merge again with the rest, into another --out.",
            highlight=False,
        )
    elif merged.unfinished:
        console.print(
            f"{merged.unfinished:,} samples are unfinished; the command of a shard, without --shards and "
            f"with --out {out}, goes on with them.",
            highlight=False,
        )
    finish_run(out, as_json=as_json)
