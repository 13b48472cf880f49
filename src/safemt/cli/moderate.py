"""`safemt moderate`: what a moderator says of dialogues."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from safemt.cli import app
from safemt.cli.options import (
    ActionOption,
    Concurrency,
    ModeratorAction,
    ModeratorApiKeyEnv,
    ModeratorBand,
    ModeratorBaseUrl,
    ModeratorMaxOutputTokens,
    ModeratorName,
    ModeratorTemperature,
    ModeratorTemplate,
    ModeratorThreshold,
    ModeratorThresholds,
    ModeratorWithPictures,
    OnErrorOption,
    OnModeratorError,
    PolicyFolder,
    Prices,
    read_band,
    read_temperature,
)

if TYPE_CHECKING:
    from safemt.moderation.reading.dialogues import BadRow, Dialogue


@app.command()
def moderate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="Dialogues: JSONL, a JSON array or one object, also .gz; - is stdin."
        ),
    ],
    moderator: ModeratorName = "embedded",
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="One JSON verdict a line, also on a terminal.")
    ] = False,
    action: ModeratorAction = ActionOption.INJECT,
    on_moderator_error: OnModeratorError = OnErrorOption.INJECT,
    threshold: ModeratorThreshold = None,
    thresholds: ModeratorThresholds = None,
    policies: PolicyFolder = None,
    moderator_base_url: ModeratorBaseUrl = None,
    moderator_api_key_env: ModeratorApiKeyEnv = None,
    moderator_temperature: ModeratorTemperature = "0",
    moderator_max_output_tokens: ModeratorMaxOutputTokens = None,
    template: ModeratorTemplate = None,
    with_pictures: ModeratorWithPictures = False,
    band: ModeratorBand = None,
    every_turn: Annotated[
        bool,
        typer.Option("--every-turn", help="Ask an endpoint after each user turn, not once for a dialogue."),
    ] = False,
    concurrency: Concurrency = 8,
    timeout: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds for one call.")] = 30.0,
    prices: Prices = None,
) -> None:
    """Say how risky dialogues are, and what to do.

    Rows are those of a benchmark, chat requests with `messages`, or `id` and `turns`.

    Exit code 1 if a row could not be moderated.
    """
    from safemt.cli.moderation_output import Totals, print_for_people, print_json_line, print_totals
    from safemt.cli.printing import stderr, stdout
    from safemt.core.errors import ModeratorError, RunStopped
    from safemt.core.taxonomy import Action
    from safemt.endpoints.asking import LimitedAsk
    from safemt.endpoints.prices import read_prices
    from safemt.moderation.many import moderate_many
    from safemt.moderation.measuring.thresholds import with_thresholds
    from safemt.moderation.moderator import OnError
    from safemt.moderation.open import DetectorOptions, open_moderator

    options = DetectorOptions(
        base_url=moderator_base_url,
        api_key_env=moderator_api_key_env,
        template=template,
        with_pictures=with_pictures,
        band=read_band(band),
        temperature=read_temperature(moderator_temperature, "--moderator-temperature"),
        max_output_tokens=moderator_max_output_tokens,
        timeout=timeout,
    )
    table = read_prices(prices)
    opened = open_moderator(
        moderator,
        action=Action(action),
        on_error=OnError(on_moderator_error),
        threshold=threshold,
        policies=policies,
        options=options,
        ask=LimitedAsk(concurrency, role="moderator"),
    )
    opened = with_thresholds(opened, thresholds)
    as_jsonl = jsonl or not sys.stdout.isatty()
    console, totals = stdout(), Totals()
    local = not opened.detector.endpoints
    try:
        for outcome in moderate_many(
            opened, _dialogues(source), at_once=concurrency, every_turn=every_turn or local
        ):
            totals.count(outcome)
            if as_jsonl:
                print_json_line(outcome)
            else:
                print_for_people(outcome, console)
    except BrokenPipeError:
        # Whoever read the verdicts has left; what Python flushes at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except RunStopped as stopped:
        raise ModeratorError(f"{stopped} What was not printed was not moderated.") from stopped
    print_totals(totals, opened, table, stderr())
    if totals.bad:
        raise typer.Exit(1)


def _dialogues(source: str) -> "Iterable[Dialogue | BadRow]":
    from pathlib import Path

    from safemt.moderation.reading.dialogues import read_dialogues

    if source != "-":
        return read_dialogues(Path(source))
    # A reader of its own: one that waits in another thread would bar sys.stdin at the end of the process.
    return read_dialogues(open(0, "rb", closefd=False))
