"""`safemt status`: how far a run is."""

import time
from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app
from safemt.cli.options import AsJson, Prices


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="A run directory; the run may be going on.")],
    watch: Annotated[
        float | None, typer.Option(min=0.2, help="Say it again every so many seconds, until it ends.")
    ] = None,
    prices: Prices = None,
    as_json: AsJson = False,
) -> None:
    """Say how far a run is.

    Done, left, rate, time left, spend, errors and limits. The run is not disturbed.
    """
    import json
    from contextlib import nullcontext

    from rich.live import Live
    from rich.text import Text

    from safemt.cli.printing import print_json, stdout
    from safemt.endpoints.prices import read_prices
    from safemt.report.status import status_json, status_lines
    from safemt.run.watch.status import State, read_status

    table = None if prices is None else read_prices(prices)
    now = read_status(run, prices=table)
    if watch is None:
        if as_json:
            print_json(status_json(now))
        else:
            print("\n".join(status_lines(now)))
        return
    console = stdout()
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not as_json else None
    with live or nullcontext():
        while True:
            if live is not None:
                live.update(Text("\n".join(status_lines(now))), refresh=True)
            elif as_json:
                print(json.dumps(status_json(now), ensure_ascii=False), flush=True)
            else:
                print("\n".join([*status_lines(now), ""]), flush=True)
            if now.state is not State.RUNNING:
                return
            time.sleep(watch)
            now = read_status(run, prices=table)
