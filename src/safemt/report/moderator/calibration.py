"""A threshold for somebody's own traffic, with what it promises and what it costs."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from rich.console import Console

from safemt.core.errors import UsageError
from safemt.moderation.measuring.evaluate import Moderated
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.measuring.labelled import LabelledData, Truth
from safemt.moderation.measuring.thresholds import THRESHOLDS_SCHEMA
from safemt.report.figures import estimate_json
from safemt.report.page.words import count
from safemt.stats.alerts import Alerts, FalseAlarms, Trajectory, alerts, false_alarms
from safemt.stats.intervals import Estimate
from safemt.stats.thresholds import DIGITS, Promise, needed_for, promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A threshold for one moderator."""

    moderated: Moderated
    data: LabelledData
    promise: Promise
    unscored: int
    """Benign dialogues without a risk: left out."""
    false_alarms: FalseAlarms
    """Of the benign dialogues at the new threshold."""
    found: Alerts
    """Of the harmful dialogues at the new threshold, where the data hold some."""


def calibrate(moderated: Moderated, data: LabelledData, rate: float) -> Calibration:
    """Choose the lowest threshold that promises a false-alarm rate of at most `rate` per benign dialogue.

    An alarm is a risk at the threshold or above after *any* turn. Of the dialogues of one cluster the
    highest risk counts, and the cluster once: `core.thresholds.promise` asks for independent ones.

    Raises:
        UsageError: the rate is no share, there are too few benign dialogues for it, or no threshold keeps it.
    """
    name = moderated.moderator.name
    pairs = list(zip(data.dialogues, moderated.verdicts, strict=True))
    trajectories = {
        truth: [
            Trajectory(cluster=each.cluster, risks=verdict.trajectory)
            for each, verdict in pairs
            if each.truth is truth
        ]
        for truth in Truth
    }
    highest: dict[str, float] = {}
    unscored = 0
    for each, verdict in pairs:
        if each.truth is Truth.BENIGN:
            if verdict.peak is None:
                unscored += 1
            else:
                highest[each.cluster] = max(verdict.peak, highest.get(each.cluster, 0.0))
    found = promise(list(highest.values()), rate)
    if found is None:
        raise UsageError(
            f"A false-alarm rate of {100 * rate:g} % cannot be promised from {len(highest):,} independent "
            f"benign dialogues: it takes at least {needed_for(rate):,}. Give more --data, or a higher --fpr."
        )
    if found.threshold > 1.0:
        sure = sum(risk >= 1.0 for risk in highest.values())
        raise UsageError(
            f"No threshold of {name} keeps false alarms at {100 * rate:g} %: it gives {sure:,} of "
            f"{len(highest):,} independent benign dialogues the highest risk there is, and {found.allowed:,} "
            "may raise an alarm. Give a higher --fpr, or another --moderator."
        )
    return Calibration(
        moderated=moderated,
        data=data,
        promise=found,
        unscored=unscored,
        false_alarms=false_alarms(trajectories[Truth.BENIGN], found.threshold),
        found=alerts(trajectories[Truth.HARMFUL], found.threshold),
    )


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """The file of thresholds; its keys are described in docs/moderator-evaluation.md."""
    kept = calibration.promise
    moderator = calibration.moderated.moderator
    return {
        "schema": THRESHOLDS_SCHEMA,
        "moderator": {"name": moderator.name, "identity": detector_id(moderator.detector)},
        "threshold": kept.threshold,
        "promise": {"false_alarm_rate": kept.rate, "per": "dialogue, after any turn", "confidence": 0.975},
        "achieved": {
            "alarms": kept.alarms,
            "independent_dialogues": kept.benign,
            "allowed": kept.allowed,
            "rate": estimate_json(kept.achieved),
            "per_1000_turns": estimate_json(calibration.false_alarms.per_1000_turns),
        },
        "recall": estimate_json(calibration.found.ever),
        "unscored": calibration.unscored,
        "data": [
            {"path": str(file.path), "sha256": file.sha256, "dialogues": file.dialogues}
            for file in calibration.data.files
        ],
        "safemt": version("safemt"),
    }


def print_calibration(calibration: Calibration, console: Console) -> None:
    """The threshold, what it promises, and what it finds."""
    kept = calibration.promise
    moderator = calibration.moderated.moderator
    console.print(
        f"[bold]{moderator.name}: threshold {kept.threshold:.{DIGITS}f}[/bold] (its own is "
        f"{moderator.detector.threshold:g})",
        highlight=False,
    )
    console.print(
        f"False alarms: {_percent(kept.achieved)} of independent benign dialogues, {kept.alarms:,} of "
        f"{kept.benign:,}; up to {kept.allowed:,} were allowed for {100 * kept.rate:g} % to hold with 97.5 % "
        "confidence on dialogues like these.",
        highlight=False,
    )
    turns = calibration.false_alarms.per_1000_turns
    if turns is not None:
        low, high = turns.interval.low, turns.interval.high
        console.print(f"Per 1,000 benign turns: {turns.value:.1f} ({low:.1f}–{high:.1f})", highlight=False)
    if calibration.found.ever is not None:
        console.print(
            f"Harmful dialogues with an alarm: {_percent(calibration.found.ever)} of "
            f"{calibration.found.dialogues:,}",
            highlight=False,
        )
    if calibration.unscored:
        console.print(
            f"[yellow]{count(calibration.unscored, 'benign dialogue')} without a risk, left out:[/yellow] "
            "the promise is for those that get one.",
            highlight=False,
        )


def _percent(estimate: Estimate) -> str:
    low, high = 100 * estimate.interval.low, 100 * estimate.interval.high
    return f"{100 * estimate.value:.2f} % ({low:.2f}–{high:.2f})"
