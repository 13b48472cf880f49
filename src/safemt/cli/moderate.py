"""`safemt moderate`: verdicts on dialogues."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safemt.cli.command import Argument, command
from safemt.cli.moderators import DECISION, DETECTOR, ModerationConfig, open_alone
from safemt.cli.options import Setting

if TYPE_CHECKING:
    from safemt.moderation.reading.dialogues import BadRow, Dialogue


@command(
    "moderator.name", *DECISION, *DETECTOR, "every_turn", "limits.concurrency", "budget.prices",
    Setting("jsonl", "Print one JSON verdict per line, also on a terminal.", bool),
    config=ModerationConfig,
    arguments=[
        Argument(
            "source", "Dialogues: JSONL, a JSON array or one object, also .gz. - reads standard input.",
            metavar="FILE|-", type=click.STRING,
        )
    ],
    examples=(
        "safemt moderate dialogues.jsonl",
        "safemt moderate - --jsonl --moderator llm:openai/MODEL < dialogues.jsonl",
    ),
)  # fmt: skip
def moderate(config: ModerationConfig, source: str, *, every_turn: bool, jsonl: bool) -> int | None:
    """Rows are those of a benchmark, chat requests with `messages`, or objects with `id` and `turns`.

    The exit code is 1 if a row could not be moderated.
    """
    from safemt.cli.moderation_output import Totals, print_for_people, print_json_line, print_totals
    from safemt.cli.printing import stderr, stdout
    from safemt.core.errors import ModeratorError, RunStopped
    from safemt.endpoints.prices import read_prices
    from safemt.moderation.many import moderate_many

    prices, at_once = read_prices(config.budget.prices), config.limits.concurrency
    moderator = open_alone(config.moderator, at_once)
    as_jsonl = jsonl or not sys.stdout.isatty()
    console, totals = stdout(), Totals()
    every_turn = every_turn or not moderator.detector.endpoints
    try:
        for outcome in moderate_many(moderator, _dialogues(source), at_once=at_once, every_turn=every_turn):
            totals.count(outcome)
            if as_jsonl:
                print_json_line(outcome)
            else:
                print_for_people(outcome, console)
    except BrokenPipeError:
        # The reader of the verdicts has left, so what Python flushes at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RunStopped as stopped:
        raise ModeratorError(
            "moderation_stopped", f"{stopped} What was not printed was not moderated."
        ) from stopped
    print_totals(totals, moderator, prices, stderr())
    return 1 if totals.bad else None


def _dialogues(source: str) -> "Iterable[Dialogue | BadRow]":
    from safemt.moderation.reading.dialogues import read_dialogues

    if source != "-":
        return read_dialogues(Path(source))
    # A reader of its own: if another thread waited in sys.stdin, the process could not end.
    return read_dialogues(open(0, "rb", closefd=False))
