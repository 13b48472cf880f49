"""The `safemt` command: parse, call, print. What it does is done elsewhere."""

import gc
import io
import sys
from importlib import import_module

import typer

from safemt.core.errors import RunStopped, SafemtError

_COMMANDS = (
    "commands", "estimating", "watching", "merging", "comparing", "reporting", "judging", "build",
    "import_set", "moderate", "moderator", "policy",
)  # fmt: skip
"""Modules that register commands when they are imported; `--help` shows them in this order."""

_GC_THRESHOLDS = (20_000, 20, 50)
"""New objects before the youngest are searched for garbage, and so on: with Python's own figures that took a
seventh of a run, and it finds little, since next to nothing of ours refers to itself."""

app = typer.Typer(
    name="safemt",
    help="Multi-turn safety of multimodal language models: check a benchmark, run it, score it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help in colours takes as long to load as everything else together
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point. An error that safemt raises on purpose becomes one message and an exit code."""
    gc.set_threshold(*_GC_THRESHOLDS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or a file in an old encoding shows what it can, rather than ending the command.
            stream.reconfigure(errors="replace")
    try:
        for module in _COMMANDS:
            import_module(f"safemt.cli.{module}")
        app()
    except RunStopped as stopped:
        print(f"Stopped: {stopped}\nWhat was finished is stored; {stopped.way_on}.", file=sys.stderr)
        sys.exit(130 if str(stopped) == "Interrupted." else stopped.exit_code)
    except SafemtError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        # What a command itself reads and writes is reported by name; this is mostly its output's disk.
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
