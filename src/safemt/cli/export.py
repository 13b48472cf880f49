"""`safemt export`: one row per sample of a run, for other programs."""

from pathlib import Path

from safemt.cli.command import Argument, command
from safemt.cli.options import Setting, option


@command(
    option("out", "File to write: .csv, .jsonl or .parquet.", short="-o", required=True),
    Setting("no_text", "Leave out questions and responses.", bool),
    arguments=[Argument("run", "A run directory.")],
    examples=(
        "safemt export runs/first -o samples.csv",
        "safemt export runs/first -o samples.parquet --no-text",
    ),
)  # fmt: skip
def export(run: Path, *, out: Path, no_text: bool) -> None:
    """Writes one row per sample: outcome, label by each judge, response, tokens, latency and verdict."""
    from safemt.cli.printing import stdout
    from safemt.report.export import write_samples
    from safemt.report.table import say

    say(stdout(), f"Samples: {write_samples(run, out, text=not no_text)}", wrap=False)
