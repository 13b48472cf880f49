"""The `safemt` command: parse, call, print. What it does is done elsewhere."""

import os
import sys

import typer

from safemt.core.errors import RunStopped, SafemtError

app = typer.Typer(
    name="safemt",
    help="Multi-turn safety of multimodal language models: check a benchmark, run it, score it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point. An error that safemt raises on purpose becomes one message and an exit code."""
    import safemt.cli.commands  # noqa: F401, registers them

    try:
        app()
    except RunStopped as stopped:
        print(
            f"Stopped: {stopped}\nWhat was finished is stored; the same command continues.", file=sys.stderr
        )
        sys.exit(130 if str(stopped) == "Interrupted." else stopped.exit_code)
    except SafemtError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
