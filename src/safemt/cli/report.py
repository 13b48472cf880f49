"""`safemt report`: runs as a page and as tables."""

from pathlib import Path

from safemt.cli.command import Argument, command
from safemt.cli.options import Setting, option


@command(
    option(
        "out",
        "A page (.html), or tables (.md, .csv, .parquet). May be repeated. [default: report.html]",
        short="-o", multiple=True,
    ),
    Setting("redact", "Leave out every question, dialogue, response and image.", bool),
    "force",
    arguments=[Argument("runs", "Run directories. The first is the baseline.", nargs=-1)],
    examples=(
        "safemt report runs/first -o report.html",
        "safemt report runs/first runs/second -o report.html -o figures.csv --redact",
    ),
)  # fmt: skip
def report(runs: tuple[Path, ...], *, out: tuple[Path, ...], redact: bool, force: bool) -> None:
    """The page needs no network. It hides texts behind a click, and --redact leaves them out."""
    from safemt.cli.printing import say, stdout
    from safemt.report.export import write_report

    for path in write_report(runs, out or [Path("report.html")], redact=redact, force=force):
        size = path.stat().st_size
        say(stdout(), f"Report: {path} ({size / 1e6:.1f} MB)")
