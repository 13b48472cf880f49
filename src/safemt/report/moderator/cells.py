"""Figures of moderators in words: the rows of the table that sets them side by side."""

from collections.abc import Callable

from safemt.moderation.measuring.evaluate import EARLY, LATE
from safemt.report.moderator.figures import Counts, ModeratorFigures
from safemt.stats.comparison import Difference
from safemt.stats.detection_comparison import DetectionComparison
from safemt.stats.intervals import Estimate

Row = tuple[str, Callable[[ModeratorFigures], str]]
"""What a figure is called, and how it reads for one moderator."""


def figure_rows(like: ModeratorFigures) -> list[Row | None]:
    """The rows of the table; None divides. `like` is any of the moderators."""
    return [
        ("AUROC", lambda each: number_cell(each.ranking.auroc)),
        ("AUROC, highest risk of any turn", lambda each: number_cell(each.peak.auroc)),
        ("AUPRC", lambda each: number_cell(each.ranking.auprc)),
        *(
            (f"recall at {100 * recall.rate:g} % false alarms", _recall(at))
            for at, recall in enumerate(like.ranking.recalls)
        ),
        None,
        ("default threshold", lambda each: f"{each.threshold:g}"),
        ("F1", lambda each: percent_cell(each.at_default.f1)),
        ("precision", lambda each: percent_cell(each.at_default.precision)),
        ("recall", lambda each: percent_cell(each.at_default.recall)),
        ("false alarms, after the last turn", lambda each: percent_cell(each.at_default.false_alarm_rate)),
        ("false alarms, after any turn", lambda each: percent_cell(each.false_alarms.per_dialogue)),
        (
            "false alarms per 1,000 benign turns",
            lambda each: plain_cell(each.false_alarms.per_1000_turns, digits=1),
        ),
        (
            "alarms on borderline, after any turn",
            lambda each: percent_cell(each.borderline_alarms.per_dialogue),
        ),
        ("harmful alarmed, after any turn", lambda each: percent_cell(each.alerts.ever)),
        ("first alert, mean turn", lambda each: plain_cell(each.alerts.turn, digits=2)),
        ("first alert, mean turns before the last", lambda each: plain_cell(each.alerts.lead, digits=2)),
        ("alarmed before the last turn", lambda each: percent_cell(each.alerts.early)),
        None,
        ("calibration error", lambda each: number_cell(each.reliability.error)),
        ("Brier score", lambda each: number_cell(each.reliability.brier)),
        None,
        ("ms per verdict, p50", lambda each: _time(each.latency.quantiles[0])),
        ("ms per verdict, p95", lambda each: _time(each.latency.quantiles[1])),
        ("ms per verdict, p99", lambda each: _time(each.latency.quantiles[2])),
        (f"turn {LATE} against turn {EARLY}", lambda each: plain_cell(each.latency.ratio, digits=2)),
        ("tokens in / out", lambda each: f"{each.prompt_tokens:,} / {each.completion_tokens:,}"),
        None,
        ("dialogues without a risk", lambda each: _of(each, lambda counts: counts.unscored)),
        ("degraded verdicts", lambda each: _of(each, lambda counts: sum(counts.degraded.values()))),
    ]


def not_looked_at(counts: Counts) -> list[str]:
    """What of some dialogues nobody looked at, and why; empty where all was seen."""
    missed = {
        f"of {counts.turns_total:,} turns not read": counts.turns_total - counts.turns_scored,
        f"of {counts.images_total:,} pictures not looked at": counts.images_total - counts.images_scored,
    }
    said = [f"{count:,} {what}" for what, count in missed.items() if count]
    said += [f"{why} × {n:,}" for why, n in (*counts.unscanned.items(), *counts.degraded.items())]
    return said


def comparison_rows(comparison: DetectionComparison) -> list[tuple[str, Difference | None]]:
    """What was compared, and the differences."""
    recalls = zip(comparison.rates, comparison.recalls, strict=True)
    return [
        ("AUROC", comparison.auroc),
        *((f"recall at {100 * rate:g} % false alarms", each) for rate, each in recalls),
    ]


def percent_cell(estimate: Estimate | None) -> str:
    """`23.5 % (20.1–27.3)`."""
    if estimate is None:
        return "–"
    low, high = 100 * estimate.interval.low, 100 * estimate.interval.high
    return f"{100 * estimate.value:.1f} % ({low:.1f}–{high:.1f})"


def number_cell(estimate: Estimate | None) -> str:
    """`0.912 (0.880–0.935)`."""
    return plain_cell(estimate, digits=3)


def plain_cell(estimate: Estimate | None, *, digits: int) -> str:
    """A figure with its interval, to so many digits."""
    if estimate is None:
        return "–"
    interval = estimate.interval
    return f"{estimate.value:.{digits}f} ({interval.low:.{digits}f}–{interval.high:.{digits}f})"


def _recall(position: int) -> Callable[[ModeratorFigures], str]:
    def cell(figures: ModeratorFigures) -> str:
        return percent_cell(figures.ranking.recalls[position].estimate)

    return cell


def _of(figures: ModeratorFigures, count: Callable[[Counts], int]) -> str:
    whole = sum(counts.dialogues for counts in figures.counts.values())
    return f"{sum(count(counts) for counts in figures.counts.values()):,} of {whole:,}"


def _time(estimate: Estimate | None) -> str:
    """Three digits, however short it was."""
    if estimate is None:
        return "–"
    interval = estimate.interval
    return f"{estimate.value:.3g} ({interval.low:.3g}–{interval.high:.3g})"
