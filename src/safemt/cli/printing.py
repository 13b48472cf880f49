"""Where the command's output goes: figures to stdout, everything else to stderr."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console


def stdout() -> Console:
    """The console for results. A name such as `a:bug:b` is shown as it stands."""
    return Console(emoji=False)


class _Remarks(Console):
    """Falls silent when its reader has gone (`2>&1 | tee`, and Ctrl-C), rather than end the command."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def stderr() -> Console:
    """The console for progress and remarks."""
    # Without emoji also because their table, loaded while the samples are in memory, would lie among them and
    # keep that memory from being given back.
    return _Remarks(stderr=True, emoji=False)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False), flush=True)


def finish_run(folder: Path, *, as_json: bool) -> None:
    """Write the results of the run in `folder`, and print them; exit code 1 if nothing was graded."""
    # Not before: a run makes its first call sooner without the statistics.
    from safemt.report.export import json_bytes, write_whole
    from safemt.report.result_tables import print_results
    from safemt.report.results import results_json, results_of

    results = results_of(folder)
    document = results_json(results)
    path = folder / "results.json"
    write_whole(path, json_bytes(document))
    if as_json:
        print_json(document)
    else:
        print_results(results, stdout())
        stdout().print(f"Results: {path}", highlight=False, markup=False, soft_wrap=True)
    if not results.overall.graded:
        raise typer.Exit(1)
