"""`safemt moderator`: what moderators are worth, and thresholds for one's own traffic."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safemt.cli import app
from safemt.cli.options import (
    AsJson,
    Concurrency,
    ModeratorApiKeyEnv,
    ModeratorBand,
    ModeratorBaseUrl,
    ModeratorMaxOutputTokens,
    ModeratorName,
    ModeratorTemperature,
    ModeratorTemplate,
    ModeratorWithPictures,
    read_band,
    read_temperature,
)

if TYPE_CHECKING:
    from safemt.moderation.measuring.evaluate import Moderated
    from safemt.moderation.measuring.kept import VerdictLog
    from safemt.moderation.measuring.labelled import LabelledData
    from safemt.moderation.moderator import Moderator
    from safemt.moderation.open import DetectorOptions

moderator_app = typer.Typer(
    name="moderator", help="What moderators are worth, and thresholds for them.", no_args_is_help=True
)
app.add_typer(moderator_app)

Data = Annotated[
    list[Path],
    typer.Option(
        "--data",
        help="Labelled dialogues, as a file or a folder with dialogues.jsonl or samples.jsonl; may be given "
        "several times.",
    ),
]
EveryTurn = Annotated[
    bool, typer.Option("--every-turn", help="Ask an endpoint after each user turn, not once for a dialogue.")
]
CallTimeout = Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds for one call.")]


@moderator_app.command("eval")
def evaluate_moderators(
    data: Data,
    moderator: Annotated[
        list[str] | None,
        typer.Option(
            "--moderator",
            help="embedded, llm:openai/MODEL, cascade:FIRST,SECOND, guard/NAME, or a baseline such as "
            "keyword. Of several the first is compared with each other.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for evaluation.html, evaluation.json and the verdicts, which are kept.",
        ),
    ] = None,
    thresholds: Annotated[
        list[Path] | None,
        typer.Option(help="Thresholds that safemt moderator calibrate wrote for one of the moderators."),
    ] = None,
    moderator_base_url: ModeratorBaseUrl = None,
    moderator_api_key_env: ModeratorApiKeyEnv = None,
    template: ModeratorTemplate = None,
    with_pictures: ModeratorWithPictures = False,
    band: ModeratorBand = None,
    moderator_temperature: ModeratorTemperature = "0",
    moderator_max_output_tokens: ModeratorMaxOutputTokens = None,
    every_turn: EveryTurn = False,
    concurrency: Concurrency = 8,
    timeout: CallTimeout = 30.0,
    as_json: AsJson = False,
) -> None:
    """Measure moderators on dialogues of known intent.

    Harmful against benign dialogues; borderline ones are a set of their own. The same command goes on where
    it was stopped, if there is an --out.

    Exit code 1 if no moderator gave any dialogue a risk.
    """
    from safemt.cli.printing import print_json, stderr, stdout
    from safemt.moderation.measuring.evaluate import time_long_dialogues
    from safemt.moderation.measuring.kept import VerdictLog
    from safemt.moderation.measuring.labelled import read_labelled
    from safemt.moderation.open import DetectorOptions
    from safemt.report.moderator.document import evaluation_json
    from safemt.report.moderator.evaluation import evaluate
    from safemt.report.moderator.tables import print_evaluation
    from safemt.report.moderator.write import write_evaluation

    options = DetectorOptions(
        base_url=moderator_base_url, api_key_env=moderator_api_key_env, template=template,
        with_pictures=with_pictures, band=read_band(band), timeout=timeout,
        temperature=read_temperature(moderator_temperature, "--moderator-temperature"),
        max_output_tokens=moderator_max_output_tokens,
    )  # fmt: skip
    opened = _open_all(moderator or ["embedded"], options, concurrency)
    opened = _with_thresholds(opened, thresholds or [])
    read = read_labelled(data)
    with VerdictLog(out / "verdicts.jsonl" if out else None) as log:
        moderated = [
            (
                _moderate(each, read, log, every_turn=every_turn, concurrency=concurrency),
                time_long_dialogues(each, read.dialogues),
            )
            for each in opened
        ]
    evaluation = evaluate(read, moderated)
    if as_json:
        print_json(evaluation_json(evaluation))
    else:
        print_evaluation(evaluation, stdout())
    if out is not None:
        for path in write_evaluation(evaluation, out, command=shlex.join(["safemt", *sys.argv[1:]])):
            (stderr() if as_json else stdout()).print(
                f"Written: {path}", highlight=False, markup=False, soft_wrap=True
            )
    if not any(figures.data.risk.size for figures in evaluation.moderators):
        raise typer.Exit(1)


@moderator_app.command("calibrate")
def calibrate_moderator(
    data: Data,
    moderator: ModeratorName = "embedded",
    fpr: Annotated[float, typer.Option(help="The share of benign dialogues that may raise an alarm.")] = 0.01,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("thresholds.json"),
    verdicts: Annotated[
        Path | None,
        typer.Option(help="Verdicts kept by safemt moderator eval (verdicts.jsonl), used and added to."),
    ] = None,
    moderator_base_url: ModeratorBaseUrl = None,
    moderator_api_key_env: ModeratorApiKeyEnv = None,
    template: ModeratorTemplate = None,
    with_pictures: ModeratorWithPictures = False,
    band: ModeratorBand = None,
    moderator_temperature: ModeratorTemperature = "0",
    moderator_max_output_tokens: ModeratorMaxOutputTokens = None,
    every_turn: EveryTurn = False,
    concurrency: Concurrency = 8,
    timeout: CallTimeout = 30.0,
    as_json: AsJson = False,
) -> None:
    """Choose a threshold that keeps false alarms rare on your own traffic.

    The data must hold benign dialogues like those to come; harmful ones only show what is still found.
    """
    from safemt.cli.printing import print_json, stdout
    from safemt.moderation.measuring.kept import VerdictLog
    from safemt.moderation.measuring.labelled import read_labelled
    from safemt.moderation.measuring.thresholds import write_threshold
    from safemt.moderation.open import DetectorOptions
    from safemt.report.moderator.calibration import calibrate, calibration_json, print_calibration
    from safemt.stats.thresholds import require_rate

    require_rate(fpr)
    options = DetectorOptions(
        base_url=moderator_base_url, api_key_env=moderator_api_key_env, template=template,
        with_pictures=with_pictures, band=read_band(band), timeout=timeout,
        temperature=read_temperature(moderator_temperature, "--moderator-temperature"),
        max_output_tokens=moderator_max_output_tokens,
    )  # fmt: skip
    (opened,) = _open_all([moderator], options, concurrency)
    read = read_labelled(data)
    with VerdictLog(verdicts) as log:
        moderated = _moderate(opened, read, log, every_turn=every_turn, concurrency=concurrency)
    calibration = calibrate(moderated, read, fpr)
    document = calibration_json(calibration)
    write_threshold(out, document)
    if as_json:
        print_json(document)
    else:
        print_calibration(calibration, stdout())
        stdout().print(
            f"Written: {out}; use it with --thresholds {out}", highlight=False, markup=False, soft_wrap=True
        )


def _open_all(names: Sequence[str], options: "DetectorOptions", concurrency: int) -> "list[Moderator]":
    """The moderators, each with those of the options that are for its kind.

    Raises:
        UsageError: a moderator is not known or named twice, or an option is for none of them.
    """
    from safemt.core.errors import UsageError
    from safemt.endpoints.asking import LimitedAsk
    from safemt.moderation.open import DetectorOptions, open_moderator

    if len(set(names)) < len(names):
        raise UsageError("A moderator is named twice; name each once.")
    # Alone, a moderator says itself what does not fit it.
    fitting = [options] if len(names) == 1 else [_fitting(name, options) for name in names]
    for field in ("base_url", "api_key_env", "template", "with_pictures", "band"):
        plain = getattr(DetectorOptions(), field)
        if getattr(options, field) != plain and all(getattr(each, field) == plain for each in fitting):
            raise UsageError(f"--{_OPTIONS[field]} is for none of these moderators: {', '.join(names)}.")
    return [
        open_moderator(name, options=each, ask=LimitedAsk(concurrency, role="moderator"))
        for name, each in zip(names, fitting, strict=True)
    ]


_OPTIONS = {
    "base_url": "moderator-base-url",
    "api_key_env": "moderator-api-key-env",
    "template": "template",
    "with_pictures": "with-pictures",
    "band": "band",
}


def _fitting(name: str, options: "DetectorOptions") -> "DetectorOptions":
    if not name.startswith(("llm:", "guard/", "cascade:")):
        return replace(
            options, base_url=None, api_key_env=None, template=None, with_pictures=False, band=None
        )
    if "llm:" not in name:
        options = replace(options, template=None, with_pictures=False)
    return options if name.startswith("cascade:") else replace(options, band=None)


def _with_thresholds(opened: "Sequence[Moderator]", paths: Sequence[Path]) -> "list[Moderator]":
    """The moderators, with the thresholds of those that a file is for.

    Raises:
        ModeratorError: a file cannot be read, or is for none of them.
    """
    from safemt.moderation.measuring.kept import detector_id
    from safemt.moderation.measuring.thresholds import read_thresholds, threshold_for

    changed = {detector_id(each.detector): each for each in opened}
    for path in paths:
        read = read_thresholds(path)
        moderator = changed.get(read.moderator.identity, opened[0])
        threshold = threshold_for(moderator.detector, read, path)
        changed[read.moderator.identity] = replace(moderator, threshold=threshold)
    return list(changed.values())


def _moderate(
    moderator: "Moderator", data: "LabelledData", log: "VerdictLog", *, every_turn: bool, concurrency: int
) -> "Moderated":
    """Have it read the dialogues, with a bar on a terminal.

    Raises:
        RunStopped: an endpoint was given up.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from safemt.cli.printing import stderr
    from safemt.core.errors import ModeratorError, RunStopped
    from safemt.moderation.measuring.evaluate import moderate_all

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(moderator.name, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        try:
            return moderate_all(
                moderator,
                data.dialogues,
                log,
                every_turn=every_turn,
                at_once=concurrency,
                on_progress=on_progress,
            )
        except RunStopped as stopped:
            if log.kept_in_file:
                raise
            raise ModeratorError(f"{stopped} Nothing was kept: with --out the next try goes on.") from stopped
