"""`safemt moderator`: measure moderators, and choose thresholds for one's own traffic."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from safemt.cli.command import command, group
from safemt.cli.moderators import DETECTOR, ModerationConfig, open_alone
from safemt.cli.options import Panel, Setting, option

if TYPE_CHECKING:
    from safemt.moderation.measuring.evaluate import Moderated
    from safemt.moderation.measuring.kept import VerdictLog
    from safemt.moderation.measuring.labelled import LabelledData
    from safemt.moderation.moderator import Moderator

_DATA: Final = Setting(
    "data",
    "Labelled dialogues: a file, or a folder with dialogues.jsonl or samples.jsonl. May be repeated.",
    Path, panel=Panel.SELECTION, required=True, multiple=True,
)  # fmt: skip


@command(
    _DATA,
    option(
        "moderator.name",
        "As for `safemt moderate`. May be repeated; the first is compared with the others.",
        multiple=True,
    ),
    *DETECTOR, "every_turn",
    option(
        "moderator.thresholds",
        "Threshold file that `safemt moderator calibrate` wrote for one of the moderators. May be repeated.",
        multiple=True,
    ),
    "limits.concurrency",
    option(
        "out", "Folder for evaluation.html, evaluation.json and the verdicts, which are kept.", short="-o"
    ),
    "as_json",
    name="eval",
    config=ModerationConfig,
    examples=(
        "safemt moderator eval --data labelled.jsonl --moderator embedded --moderator keyword",
        "safemt moderator eval --data labelled.jsonl --out evaluation",
    ),
)  # fmt: skip
def evaluate(
    config: ModerationConfig,
    *,
    data: tuple[Path, ...],
    moderator_name: tuple[str, ...],
    every_turn: bool,
    moderator_thresholds: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
) -> int | None:
    """Measure moderators on dialogues of known intent.

    Compares harmful with benign dialogues; borderline ones are a set of their own. With --out, the same
    command continues where it stopped.

    The exit code is 1 if no moderator gave any dialogue a risk.
    """
    from safemt.cli.printing import print_json, say, stderr, stdout
    from safemt.moderation.measuring.evaluate import time_long_dialogues
    from safemt.moderation.measuring.kept import VerdictLog
    from safemt.moderation.measuring.labelled import read_labelled
    from safemt.moderation.open import fit_all
    from safemt.report.export import write_evaluation
    from safemt.report.moderator_evaluation import evaluate as evaluation_of
    from safemt.report.moderator_evaluation import evaluation_json, print_evaluation

    at_once = config.limits.concurrency
    fitting = fit_all(config.moderator, moderator_name or [config.moderator.name])
    opened = _with_thresholds([open_alone(each, at_once) for each in fitting], moderator_thresholds)
    read = read_labelled(data)
    with VerdictLog(out / "verdicts.jsonl" if out else None) as log:
        moderated = [
            (
                _moderate(each, read, log, every_turn=every_turn, at_once=at_once),
                time_long_dialogues(each, read.dialogues),
            )
            for each in opened
        ]
    evaluation = evaluation_of(read, moderated)
    if as_json:
        print_json(evaluation_json(evaluation))
    else:
        print_evaluation(evaluation, stdout())
    if out is not None:
        for path in write_evaluation(evaluation, out, command=shlex.join(["safemt", *sys.argv[1:]])):
            say(stderr() if as_json else stdout(), f"Written: {path}")
    return None if any(figures.data.risk.size for figures in evaluation.moderators) else 1


@command(
    replace(_DATA, required=False),
    Setting(
        "audit",
        "Audit logs of `safemt serve`, in place of --data: the deployment's own traffic. May be repeated.",
        Path, panel=Panel.SELECTION, multiple=True,
    ),
    "moderator.name", *DETECTOR, "every_turn", "limits.concurrency",
    Setting("fpr", "Share of benign dialogues that may raise an alarm.", float, 0.01, metavar="RATE"),
    Setting(
        "verdicts",
        "Verdicts that `safemt moderator eval` kept (verdicts.jsonl), to use and to add to.",
        Path,
    ),
    option("out", "The file to write.", short="-o", default=Path("thresholds.json")),
    "as_json",
    config=ModerationConfig,
    examples=(
        "safemt moderator calibrate --data traffic.jsonl --fpr 0.01",
        "safemt moderator calibrate --audit audit.jsonl -o thresholds.json",
    ),
)  # fmt: skip
def calibrate(
    config: ModerationConfig,
    *,
    data: tuple[Path, ...],
    audit: tuple[Path, ...],
    every_turn: bool,
    fpr: float,
    verdicts: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Choose a threshold that keeps false alarms rare on your own traffic.

    The data must hold benign dialogues like those to come. Harmful ones only show what is still found. Audit
    logs are taken as benign: the threshold then flags at most that share of conversations.
    """
    from safemt.cli.printing import print_json, say, stdout
    from safemt.moderation.measuring.kept import VerdictLog
    from safemt.moderation.measuring.labelled import read_labelled
    from safemt.moderation.measuring.thresholds import write_threshold
    from safemt.report.calibration import calibrate as calibration_of
    from safemt.report.calibration import calibration_json, print_calibration
    from safemt.stats.thresholds import require_rate

    require_rate(fpr)
    if bool(data) == bool(audit):
        raise click.UsageError("Give labelled dialogues with --data, or audit logs with --audit.")
    if audit:
        _calibrate_on_audit(audit, fpr, out, as_json=as_json)
        return
    at_once = config.limits.concurrency
    moderator = open_alone(config.moderator, at_once)
    read = read_labelled(data)
    with VerdictLog(verdicts) as log:
        moderated = _moderate(moderator, read, log, every_turn=every_turn, at_once=at_once)
    calibration = calibration_of(moderated, read, fpr)
    document = calibration_json(calibration)
    write_threshold(out, document)
    if as_json:
        print_json(document)
    else:
        print_calibration(calibration, stdout())
        say(stdout(), f"Written: {out}. Use it with --moderator-thresholds {out}")


moderator = group("moderator", [evaluate, calibrate])


def _calibrate_on_audit(audit: Sequence[Path], fpr: float, out: Path, *, as_json: bool) -> None:
    from safemt.cli.printing import print_json, say, stdout
    from safemt.moderation.measuring.thresholds import write_threshold
    from safemt.serve.audit import read_audit
    from safemt.serve.calibrate import calibrate_on_audit

    document = calibrate_on_audit([record for path in audit for record in read_audit(path)], fpr)
    write_threshold(out, document)
    if as_json:
        print_json(document)
        return
    achieved = document["achieved"]
    say(
        stdout(),
        f"Threshold {document['threshold']:g}: flags {achieved['alarms']:,} of "
        f"{achieved['independent_dialogues']:,} conversations, at most {100 * fpr:g} % of those to come.",
    )
    say(stdout(), f"Written: {out}. Use it with --moderator-thresholds {out}")


def _with_thresholds(opened: "Sequence[Moderator]", paths: Sequence[Path]) -> "list[Moderator]":
    """The moderators, each with the threshold of the file for it, if there is one.

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
    moderator: "Moderator", data: "LabelledData", log: "VerdictLog", *, every_turn: bool, at_once: int
) -> "Moderated":
    """Let a moderator read the dialogues, with a progress bar on a terminal.

    Raises:
        RunStopped, ModeratorError: its endpoint was given up.
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
                at_once=at_once,
                on_progress=on_progress,
            )
        except RunStopped as stopped:
            if log.kept_in_file:
                raise
            raise ModeratorError(
                "evaluation_stopped",
                f"{stopped} Nothing was kept. With --out, the next try continues.",
            ) from stopped
