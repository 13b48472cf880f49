"""Options that several commands share, and how their texts are read."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safemt.core.errors import UsageError


class RoutingOption(StrEnum):
    """`--routing`."""

    SCENARIO = "scenario"
    GENERAL = "general"


class HistoryOption(StrEnum):
    """`--history`."""

    SCRIPTED = "scripted"
    LIVE = "live"


BenchmarkName = Annotated[
    str, typer.Option(help="A benchmark: folder, file, demo, or hub:OWNER/NAME[@REVISION].")
]
TargetName = Annotated[
    str, typer.Option(help="Model under test: openai/MODEL, replay/PATH, sim/steady|drifting|brittle.")
]
Turns = Annotated[str | None, typer.Option(help="Numbers of turns to run, such as 1,2,4. Default: all.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many queries, spread over the scenarios.")]
Seed = Annotated[int, typer.Option(help="Of the selection, the order and simulated targets.")]
HistoryName = Annotated[
    HistoryOption, typer.Option("--history", help="Assistant turns: as scripted, or the target's own.")
]
MaxOutputTokens = Annotated[int, typer.Option(min=1, help="Of the target's responses.")]
TextOnly = Annotated[bool, typer.Option("--text-only", help="Ask without images.")]
SkipMissingImages = Annotated[
    bool, typer.Option("--skip-missing-images", help="Leave out samples whose image is missing.")
]
TargetBaseUrl = Annotated[
    str | None, typer.Option(help="Any OpenAI-compatible server, such as http://localhost:8000/v1.")
]


class ActionOption(StrEnum):
    """`--action`."""

    INJECT = "inject"
    BLOCK = "block"


class OnErrorOption(StrEnum):
    """`--on-moderator-error`."""

    INJECT = "inject"
    OPEN = "open"
    CLOSED = "closed"


class PositionOption(StrEnum):
    """`--policy-position`."""

    SYSTEM = "system"
    LATE_SYSTEM = "late_system"
    USER_SUFFIX = "user_suffix"


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JudgeName = Annotated[
    str, typer.Option("--judge", help="openai/MODEL, refusal (offline, weak), recorded/PATH or panel:A,B,C.")
]
JudgeBaseUrl = Annotated[
    str | None, typer.Option(help="Any OpenAI-compatible server, such as http://localhost:8001/v1.")
]
JudgeApiKeyEnv = Annotated[
    str | None, typer.Option(help="Environment variable with the judge's key. Default: OPENAI_API_KEY.")
]
JudgeTemperature = Annotated[str, typer.Option(help="Of the judge; `default` leaves it to the endpoint.")]
JudgeMaxOutputTokens = Annotated[
    int, typer.Option(min=1, help="Of the judge's answers; a judge that thinks aloud needs more.")
]
JudgeWithImage = Annotated[bool, typer.Option("--judge-with-image", help="Show the judge the image too.")]
Routing = Annotated[RoutingOption, typer.Option(help="Rubric by scenario, or always the general one.")]
Concurrency = Annotated[int, typer.Option(min=1, max=2000, help="Most calls at once to one endpoint.")]
ModeratorName = Annotated[
    str,
    typer.Option(
        "--moderator",
        help="embedded, llm:openai/MODEL, cascade:FIRST,SECOND, guard/NAME, or a baseline such as keyword.",
    ),
]
ModeratorBaseUrl = Annotated[
    str | None, typer.Option(help="The server that has the moderator's model: http://localhost:8000/v1.")
]
ModeratorApiKeyEnv = Annotated[
    str | None,
    typer.Option(help="Environment variable with the moderator's key. Default: OPENAI_API_KEY."),
]
ModeratorTemperature = Annotated[
    str,
    typer.Option("--moderator-temperature", help="Of its model; `default` leaves it to the endpoint."),
]
ModeratorMaxOutputTokens = Annotated[
    int | None,
    typer.Option("--moderator-max-output-tokens", min=1, help="Of its answers, if it thinks first."),
]
ModeratorAction = Annotated[
    ActionOption, typer.Option(help="What becomes of a flagged dialogue: the policy is injected, or block.")
]
OnModeratorError = Annotated[
    OnErrorOption,
    typer.Option(help="Where the moderator fails: inject the baseline policy, open (allow), closed (block)."),
]
ModeratorThreshold = Annotated[
    float | None,
    typer.Option("--threshold", help="Risk from which on to flag. Default: the moderator's own."),
]
ModeratorThresholds = Annotated[
    Path | None,
    typer.Option(
        "--thresholds", help="A threshold that safemt moderator calibrate wrote for this moderator."
    ),
]
ModeratorTemplate = Annotated[
    str | None,
    typer.Option("--template", help="For llm: a guard template, such as qwen3guard or a YAML file of yours."),
]
ModeratorBand = Annotated[
    str | None,
    typer.Option("--band", help="For cascade: LOW,HIGH, the risks between which the second is asked."),
]
ModeratorWithPictures = Annotated[
    bool, typer.Option("--with-pictures", help="For llm: show the model the pictures.")
]
PolicyFolder = Annotated[
    Path | None, typer.Option("--policies", help="A folder of policies of your own, instead of ours.")
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        min=0, help="Stop when the run directory has cost so many US dollars, earlier runs counted."
    ),
]
MaxTokens = Annotated[
    int | None, typer.Option(min=0, help="Stop when it has used so many tokens, input and output together.")
]
Prices = Annotated[Path | None, typer.Option(help="YAML of prices, on top of the table that safemt has.")]
Timeout = Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds for one call.")]


def read_temperature(text: str, option: str) -> float | None:
    """A temperature, or None for `default`.

    Raises:
        UsageError: it is neither a number from 0 to 2 nor `default`.
    """
    if text == "default":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise UsageError(f"{option} takes a number from 0 to 2, or `default`, not {text!r}.")
    return value


def read_band(text: str | None) -> tuple[float, float] | None:
    """The two risks of `--band`.

    Raises:
        UsageError: they are not two numbers.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--band takes two risks with a comma, such as 0.2,0.8, not {text!r}.") from None
    return low, high
