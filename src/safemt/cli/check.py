"""`safemt check`: validate a benchmark."""

import click

from safemt.cli.command import Argument, command


@command(
    "as_json",
    arguments=[
        Argument(
            "benchmark", "A folder, a file, demo, or hub:OWNER/NAME[@REVISION].", type=click.STRING
        )
    ],
    examples=("safemt check demo", "safemt check path/to/SafeMT --json"),
)  # fmt: skip
def check(benchmark: str, *, as_json: bool) -> int | None:
    """The exit code is 1 if the benchmark has errors."""
    from safemt.benchmark.findings import errors_of
    from safemt.benchmark.named import read_named
    from safemt.cli.printing import print_json, stdout
    from safemt.report.check import check_json, print_check

    read = read_named(benchmark)
    if as_json:
        print_json(check_json(read))
    else:
        print_check(read, stdout())
    return 1 if errors_of(read.findings) else None
