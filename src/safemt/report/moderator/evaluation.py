"""Several moderators on the same dialogues: the figures of each, and the first compared with the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from safemt.moderation.measuring.evaluate import LongTimes, Moderated
from safemt.moderation.measuring.labelled import LabelledData, LabelledDialogue, Truth
from safemt.report.figures import REPLICATES, SEED
from safemt.report.moderator.figures import ModeratorFigures, figures_of, risks_of
from safemt.stats.detection_comparison import DetectionComparison, compare_detection, correct_detection


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `safemt moderator eval` found."""

    data: LabelledData
    moderators: tuple[ModeratorFigures, ...]
    comparisons: tuple[DetectionComparison, ...]
    """The first with each other, in their order: `value` is the other's figure less the first's."""


def evaluate(data: LabelledData, moderated: Sequence[tuple[Moderated, LongTimes | None]]) -> Evaluation:
    """All figures; comparisons over dialogues that both moderators scored, corrected as one family (Holm)."""
    first, *others = (each for each, _ in moderated)
    return Evaluation(
        data=data,
        moderators=tuple(figures_of(each, data.dialogues, times) for each, times in moderated),
        comparisons=correct_detection([_compare(first, other, data.dialogues) for other in others]),
    )


def _compare(
    first: Moderated, second: Moderated, dialogues: Sequence[LabelledDialogue]
) -> DetectionComparison:
    shared = [
        (each, one, other)
        for each, one, other in zip(dialogues, first.verdicts, second.verdicts, strict=True)
        if each.truth is not Truth.BORDERLINE and one.risk is not None and other.risk is not None
    ]
    return compare_detection(
        risks_of([(each, one) for each, one, _ in shared]),
        risks_of([(each, other) for each, _, other in shared]),
        replicates=REPLICATES,
        seed=SEED,
    )
