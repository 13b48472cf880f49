"""`safemt status`: the progress of a run."""

import time
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from safemt.cli.command import Argument, command
from safemt.cli.options import Setting, option


@command(
    Setting(
        "watch", "Print the status again every so many seconds, until the run ends.",
        Annotated[float, Meta(ge=0.2)], metavar="SECONDS",
    ),
    option("budget.prices", "YAML file of prices, instead of those that the run recorded.", kind=Path),
    "as_json",
    arguments=[Argument("run", "A run directory. The run may be in progress.")],
    examples=("safemt status runs/first", "safemt status runs/first --watch 5"),
)  # fmt: skip
def status(run: Path, *, watch: float | None, budget_prices: Path | None, as_json: bool) -> None:
    """Prints the samples done and left, the rate, the time left, the spend, errors and limits.

    The run is not disturbed.
    """
    import json
    from contextlib import nullcontext

    from rich.live import Live
    from rich.text import Text

    from safemt.cli.errors import with_options
    from safemt.cli.printing import print_json, stdout
    from safemt.endpoints.prices import read_prices
    from safemt.report.status import status_json, status_lines
    from safemt.run.watch.status import State, Status, read_status

    def lines(now: Status) -> str:
        return with_options("\n".join(status_lines(now)))

    table = None if budget_prices is None else read_prices(budget_prices)
    now = read_status(run, prices=table)
    if watch is None:
        if as_json:
            print_json(status_json(now))
        else:
            print(lines(now))
        return
    console = stdout()
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not as_json else None
    with live or nullcontext():
        while True:
            if live is not None:
                live.update(Text(lines(now)), refresh=True)
            elif as_json:
                print(json.dumps(status_json(now), ensure_ascii=False), flush=True)
            else:
                print(f"{lines(now)}\n", flush=True)
            if now.state is not State.RUNNING:
                return
            time.sleep(watch)
            now = read_status(run, prices=table)
