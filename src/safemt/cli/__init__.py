"""The `safemt` command: parse, call, print. The work is done elsewhere."""

import gc
import io
import sys
from typing import Final

import click

from safemt.cli.groups import LazyGroup
from safemt.core.errors import SafemtError

_GC_THRESHOLDS = (20_000, 20, 50)
"""How many new objects start a garbage collection. Python's own figures cost a seventh of a run's time, and
find little, since next to nothing of ours refers to itself."""


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"safemt {version('safemt')}")
        ctx.exit()


_COMMANDS: Final = {
    "Evaluate": {
        "demo": "See safemt work, without a key or a network.",
        "check": "Validate a benchmark and summarise its contents.",
        "estimate": "Estimate the calls, tokens and cost of a run, without a call.",
        "run": "Evaluate a model on a benchmark.",
        "merge": "Join the shards of a run into one run.",
    },
    "Look": {
        "status": "Show the progress of a run.",
        "score": "Print the ASR and Safety Index of a run or of label files.",
        "compare": "Compare runs on the samples they share.",
        "report": "Write a report: a self-contained page, or its tables.",
        "export": "Write one row per sample, for a spreadsheet or pandas.",
    },
    "Judge": {
        "judge": "Judge the responses of a run again.",
        "judge-check": "Measure how well a judge agrees with labels by people.",
    },
    "Moderate": {
        "moderate": "Rate the risk of dialogues, and decide what to do.",
        "moderator": "Measure moderators, and choose thresholds for them.",
        "policy": "Show and test the policies that a moderator hands to a target.",
    },
    "Deploy": {
        "serve": "Put a moderator in front of a deployed model.",
        "monitor": "Show how a deployment's traffic and its moderation change over time.",
    },
    "Build": {
        "build": "Build a benchmark from harmful queries.",
        "examples": "Write small sample inputs for the other commands.",
    },
}
"""The commands by panel of the help, with their summaries. Each is in the module of its name."""


def summary_of(name: str) -> str:
    """The summary of a command; empty for a command within another."""
    return next((summaries[name] for summaries in _COMMANDS.values() if name in summaries), "")


app = LazyGroup(
    _COMMANDS,
    name="safemt",
    help="Measure how safe a multimodal chat model stays over a conversation, and what protects it.",
    params=[
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_show_version,
            help="Print the version, and exit.",
        )
    ],
)  # fmt: skip


def main() -> None:
    """Entry point. An error that safemt raises on purpose becomes one message and an exit code."""
    gc.set_threshold(*_GC_THRESHOLDS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or a file in an old encoding shows what it can, rather than ending the command.
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app.main(prog_name="safemt", standalone_mode=False) or 0)
    except SafemtError as error:
        from safemt.cli.errors import worded

        print(worded(error), file=sys.stderr)
        interrupted = error.code == "interrupted" or str(error) == "Interrupted."
        sys.exit(130 if interrupted else error.exit_code)
    except click.ClickException as error:
        print(f"Error: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        # An event loop that was interrupted while it was made complains when it is collected.
        sys.unraisablehook = lambda _: None
        sys.exit(130)
    except OSError as error:
        # Commands report their own files by name; this is mostly the disk behind their output.
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
