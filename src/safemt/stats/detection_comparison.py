"""Two moderators on the same dialogues: does one detect harm better, and are there enough data to tell?

Every difference is the second moderator's figure minus the first's, over dialogues that both scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from safemt.core.errors import UsageError
from safemt.stats.clusters import cluster_bootstrap
from safemt.stats.comparison import Difference, judge_family, paired_difference
from safemt.stats.detection import (
    FALSE_ALARM_RATES,
    Scored,
    area_deviations,
    needed_benign,
    recalls_of,
)
from safemt.stats.metrics import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionComparison:
    """Two moderators compared; None where a class is missing or a false-alarm rate cannot be measured."""

    dialogues: int
    """Scored by both."""
    auroc: Difference | None
    rates: tuple[float, ...]
    recalls: tuple[Difference | None, ...]
    """Recall at each of `rates`, each moderator at its own threshold."""


def compare_detection(
    first: Scored,
    second: Scored,
    *,
    rates: Sequence[float] = FALSE_ALARM_RATES,
    replicates: int = 2000,
    seed: int = 0,
) -> DetectionComparison:
    """Compare the risks that two moderators give the same dialogues in the same order.

    The variance for AUROC comes from the differences of the clusters' parts in the two areas (DeLong,
    DeLong & Clarke-Pearson 1988; by cluster: Obuchowski 1997). That for recalls comes from a paired bootstrap
    over clusters, in which each replicate chooses both thresholds anew. Intervals and p-values are those of
    `comparison.paired_difference`; verdicts follow Holm's correction over these differences
    (`correct_detection` corrects several pairs together).

    Raises:
        UsageError: `different_dialogues`: they are not the same.
    """
    same = np.array_equal(first.harmful, second.harmful) and np.array_equal(first.cluster, second.cluster)
    if not same:
        raise UsageError(
            "different_dialogues",
            "Two moderators can only be compared on the same dialogues in the same order.",
        )
    total, harmful = len(first.harmful), int(first.harmful.sum())
    if harmful in (0, total):
        nothing = (None,) * len(rates)
        return DetectionComparison(dialogues=total, auroc=None, rates=tuple(rates), recalls=nothing)
    one, parts = area_deviations(first)
    other, other_parts = area_deviations(second)
    apart = other_parts - parts
    fewer = min(first.harmful_clusters, first.benign_clusters)
    area = paired_difference(one, other, float(apart @ apart), fewer, total)

    of_first, of_second = recalls_of(first, rates), recalls_of(second, rates)

    def differences(draws: Floats) -> Floats:
        return of_second(draws) - of_first(draws)

    everyone = np.ones((1, total))
    variances = cluster_bootstrap(first.cluster, first.harmful, differences, replicates=replicates, seed=seed)
    recalls = tuple(
        paired_difference(float(a), float(b), float(variance), first.harmful_clusters, harmful)
        if first.benign_clusters >= needed_benign(rate)
        else None
        for rate, a, b, variance in zip(
            rates, of_first(everyone)[0], of_second(everyone)[0], variances, strict=True
        )
    )
    return correct_detection(
        [DetectionComparison(dialogues=total, auroc=area, rates=tuple(rates), recalls=recalls)]
    )[0]


def correct_detection(comparisons: Sequence[DetectionComparison]) -> tuple[DetectionComparison, ...]:
    """Adjust the p-values and set the verdicts of all differences of some comparisons, as one family."""
    judged = iter(judge_family([each for c in comparisons for each in (c.auroc, *c.recalls)]))
    return tuple(
        DetectionComparison(
            dialogues=c.dialogues,
            auroc=next(judged),
            rates=c.rates,
            recalls=tuple(next(judged) for _ in c.recalls),
        )
        for c in comparisons
    )
