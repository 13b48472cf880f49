"""How well a judge agrees with people, and two judges with each other.

`unsafe` is always the positive class. Items are taken as independent: validate on samples of different
queries, or the intervals come out too narrow.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from safemt.core.taxonomy import Label
from safemt.stats.intervals import Estimate, Interval, Z, proportion


@dataclass(frozen=True, slots=True)
class Confusion:
    """A judge's labels against people's, as counts. The seven counts add up to all items."""

    unsafe_as_unsafe: int
    """True positives."""
    unsafe_as_safe: int
    """False negatives."""
    safe_as_safe: int
    """True negatives."""
    safe_as_unsafe: int
    """False positives."""
    unsafe_unread: int = 0
    """Unsafe by people, `ungraded` by the judge: neither a hit nor a miss."""
    safe_unread: int = 0
    """Safe by people, `ungraded` by the judge."""
    unlabelled: int = 0
    """Labelled neither safe nor unsafe by people, so there is nothing to compare with."""

    @property
    def unsafe(self) -> int:
        """Unsafe by people and graded by the judge."""
        return self.unsafe_as_unsafe + self.unsafe_as_safe

    @property
    def safe(self) -> int:
        """Safe by people and graded by the judge."""
        return self.safe_as_safe + self.safe_as_unsafe

    @property
    def graded(self) -> int:
        """Items that both people and the judge graded."""
        return self.unsafe + self.safe

    @property
    def unread(self) -> int:
        """Items graded by people but left `ungraded` by the judge."""
        return self.unsafe_unread + self.safe_unread


@dataclass(frozen=True, slots=True)
class Agreement:
    """How reliable a judge is: shares in [0, 1], κ in [-1, 1], None where there are no items.

    All figures but `readable` cover the items that the judge graded; `readable` is their share.
    """

    confusion: Confusion
    readable: Estimate | None
    """Graded by the judge / graded by people. Wilson."""
    accuracy: Estimate | None
    """Wilson."""
    sensitivity: Estimate | None
    """Share of the unsafe items that the judge calls unsafe. Wilson."""
    specificity: Estimate | None
    """Share of the safe items that the judge calls safe. Wilson."""
    precision: Estimate | None
    """Share of the items called unsafe that are unsafe. Wilson."""
    balanced_accuracy: Estimate | None
    f1: Estimate | None
    kappa: Estimate | None


@dataclass(frozen=True, slots=True)
class JudgePair:
    """How well two judges agree on the items that both were given."""

    shared: int
    """Items graded by both."""
    unread: tuple[int, int, int]
    """Items left `ungraded` by the first judge only, by the second only, by both."""
    raw: Estimate | None
    """Share of the shared items that both label alike. Wilson."""
    kappa: Estimate | None


def confusion(pairs: Iterable[tuple[str, str]]) -> Confusion:
    """Count `(people's label, judge's label)` pairs. A label other than safe and unsafe is ungraded."""
    seen = _count(pairs)
    return Confusion(
        unsafe_as_unsafe=seen[Label.UNSAFE, Label.UNSAFE],
        unsafe_as_safe=seen[Label.UNSAFE, Label.SAFE],
        safe_as_safe=seen[Label.SAFE, Label.SAFE],
        safe_as_unsafe=seen[Label.SAFE, Label.UNSAFE],
        unsafe_unread=seen[Label.UNSAFE, Label.UNGRADED],
        safe_unread=seen[Label.SAFE, Label.UNGRADED],
        unlabelled=sum(count for (people, _), count in seen.items() if people is Label.UNGRADED),
    )


def agreement(counts: Confusion) -> Agreement:
    """Compute all figures of agreement with people, each with a 95 % interval.

    Shares have Wilson's interval (1927); for the others see `balanced_accuracy`, `f1` and `kappa`.
    """
    hits, misses = counts.unsafe_as_unsafe, counts.unsafe_as_safe
    passes, alarms = counts.safe_as_safe, counts.safe_as_unsafe
    return Agreement(
        confusion=counts,
        readable=proportion(counts.graded, counts.graded + counts.unread),
        accuracy=proportion(hits + passes, counts.graded),
        sensitivity=proportion(hits, counts.unsafe),
        specificity=proportion(passes, counts.safe),
        precision=proportion(hits, hits + alarms),
        balanced_accuracy=balanced_accuracy(counts),
        f1=f1(counts),
        kappa=kappa(hits, misses, alarms, passes),
    )


def judge_pair(pairs: Iterable[tuple[str, str]]) -> JudgePair:
    """Compute the agreement of two judges from their `(first, second)` labels of the same items.

    It has Wilson's interval (1927), and `kappa` beside it. It does not tell which judge is right.
    """
    seen = _count(pairs)
    both = seen[Label.UNSAFE, Label.UNSAFE]
    neither = seen[Label.SAFE, Label.SAFE]
    first = seen[Label.UNSAFE, Label.SAFE]
    second = seen[Label.SAFE, Label.UNSAFE]
    shared = both + neither + first + second
    graded = (Label.SAFE, Label.UNSAFE)
    return JudgePair(
        shared=shared,
        unread=(
            sum(seen[Label.UNGRADED, label] for label in graded),
            sum(seen[label, Label.UNGRADED] for label in graded),
            seen[Label.UNGRADED, Label.UNGRADED],
        ),
        raw=proportion(both + neither, shared),
        kappa=kappa(both, first, second, neither),
    )


def balanced_accuracy(counts: Confusion) -> Estimate | None:
    """(sensitivity + specificity) / 2; None unless both classes occur.

    The interval combines the Wilson limits (l, u) of the two independent shares (MOVER: Newcombe 1998,
    method 10; Zou & Donner 2008): value - ½ √((Se - l_Se)² + (Sp - l_Sp)²), and likewise upwards.
    """
    sensitivity = proportion(counts.unsafe_as_unsafe, counts.unsafe)
    specificity = proportion(counts.safe_as_safe, counts.safe)
    if sensitivity is None or specificity is None:
        return None
    value = (sensitivity.value + specificity.value) / 2.0
    both = (sensitivity, specificity)
    down = math.hypot(*(share.value - share.interval.low for share in both)) / 2.0
    up = math.hypot(*(share.interval.high - share.value for share in both)) / 2.0
    return Estimate(value, Interval(low=max(0.0, value - down), high=min(1.0, value + up)))


def f1(counts: Confusion) -> Estimate | None:
    """F1 = 2 TP / (2 TP + FP + FN) = 2 J / (1 + J), J = TP / (TP + FP + FN); None when J has no items.

    J is a share of the items that either side calls unsafe, and F1 rises with J, so Wilson's limits for J
    (1927) give those for F1.
    """
    overlap = proportion(
        counts.unsafe_as_unsafe, counts.unsafe_as_unsafe + counts.unsafe_as_safe + counts.safe_as_unsafe
    )
    if overlap is None:
        return None
    value, low, high = (
        2.0 * share / (1.0 + share) for share in (overlap.value, overlap.interval.low, overlap.interval.high)
    )
    return Estimate(value, Interval(low, high))


def kappa(both: int, first: int, second: int, neither: int) -> Estimate | None:
    """Cohen's κ (1960) = (p_o - p_e) / (1 - p_e) for two raters of a yes/no question.

    `both` and `neither` count agreement on unsafe and on safe; `first` and `second` count the items that
    only one rater calls unsafe. None without items, or if both raters give every item the same label.
    The interval uses the large-sample variance of Fleiss, Cohen & Everitt (1969) with ½ added to each of
    the four counts, so that it does not collapse when the raters never differ. In simulations it covers
    93-99 % from 40 items on.
    """
    items = both + first + second + neither
    if items in (0, both, neither):
        return None
    value, _ = _kappa(both, first, second, neither)
    centre, variance = _kappa(both + 0.5, first + 0.5, second + 0.5, neither + 0.5)
    half = Z * math.sqrt(variance)
    return Estimate(
        value, Interval(low=max(-1.0, min(value, centre - half)), high=min(1.0, max(value, centre + half)))
    )


def _kappa(both: float, first: float, second: float, neither: float) -> tuple[float, float]:
    """κ and its large-sample variance, Fleiss, Cohen & Everitt (1969)."""
    items = both + first + second + neither
    yes, no = both / items, neither / items
    only_first, only_second = first / items, second / items
    first_yes, second_yes = yes + only_first, yes + only_second
    first_no, second_no = 1.0 - first_yes, 1.0 - second_yes
    chance = first_yes * second_yes + first_no * second_no
    value = (yes + no - chance) / (1.0 - chance)
    short = 1.0 - value
    agreed = (
        yes * (1.0 - (first_yes + second_yes) * short) ** 2 + no * (1.0 - (first_no + second_no) * short) ** 2
    )
    differed = short**2 * (
        only_first * (second_yes + first_no) ** 2 + only_second * (second_no + first_yes) ** 2
    )
    variance = (agreed + differed - (value - chance * short) ** 2) / (items * (1.0 - chance) ** 2)
    return value, max(0.0, variance)


def _count(pairs: Iterable[tuple[str, str]]) -> Counter[tuple[Label, Label]]:
    return Counter((_label(first), _label(second)) for first, second in pairs)


def _label(text: str) -> Label:
    return Label(text) if text in (Label.SAFE, Label.UNSAFE) else Label.UNGRADED
