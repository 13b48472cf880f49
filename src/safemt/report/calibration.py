"""A threshold for your own traffic: what it promises, and what it costs."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from safemt.core.errors import UsageError
from safemt.moderation.measuring.evaluate import Moderated
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.measuring.labelled import LabelledData, Truth
from safemt.moderation.measuring.thresholds import THRESHOLDS_SCHEMA
from safemt.report.document import document
from safemt.report.table import say
from safemt.report.text import count, in_words, number, share
from safemt.report.text import rate as rate_text
from safemt.stats.alerts import Alerts, FalseAlarms, Trajectory, alerts, false_alarms
from safemt.stats.thresholds import DIGITS, Promise, needed_for, promise

if TYPE_CHECKING:
    from rich.console import Console


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

    An alarm is a risk at the threshold or above after *any* turn. A cluster of dialogues counts once, with
    its highest risk, since `stats.thresholds.promise` asks for independent ones.

    Raises:
        UsageError: the rate is no share, there are too few benign dialogues for it, or no threshold keeps it.
    """
    trajectories = {
        truth: [
            Trajectory(cluster=each.cluster, risks=verdict.trajectory)
            for each, verdict in zip(data.dialogues, moderated.verdicts, strict=True)
            if each.truth is truth
        ]
        for truth in Truth
    }
    highest: dict[str, float] = {}
    unscored = 0
    for each, verdict in zip(data.dialogues, moderated.verdicts, strict=True):
        if each.truth is Truth.BENIGN:
            if verdict.peak is None:
                unscored += 1
            else:
                highest[each.cluster] = max(verdict.peak, highest.get(each.cluster, 0.0))
    found = _promised(list(highest.values()), rate, moderated.moderator.name)
    return Calibration(
        moderated=moderated,
        data=data,
        promise=found,
        unscored=unscored,
        false_alarms=false_alarms(trajectories[Truth.BENIGN], found.threshold),
        found=alerts(trajectories[Truth.HARMFUL], found.threshold),
    )


def calibration_json(calibration: Calibration) -> dict[str, Any]:
    """The file of thresholds, described in docs/moderator-evaluation.md."""
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
            "rate": document(kept.achieved),
            "per_1000_turns": document(calibration.false_alarms.per_1000_turns),
        },
        "recall": document(calibration.found.ever),
        "unscored": calibration.unscored,
        "data": document(calibration.data.files),
        "safemt": version("safemt"),
    }


def print_calibration(calibration: Calibration, console: "Console") -> None:
    """Print the threshold, what it promises, and what it still finds."""
    kept, found = calibration.promise, calibration.found
    moderator = calibration.moderated.moderator
    own = f"its own is {moderator.detector.threshold:g}"
    say(console, f"{moderator.name}: threshold {kept.threshold:.{DIGITS}f} ({own})", "bold")
    say(
        console,
        f"False alarms: {share(kept.achieved)} of independent benign dialogues, {kept.alarms:,} of "
        f"{kept.benign:,}. Up to {kept.allowed:,} were allowed, so that {rate_text(kept.rate)} holds with "
        "97.5 % confidence on dialogues like these.",
    )
    if (turns := calibration.false_alarms.per_1000_turns) is not None:
        said = in_words(turns, lambda value: number(value, 1))
        say(console, f"False alarms per 1,000 benign turns: {said}")
    if found.ever is not None:
        say(console, f"Harmful dialogues with an alarm: {share(found.ever)} of {found.dialogues:,}")
    if calibration.unscored:
        left_out = count(calibration.unscored, "benign dialogue")
        say(
            console,
            f"Left out without a risk: {left_out}. The promise is for dialogues that get one.",
            "yellow",
        )


def _promised(highest: list[float], rate: float, name: str) -> Promise:
    found = promise(highest, rate)
    if found is None:
        needed = needed_for(rate)
        raise UsageError(
            "too_few_benign",
            f"A false-alarm rate of {rate_text(rate)} cannot be promised from {len(highest):,} independent "
            f"benign dialogues: it takes at least {needed:,}. Give more data or a higher rate.",
            rate=rate,
            benign=len(highest),
            needed=needed,
        )
    if found.threshold > 1.0:
        sure = sum(risk >= 1.0 for risk in highest)
        raise UsageError(
            "no_threshold",
            f"No threshold of {name} keeps false alarms at {rate_text(rate)}: it gives {sure:,} of "
            f"{len(highest):,} independent benign dialogues the highest risk there is, and only "
            f"{found.allowed:,} may raise an alarm. Give a higher rate, or use another moderator.",
            moderator=name,
            rate=rate,
            sure=sure,
            benign=len(highest),
        )
    return found
