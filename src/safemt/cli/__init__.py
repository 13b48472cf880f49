"""The `safemt` command: parse, call, print. The work is done elsewhere."""

import gc
import io
import sys

import click

from safemt.cli.command import LazyGroup
from safemt.core.errors import SafemtError

_GC_THRESHOLDS = (20_000, 20, 50)
"""How many new objects start a garbage collection. Python's own figures cost a seventh of a run's time, and
find little, since next to nothing of ours refers to itself."""


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"safemt {version('safemt')}")
        ctx.exit()


app = LazyGroup(
    {
        "Evaluate": ("demo", "check", "estimate", "run", "merge"),
        "Look": ("status", "score", "compare", "report"),
        "Judge": ("judge", "judge-check"),
        "Moderate": ("moderate", "moderator", "policy"),
        "Build": ("build", "examples"),
    },
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
        sys.exit(130)
    except OSError as error:
        # Commands report their own files by name; this is mostly the disk behind their output.
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
